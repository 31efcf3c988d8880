//! The commands by which `docs/operations/servers.md` gives users their rights, for tests to run them as an operator does.

use std::process::Command;

const NOTES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations/servers.md");

/// A shell's view of the first block of commands under a heading: a line for each command, its arguments apart by a tab.
const READ: &str = r#"
block=$(sed -n "/^## $1\$/,/^## /p" "$2" | sed -n '/^```sh$/,/^```$/p' | sed '/^```/d')
[ -n "$block" ] || exit 1
tell() { first=$1; shift; printf %s "$first"; for argument; do printf '\t%s' "$argument"; done; echo; }
rabbitmqctl() { tell "$@"; }
redis-cli() { tell "$@"; }
eval "$block"
"#;

/// The password that the notes leave to the reader.
const PASSWORD: &str = "PASSWORD";

/// The names of the users in the notes.
pub(crate) const COORDINATOR: &str = "coordinator";
pub(crate) const WORKER: &str = "worker";

/// The arguments of each `rabbitmqctl` that makes the users of RabbitMQ, who get this password.
pub(crate) fn rabbitmq_users(password: &str) -> Vec<Vec<String>> {
    commands("Rights of the RabbitMQ users", password)
}

/// The name and the rules of each user of Redis, who get this password and the keys of this namespace.
pub(crate) fn redis_users(password: &str, namespace: &str) -> Vec<Vec<String>> {
    let commands = commands("Rights of the Redis users", password);
    assert_eq!(commands.len(), 2);
    let of_namespace = |command: Vec<String>| {
        assert_eq!(command[..2], ["ACL", "SETUSER"]);
        let rules = command.iter().skip(2);
        let rules = rules.map(|rule| rule.replace("~bsft:default:", &format!("~bsft:{namespace}:")));
        let rules: Vec<String> = rules.collect();
        assert_ne!(rules, command[2..]);
        rules
    };
    commands.into_iter().map(of_namespace).collect()
}

/// The arguments of the `rabbitmqctl` that ends dead letters.
pub(crate) fn dead_letter_policy() -> Vec<String> {
    let mut commands = commands("Dead letters", "");
    assert_eq!(commands.len(), 1);
    commands.remove(0)
}

fn commands(heading: &str, password: &str) -> Vec<Vec<String>> {
    let read = Command::new("bash")
        .args(["-c", READ, "bash", heading, NOTES])
        .output()
        .unwrap();
    assert!(read.status.success(), "{heading}: {read:?}");
    let told = String::from_utf8(read.stdout)
        .unwrap()
        .replace(PASSWORD, password);
    told.lines()
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}
