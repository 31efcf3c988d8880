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

/// The name of a process that takes commands or runs a coordinator, in traces.
const COORDINATOR_SERVICE: &str = "bsft-coordinator";

/// The name of a worker process in traces.
const WORKER_SERVICE: &str = "bsft-worker";

/// Runs `bsft` (or `bsft-coordinator`) on the arguments of this process.
pub fn bsft() -> Exit {
    let flags: Flags = match parsed() {
        Ok(flags) => flags,
        Err(exit) => return exit,
    };
    let service = match &flags.command {
        Command::Worker(_) => WORKER_SERVICE,
        _ => COORDINATOR_SERVICE,
    };
    let _telling = telemetry::start(flags.log_format(), service);
    match flags.command {
        Command::Compile(flags) => compile::compile(&flags),
        Command::Plan { job, json } => plan::plan(&job, json),
        Command::Check { job } => check::check(&job),
        Command::Init { dir } => init::init(&dir),
        Command::Status(flags) => status::status(&flags),
        Command::Cancel(flags) => cancel::cancel(&flags),
        Command::Retry(flags) => compile::retry(&flags),
        Command::Worker(flags) => worker::work(&flags),
    }
}

/// Runs `bsft-worker` on the arguments of this process.
pub fn worker() -> Exit {
    let flags: WorkerCommand = match parsed() {
        Ok(flags) => flags,
        Err(exit) => return exit,
    };
    let _telling = telemetry::start(flags.log.format_of_a_service(), WORKER_SERVICE);
    worker::work(&flags.worker)
}

/// The flags, or how a process ends that has none to follow: clap has said why. Help and version are not errors.
fn parsed<T: Parser>() -> Result<T, Exit> {
    T::try_parse().map_err(|error| match error.print() {
        Err(_) => Exit::Bug,
        Ok(()) if error.use_stderr() => Exit::Usage,
        Ok(()) => Exit::Done,
    })
}
