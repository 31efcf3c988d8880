//! The command line: flags, which backends they mean, exit codes. The only home of clap and of what goes to stdout.

mod cancel;
mod check;
mod compile;
mod exit;
mod flags;
mod init;
mod monitor;
mod plan;
mod runtime;
mod say;
mod services;
mod signals;
mod status;
#[cfg(test)]
mod tests;
mod trainers;
mod worker;

pub use exit::Exit;
pub use flags::{Command, Flags, WorkerCommand};

use crate::telemetry;
use clap::Parser;

/// Runs `bsft-coordinator` on the process's own arguments.
pub fn coordinator() -> Exit {
    let flags: Flags = match parsed() {
        Ok(flags) => flags,
        Err(exit) => return exit,
    };
    let _telling = telemetry::start(flags.log_format(), "bsft-coordinator");
    match flags.command {
        Command::Compile(flags) => compile::compile(&flags),
        Command::Plan { job, json } => plan::plan(&job, json),
        Command::Check { job } => check::check(&job),
        Command::Init { dir } => init::init(&dir),
        Command::Status(flags) => status::status(&flags),
        Command::Cancel(flags) => cancel::cancel(&flags),
        Command::Retry(flags) => compile::retry(&flags),
    }
}

/// Runs `bsft-worker` on the process's own arguments.
pub fn worker() -> Exit {
    let flags: WorkerCommand = match parsed() {
        Ok(flags) => flags,
        Err(exit) => return exit,
    };
    let _telling = telemetry::start(flags.log.format_of_a_service(), "bsft-worker");
    worker::work(&flags)
}

/// The flags, or how a process ends that has none to follow: clap has said why. Help and version are not errors.
fn parsed<T: Parser>() -> Result<T, Exit> {
    T::try_parse().map_err(|error| match error.print() {
        Err(_) => Exit::Bug,
        Ok(()) if error.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Done,
    })
}
