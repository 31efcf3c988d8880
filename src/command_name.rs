//! The name under which this process was started, for messages that name a command to run.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::LazyLock;

/// The command for people, named where the process has another name.
const DEFAULT: &str = "bsft";

/// The names that take every command.
const NAMES: [&str; 2] = [DEFAULT, "bsft-coordinator"];

/// The name that the user typed (the file stem of `argv[0]`) where it takes every command, otherwise `bsft`.
pub(crate) fn command_name() -> &'static str {
    static NAME: LazyLock<&str> = LazyLock::new(|| from_path(std::env::args_os().next().as_deref()));
    *NAME
}

fn from_path(path: Option<&OsStr>) -> &'static str {
    let stem = path.and_then(|path| Path::new(path).file_stem());
    NAMES
        .into_iter()
        .find(|name| stem == Some(OsStr::new(name)))
        .unwrap_or(DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::from_path;
    use std::ffi::OsStr;

    #[test]
    fn from_path_keeps_a_name_that_takes_every_command() {
        for (path, name) in [
            ("bsft", "bsft"),
            ("/usr/local/bin/bsft-coordinator", "bsft-coordinator"),
            ("target/debug/bsft.exe", "bsft"),
            ("bsft-worker", "bsft"),
            ("target/debug/deps/bsft-0123456789abcdef", "bsft"),
            ("", "bsft"),
        ] {
            assert_eq!(from_path(Some(OsStr::new(path))), name, "{path}");
        }
        assert_eq!(from_path(None), "bsft");
    }
}
