//! The worker: consumes tasks, executes them, stores their outcomes and acknowledges them, in this order.
//!
//! - `consume` is the loop over deliveries; `bootstrap`, `finetune` and `preflight` execute one each.
//! - `lease` renews the lease of an attempt while it runs, `heartbeat` reports the worker to the runs it works on.
//! - `built_jobs` caches jobs with their programs and LMs, `recorded_answers` records every LM answer before its use.
//!
//! A worker knows the broker and the store, never the coordinator. The broker redelivers whatever a worker drops.

mod announce;
mod bootstrap;
mod built_jobs;
mod consume;
mod context;
mod elastic_subscription;
mod finetune;
mod heartbeat;
mod lease;
mod orphan_timer;
mod poll_error;
mod preflight;
mod put_off;
mod rate_limited_log;
mod recorded_answers;
mod resolve;
mod task_failure;

use crate::account::Accounts;
use crate::artifacts::ArtifactStore;
use crate::broker::{Broker, BrokerError, Queue};
use crate::calls_in_flight::CallsInFlight;
use crate::coordination::Coordination;
use crate::error_action::ErrorAction;
use crate::finetune::Providers;
use crate::memory::MemoryBudget;
use crate::metrics::{Metrics, Need};
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use consume::{Consumers, drain};
use context::WorkerContext;
use resolve::resolve;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// When a task is redelivered that cannot be executed now: its job is unknown, or the store is down.
const RETURN_AFTER: Duration = Duration::from_secs(2);

/// When a task is redelivered that another worker holds: if that worker died, its lease has expired by then or soon after.
const HELD: Duration = Duration::from_secs(5);

/// One task per this many LM calls is prefetched in addition, so that calls do not wait while answers are written to disk.
const CALLS_PER_SPARE_TASK: usize = 4;

/// Fine-tune tasks in flight; each delivery is short.
const FINETUNE_PREFETCH: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not 0");

/// A worker: a whole process, or a part of a self-contained `compile`.
pub struct Worker {
    /// Delivers the tasks.
    pub broker: Arc<dyn Broker>,
    /// Holds jobs, recorded answers and outcomes.
    pub store: Arc<dyn Store>,
    /// Receives the heartbeats.
    pub coordination: Arc<dyn Coordination>,
    /// Holds the training files.
    pub artifacts: Arc<dyn ArtifactStore>,
    pub providers: Providers,
    /// Marks of the LM calls in flight; `None` if the leases of the store show what a dead worker may have asked.
    pub calls_in_flight: Option<Arc<CallsInFlight>>,
    /// The gates of the LMs, shared by the workers of a process.
    pub accounts: Arc<Accounts>,
    /// The queues to consume.
    pub queues: TaskQueues,
    /// The most LM calls in flight.
    pub concurrency: NonZeroUsize,
    /// How long a drain may take before tasks in flight are released.
    pub drain: Duration,
    /// What long answers and rows may take, shared by the workers of a process.
    pub memory: Arc<MemoryBudget>,
    pub metrics: Arc<Metrics>,
}

impl Worker {
    fn max_calls(&self) -> usize {
        self.concurrency.get().min(Semaphore::MAX_PERMITS / 2)
    }

    /// The most bootstrap tasks in flight.
    fn prefetch(&self) -> NonZeroUsize {
        let spare = self.max_calls().div_ceil(CALLS_PER_SPARE_TASK);
        self.concurrency.saturating_add(spare)
    }
}

/// The task queues that a worker consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskQueues {
    /// [`Queue::Bootstrap`].
    pub bootstrap: bool,
    /// [`Queue::Finetune`].
    pub finetune: bool,
}

impl TaskQueues {
    pub const ALL: TaskQueues = TaskQueues {
        bootstrap: true,
        finetune: true,
    };

    /// The names of the queues.
    pub fn names(self) -> Vec<String> {
        let all = [
            (self.bootstrap, Queue::Bootstrap),
            (self.finetune, Queue::Finetune),
        ];
        let consumed = all.iter().filter(|(is_consumed, _)| *is_consumed);
        consumed.map(|(_, queue)| queue.name().to_owned()).collect()
    }
}

/// Why a worker ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Executes tasks until a shutdown is requested or the broker is closed.
///
/// # Errors
///
/// Permanent errors. Retrying transient ones is up to [`crate::retry::RetryingStore`] and
/// [`crate::retry::RetryingBroker`].
pub async fn run(worker: Worker, shutdown: Shutdown) -> Result<(), WorkerError> {
    let (metrics, drain_timeout) = (Arc::clone(&worker.metrics), worker.drain);
    let resumes_trainings = worker.queues.finetune;
    let mut consumers = Consumers::subscribe(&worker).await?;
    let _at_work = metrics.worker().starts(worker.max_calls());
    metrics.health.has(Need::Worker);
    let watchdog = metrics.health.watchdog("worker");
    let context = Arc::new(WorkerContext::new(worker, shutdown.clone()));
    let mut in_flight = JoinSet::new();
    if resumes_trainings {
        for training in context.providers.unfinished() {
            in_flight.spawn(finetune::resume(Arc::clone(&context), training));
        }
    }
    let ended = tokio::select! {
        ended = consumers.run(&context, &mut in_flight) => ended,
        never = context.heartbeats.run() => match never {},
        never = watchdog.keep_alive() => match never {},
    };
    // Prefetched messages go to other workers at once.
    drop(consumers);
    tokio::select! {
        () = drain(in_flight, drain_timeout, &shutdown) => {}
        never = context.heartbeats.run() => match never {},
        never = watchdog.keep_alive() => match never {},
    }
    match context.take_failure() {
        // An abort ends calls with their last, possibly transient, error: only a permanent one is the worker's error.
        Some(failure) if failure.action() == ErrorAction::Halt => Err(failure.into()),
        _ => ended,
    }
}
