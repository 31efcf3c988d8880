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

/// The user's name in the notes.
pub(crate) const USER: &str = "worker";

/// The arguments of each `rabbitmqctl` that makes the user of RabbitMQ, who gets this password.
pub(crate) fn rabbitmq_user(password: &str) -> Vec<Vec<String>> {
    commands("Rights of the RabbitMQ user", password)
}

/// The rules of the user of Redis, who gets this password and the keys of this namespace.
pub(crate) fn redis_user(password: &str, namespace: &str) -> Vec<String> {
    let mut commands = commands("Rights of the Redis user", password).into_iter();
    let command = commands.next().unwrap();
    assert_eq!(command[..3], ["ACL", "SETUSER", USER]);
    let keys = format!("~bsft:{namespace}:*");
    let rules = command.into_iter().skip(3);
    let rules = rules.map(|rule| {
        if rule == "~bsft:default:*" {
            keys.clone()
        } else {
            rule
        }
    });
    let rules: Vec<String> = rules.collect();
    assert!(rules.contains(&keys), "{rules:?}");
    rules
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
