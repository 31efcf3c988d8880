//! The command line: flags, which backends they mean, exit codes. The only home of clap and of what goes to stdout.

mod check;
mod compile;
mod exit;
mod flags;
mod init;
mod logging;
mod plan;
mod signals;
mod status;

pub use exit::Exit;
pub use flags::{Command, Flags};

use clap::Parser as _;

/// Runs `bsft-coordinator` on the process's own arguments.
pub fn coordinator() -> Exit {
    let flags = match Flags::try_parse() {
        Ok(flags) => flags,
        Err(error) => {
            // clap's own words; help and version are not errors.
            let usage = error.use_stderr();
            if error.print().is_err() {
                return Exit::Bug;
            }
            return if usage { Exit::Usage } else { Exit::Done };
        }
    };
    logging::start();
    match flags.command {
        Command::Compile(flags) => compile::compile(&flags),
        Command::Plan { job, json } => plan::plan(&job, json),
        Command::Check { job } => check::check(&job),
        Command::Init { dir } => init::init(&dir),
        Command::Status { run, json } => status::status(run.as_deref(), json),
        Command::Retry(flags) => compile::retry(&flags),
    }
}
