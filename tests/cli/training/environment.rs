//! What a trainer gets and sees of the process that starts it.

use super::{COMPILE, Trained};
use crate::support::{Running, clean};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// A user without rights, for tests that run as root.
const NOBODY: u32 = 65_534;

const SECRET: &str = "sk-of-the-worker";

/// Reads the environments of the wrapper, which is its parent, and of the wrapper's parent, which has the keys.
const CURIOUS: &str = r#"
cat /proc/$PPID/environ > "$CONTROL/wrapper"
parent=$(sed 's/.*) . \([0-9]*\) .*/\1/' /proc/$PPID/stat)
cat /proc/$parent/comm > "$CONTROL/parent"
cat /proc/$parent/environ > "$CONTROL/environment" 2> "$CONTROL/refusal"
mkdir -p "$1"
cp "$2" "$1/model.safetensors"
"#;

/// Gives a folder with all that is in it to a user.
fn give(path: &Path, user: u32) {
    chown(path, Some(user), Some(user)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// Compiles as an ordinary user, with the secret in the environment.
fn compile_without_root(trained: &Trained) -> Running {
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_bsft")));
    if rustix::process::geteuid().is_root() {
        // The folder of the build may be root's alone.
        let own = trained.folder.path("bsft");
        fs::copy(env!("CARGO_BIN_EXE_bsft"), &own).unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o755)).unwrap();
        give(&trained.folder.path("."), NOBODY);
        command = clean(Command::new(own));
        command.uid(NOBODY).gid(NOBODY);
    }
    command
        .args(COMPILE)
        .current_dir(trained.folder.path("."))
        .env("OPENAI_API_KEY", SECRET);
    Running::start(command)
}

#[test]
fn trainer_cannot_read_the_environment_of_its_worker() {
    let trained = Trained::new();
    trained.folder.write("trainer.sh", CURIOUS);
    compile_without_root(&trained).end().with(0);
    let seen = |name: &str| trained.folder.read(&format!("control/{name}"));
    assert!(
        seen("wrapper").contains("FT_NAME="),
        "nothing could be read at all"
    );
    assert_eq!(seen("parent").trim(), "bsft");
    assert_eq!(seen("environment"), "");
    assert!(
        seen("refusal").contains("Permission denied"),
        "{}",
        seen("refusal")
    );
    let secret_files: Vec<String> = trained
        .folder
        .files()
        .into_iter()
        .filter(|(name, bytes)| {
            let has_secret = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            has_secret && name != "bsft"
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(secret_files, Vec::<String>::new());
}

#[test]
fn pass_env_takes_a_secret_from_its_file() {
    let trained = Trained::new();
    trained.finish();
    let script = "printf %s \"$HUB_TOKEN\" > \"$CONTROL/token\"\nmkdir -p \"$1\"\ncp \"$2\" \"$1/model.safetensors\"\n";
    trained.folder.write("trainer.sh", script);
    let trainers = trained.folder.read("trainers.toml");
    trained
        .folder
        .write("trainers.toml", trainers + "pass_env = [\"HUB_TOKEN\"]\n");
    trained.folder.write("token", "hf-token\n");
    let token = trained.folder.path("token").display().to_string();
    let compile = |variables: &[(&str, &str)]| trained.folder.start_with(&COMPILE, variables).end();
    compile(&[("HUB_TOKEN_FILE", "/nowhere/token")])
        .with(2)
        .saying("trainer scripted: HUB_TOKEN_FILE: /nowhere/token cannot be read");
    compile(&[("HUB_TOKEN_FILE", &token), ("HUB_TOKEN", "other")])
        .with(2)
        .saying("HUB_TOKEN and HUB_TOKEN_FILE are both set");
    compile(&[("HUB_TOKEN_FILE", &token)]).with(0);
    assert_eq!(trained.folder.read("control/token"), "hf-token");
}
