//! `compile` and `retry`: the embedded backends, the workers, the coordinator, and how it ended.

use super::check::{unreachable_lms, warn};
use super::exit::{Exit, say};
use super::flags::{CompileFlags, RetryFlags, WorkerFlags};
use super::signals;
use crate::coordinator::{self, Coordinator, RunError};
use crate::job::{self, Job};
use crate::queue::QueueError;
use crate::queue::embedded::EmbeddedQueue;
use crate::report::{Manifest, Progress, summary};
use crate::run_dir::RunDir;
use crate::shutdown::Shutdown;
use crate::store::embedded::EmbeddedStore;
use crate::worker::{self, Worker};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long Ctrl-C waits for LM calls in flight.
const DRAIN: Duration = Duration::from_secs(60);

/// What becomes of the failures that DIR has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failures {
    /// They count: their examples are done.
    Keep,
    /// They are forgotten: their examples run again.
    Forget,
}

/// `compile JOB`.
pub(super) fn compile(flags: &CompileFlags) -> Exit {
    checked(flags, Failures::Keep)
}

/// Checks everything, and only then touches DIR.
fn checked(flags: &CompileFlags, failures: Failures) -> Exit {
    if let Some(exit) = no_cluster(&flags.workers) {
        return exit;
    }
    let mut job = match job::read(&flags.job) {
        Ok(job) => job,
        Err(problems) => {
            say(problems);
            return Exit::Usage;
        }
    };
    warn(&job);
    if flags.rehearse {
        job.rehearse();
    }
    let unreachable = unreachable_lms(&job);
    if !unreachable.is_empty() {
        unreachable
            .iter()
            .for_each(|error| say(format_args!("error: {error}")));
        return Exit::Usage;
    }
    let out = flags
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(&job.spec.name));
    let again = again(&flags.job, flags.out.as_deref(), flags.rehearse);
    run(job, &out, flags, failures, &again)
}

/// `retry RUN`: forgets the failures, then goes on.
pub(super) fn retry(flags: &RetryFlags) -> Exit {
    let dir = match RunDir::existing(&flags.run) {
        Some(dir) => dir,
        None => {
            say(format_args!(
                "{} holds no run: it has no run.json",
                flags.run.display()
            ));
            return Exit::Usage;
        }
    };
    let manifest = match Manifest::read(&dir.manifest()) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Exit::Usage,
        Err(error) => {
            say(format_args!("{}: {error}", dir.manifest().display()));
            return Exit::Failed;
        }
    };
    let flags = CompileFlags {
        job: PathBuf::from(&manifest.job_file),
        out: Some(flags.run.clone()),
        rehearse: manifest.rehearsal,
        workers: flags.workers.clone(),
    };
    checked(&flags, Failures::Forget)
}

/// The cluster's backends are not in this version: said before anything is read.
fn no_cluster(flags: &WorkerFlags) -> Option<Exit> {
    match (&flags.amqp_url, &flags.redis_url) {
        (None, None) => return None,
        (Some(_), None) => say("--amqp-url needs --redis-url (or BSFT_REDIS_URL) beside it"),
        (None, Some(_)) => say("--redis-url needs --amqp-url (or BSFT_AMQP_URL) beside it"),
        (Some(_), Some(_)) => {
            say("this version runs without RabbitMQ and Redis: leave --amqp-url and --redis-url away")
        }
    }
    Some(Exit::Usage)
}

/// The command that goes on.
fn again(job: &Path, out: Option<&Path>, rehearse: bool) -> String {
    let mut command = format!("bsft-coordinator compile {}", job.display());
    if let Some(out) = out {
        command.push_str(&format!(" --out {}", out.display()));
    }
    if rehearse {
        command.push_str(" --rehearse");
    }
    command
}

fn run(job: Job, out: &Path, flags: &CompileFlags, failures: Failures, again: &str) -> Exit {
    let dir = match RunDir::create(out) {
        Ok(dir) => dir,
        Err(error) => {
            say(format_args!("{}: {error}", out.display()));
            return Exit::Failed;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(format_args!("the async runtime does not start: {error}"));
            return Exit::Failed;
        }
    };
    let ended = runtime.block_on(embedded(job, dir.clone(), flags, failures));
    // What still sleeps in the runtime (a draw, a poll) must not hold up the exit.
    runtime.shutdown_background();
    match ended {
        Ok(manifest) => {
            say(summary(&manifest, &dir));
            Exit::Done
        }
        Err(RunError::Interrupted) => {
            say(format_args!("interrupted; nothing is lost. To go on:\n  {again}"));
            Exit::Interrupted
        }
        Err(error @ RunError::OtherRun(_)) => {
            say(format_args!("error: {error}"));
            Exit::Usage
        }
        Err(error) => {
            say(format_args!("error: {error}"));
            Exit::Failed
        }
    }
}

fn forget(failures: &Path) -> Result<(), RunError> {
    match fs::remove_file(failures) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(RunError::File {
            path: failures.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

/// Why a worker is gone before the coordinator was.
fn worker_ended(
    shutdown: &Shutdown,
    ended: Option<Result<Result<(), QueueError>, tokio::task::JoinError>>,
) -> RunError {
    match ended {
        Some(Ok(Ok(()))) if shutdown.is_draining() => RunError::Interrupted,
        Some(Ok(Err(error))) => RunError::Queue(error),
        Some(Err(panicked)) => RunError::Worker(panicked.to_string()),
        Some(Ok(Ok(()))) | None => RunError::Worker("no reason given".to_owned()),
    }
}

/// The whole system in one process: queue, store, workers and coordinator.
async fn embedded(
    job: Job,
    dir: RunDir,
    flags: &CompileFlags,
    failures: Failures,
) -> Result<Manifest, RunError> {
    let (rehearsal, flags) = (flags.rehearse, &flags.workers);
    // The store is locked from here on: nobody else works on this run.
    let store = Arc::new(EmbeddedStore::open(&dir.store())?);
    if failures == Failures::Forget {
        forget(&dir.failures())?;
    }
    let queue = Arc::new(EmbeddedQueue::new());
    let shutdown = Shutdown::new();
    let mut workers = JoinSet::new();
    let count = flags.workers.map_or(1, usize::from);
    for _ in 0..count {
        let worker = Worker {
            queue: Arc::clone(&queue) as _,
            store: Arc::clone(&store) as _,
            concurrency: flags.concurrency,
            drain: DRAIN,
        };
        workers.spawn(worker::run(worker, shutdown.clone()));
    }
    let prices = job
        .spec
        .lms
        .iter()
        .filter_map(|(name, lm)| Some((name.clone(), lm.known_price()?)))
        .collect();
    let coordinator = Coordinator {
        queue,
        store,
        dir,
        shutdown: shutdown.clone(),
        progress: Progress::new(prices),
        in_flight: count * usize::from(flags.concurrency),
        rehearsal,
    };
    let ended = tokio::select! {
        // The coordinator first: where workers drain because it was told to stop, it has the last word.
        biased;
        ended = coordinator::run(&coordinator, job) => ended,
        ended = workers.join_next(), if !workers.is_empty() => Err(worker_ended(&shutdown, ended)),
        heard = signals::listen(shutdown.clone()) => {
            let source = heard.err().unwrap_or_else(|| std::io::Error::other("no more signals come"));
            Err(RunError::File { path: PathBuf::from("signals"), source })
        }
    };
    shutdown.drain();
    let stopped = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = stopped => {}
        _ = signals::listen(shutdown.clone()) => {}
    }
    ended
}
