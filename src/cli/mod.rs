//! The command line: flags, which backends they mean, exit codes. The only home of clap and of what goes to stdout.

mod alive_file;
mod backends;
mod cancel;
mod check;
mod compile;
mod completions;
mod execution;
mod exit;
mod explain;
mod flags;
mod forget;
mod init;
mod keys;
mod log_flags;
mod metrics_server;
mod open_files;
mod plan;
mod retry;
mod run_name;
mod runtime;
mod schema;
mod service_urls;
mod signals;
mod status;
#[cfg(test)]
mod tests;
mod trainers;
mod ui;
mod undumpable;
mod worker;

pub use exit::Exit;
pub use flags::{Cli, CliCommand, WorkerCommand};

use crate::telemetry;
use clap::Parser;
use std::ffi::OsString;

/// The name of a process that takes commands or runs a coordinator, in traces.
const COORDINATOR_SERVICE: &str = "bsft-coordinator";

/// The name of a worker process in traces.
const WORKER_SERVICE: &str = "bsft-worker";

/// Runs `bsft` (or `bsft-coordinator`) on the arguments of this process.
pub fn bsft() -> Exit {
    or_bug(bsft_command)
}

fn bsft_command() -> Exit {
    let flags: Cli = match parsed() {
        Ok(flags) => flags,
        Err(exit) => return exit,
    };
    let service = match &flags.command {
        CliCommand::Worker(_) => WORKER_SERVICE,
        _ => COORDINATOR_SERVICE,
    };
    let _telemetry = telemetry::start(flags.log_options(), service);
    let exit = match flags.command {
        CliCommand::Compile(flags) => compile::compile(&flags),
        CliCommand::Plan { job, json } => plan::plan(&job, json),
        CliCommand::Check { job } => check::check(&job),
        CliCommand::Init { dir } => init::init(&dir),
        CliCommand::Status(flags) => status::status(&flags),
        CliCommand::Cancel(flags) => cancel::cancel(&flags),
        CliCommand::Forget(flags) => forget::forget(&flags),
        CliCommand::Retry(flags) => retry::retry(&flags),
        CliCommand::Worker(flags) => worker::work(&flags),
        CliCommand::Explain { key } => explain::explain(&key),
        CliCommand::Schema { subject, markdown } => schema::schema(subject, markdown),
        CliCommand::Completions { shell } => completions::completions(shell),
        CliCommand::Man { dir } => completions::man(&dir),
    };
    ui::exit(exit)
}

/// Runs `bsft-worker` on the arguments of this process.
pub fn worker() -> Exit {
    or_bug(worker_command)
}

fn worker_command() -> Exit {
    let flags: WorkerCommand = match parsed() {
        Ok(flags) => flags,
        Err(exit) => return exit,
    };
    let _telemetry = telemetry::start(flags.log.for_service(), WORKER_SERVICE);
    worker::work(&flags.worker)
}

/// The exit code of the command; that of a bug if it panics.
fn or_bug(command: fn() -> Exit) -> Exit {
    undumpable::become_undumpable();
    std::panic::catch_unwind(command).unwrap_or_else(|_panic| {
        ui::error(
            "this is a bug in bsft; please report it with the message above. The same command resumes a run",
        );
        Exit::Bug
    })
}

/// The parsed arguments, or the exit code after clap's help, version or usage error was printed.
fn parsed<T: Parser>() -> Result<T, Exit> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    log_flags::choose_colors(&arguments);
    T::try_parse_from(arguments).map_err(|error| ui::usage(&error))
}
