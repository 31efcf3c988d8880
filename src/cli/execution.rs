//! A coordinator beside the workers of its process, until both have ended.

use super::flags::WorkerFlags;
use super::signals;
use crate::account::Accounts;
use crate::coordinator::{self, Coordinator, RunError};
use crate::finetune::Providers;
use crate::job::Job;
use crate::report::Manifest;
use crate::shutdown::Shutdown;
use crate::worker::{self, TaskQueues, Worker, WorkerError};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long Ctrl-C waits for LM calls in flight.
const DRAIN: Duration = Duration::from_secs(60);

/// Workers of this process.
type RunningWorkers = JoinSet<Result<(), WorkerError>>;

/// Runs the coordinator and the workers that the flags ask for, drains on a signal, and waits for all workers.
pub(super) async fn execute(
    coordinator: &Coordinator,
    job: Job,
    accounts: &Arc<Accounts>,
    flags: &WorkerFlags,
) -> Result<Manifest, RunError> {
    let shutdown = &coordinator.shutdown;
    let mut workers = start_workers(coordinator, accounts, flags);
    let ended = tokio::select! {
        // The coordinator first: its reason counts where workers drain because of it.
        biased;
        ended = coordinator::run(coordinator, job) => ended,
        ended = workers.join_next(), if !workers.is_empty() => Err(worker_ended(shutdown, ended)),
        ended = signals::listen(shutdown.clone()) => {
            let source = ended.err().unwrap_or_else(|| std::io::Error::other("the signal stream ended"));
            Err(RunError::File { path: PathBuf::from("signals"), source })
        }
    };
    let was_draining = shutdown.is_draining();
    shutdown.drain();
    let stopped = async { while workers.join_next().await.is_some() {} };
    tokio::select! {
        () = stopped => {}
        _ = signals::listen(shutdown.clone()) => {}
    }
    match ended {
        // A service that is down while the process stops is no reason of its own.
        Err(error) if was_draining && error.is_transient() => Err(RunError::Interrupted),
        ended => ended,
    }
}

fn start_workers(coordinator: &Coordinator, accounts: &Arc<Accounts>, flags: &WorkerFlags) -> RunningWorkers {
    let backends = &coordinator.backends;
    let mut running = JoinSet::new();
    for _ in 0..coordinator.workers.in_flight_here() / flags.concurrency {
        let worker = Worker {
            broker: Arc::clone(&backends.broker),
            store: Arc::clone(&backends.store),
            coordination: Arc::clone(&backends.coordination),
            artifacts: Arc::clone(&backends.artifacts),
            providers: Providers::new(coordinator.trainers.clone()),
            calls_in_flight: backends.calls_in_flight.clone(),
            accounts: Arc::clone(accounts),
            queues: TaskQueues::ALL,
            concurrency: flags.concurrency,
            drain: DRAIN,
            metrics: Arc::clone(&coordinator.metrics),
        };
        running.spawn(worker::run(worker, coordinator.shutdown.clone()));
    }
    running
}

/// Why a worker ended before the coordinator.
fn worker_ended(
    shutdown: &Shutdown,
    ended: Option<Result<Result<(), WorkerError>, tokio::task::JoinError>>,
) -> RunError {
    match ended {
        Some(Ok(Ok(()))) if shutdown.is_draining() => RunError::Interrupted,
        Some(Ok(Err(WorkerError::Broker(error)))) => RunError::Broker(error),
        Some(Ok(Err(WorkerError::Store(error)))) => RunError::Store(error),
        Some(Err(panicked)) => RunError::Worker(panicked.to_string()),
        Some(Ok(Ok(()))) | None => RunError::Worker("no reason given".to_owned()),
    }
}
