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
        biased;
        ended = coordinator::run(coordinator, job) => ended,
        error = worker_failed(shutdown, &mut workers) => Err(error),
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
        // A service that is down while the process stops is not why it stops.
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
            memory: Arc::clone(&coordinator.memory),
            metrics: Arc::clone(&coordinator.metrics),
        };
        running.spawn(worker::run(worker, coordinator.shutdown.clone()));
    }
    running
}

/// Returns when a worker ends before the coordinator, for another reason than a drain: of a drain the coordinator has the cause.
async fn worker_failed(shutdown: &Shutdown, workers: &mut RunningWorkers) -> RunError {
    loop {
        match workers.join_next().await {
            Some(Ok(Ok(()))) if shutdown.is_draining() => {}
            Some(Ok(Ok(()))) => return RunError::Worker("no reason given".to_owned()),
            Some(Ok(Err(WorkerError::Broker(error)))) => return RunError::Broker(error),
            Some(Ok(Err(WorkerError::Store(error)))) => return RunError::Store(error),
            Some(Err(panicked)) => return RunError::Worker(panicked.to_string()),
            None => return std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The failure that a worker's end is taken for; `None` if it is none.
    async fn failure(shutdown: &Shutdown) -> Option<RunError> {
        let mut workers = RunningWorkers::new();
        workers.spawn(async { Ok(()) });
        let failed = worker_failed(shutdown, &mut workers);
        tokio::time::timeout(Duration::from_secs(60), failed).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn worker_that_ends_in_a_drain_leaves_the_cause_to_the_coordinator() {
        let shutdown = Shutdown::default();
        assert!(failure(&shutdown).await.is_some());
        shutdown.drain();
        assert!(failure(&shutdown).await.is_none());
    }
}
