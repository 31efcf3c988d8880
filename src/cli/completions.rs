//! `completions` and `man`: what shells and `man` know of the commands.

use super::exit::Exit;
use super::flags::Cli;
use super::ui;
use crate::system_error::explained;
use clap::CommandFactory as _;
use clap_complete::Shell;
use std::path::Path;

/// `completions SHELL`: the script on stdout.
pub(super) fn completions(shell: Shell) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command().name("bsft"), "bsft", &mut script);
    ui::stdout(String::from_utf8_lossy(&script).trim_end());
    Exit::Done
}

/// `man DIR`: a page for each command, in files such as `bsft-compile.1`.
pub(super) fn man(dir: &Path) -> Exit {
    let written = std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command().name("bsft"), dir));
    match written {
        Ok(()) => Exit::Done,
        Err(error) => {
            ui::error(format_args!("{}: {}", dir.display(), explained(&error)));
            Exit::Usage
        }
    }
}
