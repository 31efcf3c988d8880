//! `init`: a small example that compiles as it stands.

use super::exit::Exit;
use super::say;
use crate::job::example;
use std::path::Path;

/// `init DIR`.
pub(super) fn init(dir: &Path) -> Exit {
    match example::init(dir) {
        Ok(files) => {
            for file in &files {
                say::answer(file.display());
            }
            say::news(format_args!(
                "compile it with\n  bsft-coordinator compile {}",
                dir.join("job.toml").display()
            ));
            Exit::Done
        }
        Err(error) => {
            say::problem(format_args!("{}: {error}", dir.display()));
            Exit::Usage
        }
    }
}
