//! `init DIR`: writes a small example job that compiles without changes.

use super::exit::Exit;
use super::ui;
use crate::command_name::command_name;
use crate::job::init_example;
use crate::system_error::explained;
use std::path::Path;

/// `init DIR`.
pub(super) fn init(dir: &Path) -> Exit {
    match init_example::init(dir) {
        Ok(files) => {
            for file in &files {
                ui::stdout(file.display());
            }
            ui::info(format_args!(
                "compile it with\n  {} compile {}",
                command_name(),
                dir.join("job.toml").display()
            ));
            Exit::Done
        }
        Err(error) => {
            ui::error(format_args!("{}: {}", dir.display(), explained(&error)));
            Exit::Usage
        }
    }
}
