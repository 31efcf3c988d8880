//! Workers: take tasks from the lanes, carry them out, store what came of it, settle.
//!
//! A worker knows the queue and the store, never the coordinator. Whatever it drops is delivered again.

mod bootstrap;
mod built_jobs;
mod finetune;
mod heartbeat;
mod lease;
mod preflight;
mod recorded_answers;
mod task_failure;

use crate::artifacts::ArtifactStore;
use crate::broker::{Broker, BrokerError, Consumer, Delivery, Disposition, Queue};
use crate::coordination::{Coordination, Process, WorkerInfo};
use crate::finetune::Providers;
use crate::message::Refusal;
use crate::metrics::{Metrics, Need};
use crate::recourse::Recourse;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::task::{RunId, TaskId};
use built_jobs::BuiltJobs;
use finetune::OrphanTimer;
use heartbeat::Heartbeats;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

/// After how long a task comes back that could not be worked on just now: its job is unknown here, the store is down, somebody else holds it.
const RETURN_AFTER: Duration = Duration::from_secs(2);

/// After how long a task comes back that another worker is at: when that one is dead, its lease has run out by then or soon after.
const HELD: Duration = Duration::from_secs(5);

/// How soon the same reason for handing back is told again.
const TELL_AGAIN: Duration = Duration::from_secs(30);

/// How long a process that is to stop at once may take to hand back what it has.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// One task in so many is in hand beyond the calls in flight, so that no call waits while others' answers go to the disk.
const TASKS_BEYOND_CALLS: usize = 4;

/// Fine-tune tasks that one worker has in hand; each is only a short tick.
const FINETUNE_PREFETCH: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not 0");

/// A worker process, or a part of one.
pub struct Worker {
    /// Where tasks come from.
    pub broker: Arc<dyn Broker>,
    /// Where jobs are read and outcomes written.
    pub store: Arc<dyn Store>,
    /// Where coordinators see that it is there.
    pub coordination: Arc<dyn Coordination>,
    /// Where training files are.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Who trains.
    pub providers: Providers,
    /// Which tasks it takes.
    pub queues: TaskQueues,
    /// LM calls in flight at once.
    pub concurrency: NonZeroUsize,
    /// How long a drain may take before what is in flight is handed back.
    pub drain: Duration,
    /// Where it counts, and says that it lives.
    pub metrics: Arc<Metrics>,
}

/// Which lanes a worker takes tasks from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskQueues {
    /// [`Queue::Bootstrap`].
    pub bootstrap: bool,
    /// [`Queue::Finetune`].
    pub finetune: bool,
}

impl TaskQueues {
    /// All of them.
    pub const ALL: TaskQueues = TaskQueues {
        bootstrap: true,
        finetune: true,
    };

    /// Their names.
    pub fn names(self) -> Vec<String> {
        let all = [
            (self.bootstrap, Queue::Bootstrap),
            (self.finetune, Queue::Finetune),
        ];
        let taken = all.iter().filter(|(taken, _)| *taken);
        taken.map(|(_, queue)| queue.name().to_owned()).collect()
    }
}

/// Why a worker ends by itself.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The queue.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What every task in flight shares.
struct WorkerContext {
    broker: Arc<dyn Broker>,
    store: Arc<dyn Store>,
    artifacts: Arc<dyn ArtifactStore>,
    providers: Providers,
    jobs: BuiltJobs,
    heartbeats: Heartbeats,
    log: RateLimitedLog,
    /// A permit for each LM call in flight.
    calls: Semaphore,
    /// A permit for each training on this machine.
    local: Semaphore,
    orphan_timer: OrphanTimer,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
    /// Why nothing can be done any more, if that is so; and the bell that tells of it.
    failure: Mutex<Option<StoreError>>,
    failed: Notify,
}

impl WorkerContext {
    /// The store refuses for good, or the process is to stop at once: the delivery goes back, unsettled, and the worker ends.
    fn fail(&self, delivery: Option<Delivery>, why: StoreError) {
        drop(delivery);
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(why);
        self.failed.notify_one();
    }

    fn failure(&self) -> Option<StoreError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Works until told to stop or the queue is closed.
///
/// # Errors
///
/// What a human has to mend. What passes by itself is the business of a [`crate::retry::RetryingStore`] and a
/// [`crate::retry::RetryingBroker`].
pub async fn run(worker: Worker, shutdown: Shutdown) -> Result<(), WorkerError> {
    let calls = worker.concurrency.get().min(Semaphore::MAX_PERMITS / 2);
    let prefetch = worker
        .concurrency
        .saturating_add(calls.div_ceil(TASKS_BEYOND_CALLS));
    let info = WorkerInfo {
        process: Process::current(),
        lanes: worker.queues.names(),
        concurrency: calls,
        trainers: worker.providers.trainers(),
    };
    let mut bootstrap =
        OptionalConsumer::new(&worker, worker.queues.bootstrap, &Queue::Bootstrap, prefetch).await?;
    let mut finetune = OptionalConsumer::new(
        &worker,
        worker.queues.finetune,
        &Queue::Finetune,
        FINETUNE_PREFETCH,
    )
    .await?;
    let context = Arc::new(WorkerContext {
        broker: Arc::clone(&worker.broker),
        store: Arc::clone(&worker.store),
        jobs: BuiltJobs::new(worker.store, Arc::clone(&worker.metrics)),
        heartbeats: Heartbeats::new(worker.coordination, info),
        log: RateLimitedLog::default(),
        calls: Semaphore::new(calls),
        local: Semaphore::new(worker.providers.at_once()),
        orphan_timer: OrphanTimer::default(),
        artifacts: worker.artifacts,
        providers: worker.providers,
        metrics: Arc::clone(&worker.metrics),
        shutdown: shutdown.clone(),
        failure: Mutex::default(),
        failed: Notify::new(),
    });
    let _at_work = worker.metrics.worker().starts(calls);
    worker.metrics.health.has(Need::Worker);
    let watchdog = worker.metrics.health.watchdog("worker");
    let mut in_flight = JoinSet::new();
    if worker.queues.finetune {
        for left in context.providers.unfinished() {
            in_flight.spawn(finetune::resume(Arc::clone(&context), left));
        }
    }
    let working = async {
        loop {
            tokio::select! {
                biased;
                () = shutdown.draining() => return Ok(()),
                () = context.failed.notified() => return Ok(()),
                delivery = finetune.next() => match delivery? {
                    Some(delivery) => { in_flight.spawn(finetune::execute(Arc::clone(&context), delivery)); }
                    None => return Ok(()),
                },
                delivery = bootstrap.next() => match delivery? {
                    Some(delivery) => { in_flight.spawn(bootstrap::execute(Arc::clone(&context), delivery)); }
                    None => return Ok(()),
                },
                Some(ended) = in_flight.join_next() => log_panic(ended),
            }
        }
    };
    let ended = tokio::select! {
        ended = working => ended,
        never = context.heartbeats.keep() => match never {},
        never = watchdog.keep_alive() => match never {},
    };
    // What waits for us in the lanes goes to other workers at once.
    drop((bootstrap, finetune));
    tokio::select! {
        () = drain(in_flight, worker.drain, &shutdown) => {}
        never = context.heartbeats.keep() => match never {},
        never = watchdog.keep_alive() => match never {},
    }
    match context.failure() {
        // Stopped at once, calls end with whatever error they had last.
        Some(failure) if failure.recourse() == Recourse::Halt => Err(failure.into()),
        _ => ended,
    }
}

/// The intake of a lane, if the worker takes from it.
struct OptionalConsumer(Option<Box<dyn Consumer>>);

impl OptionalConsumer {
    async fn new(
        worker: &Worker,
        is_taken: bool,
        queue: &Queue,
        prefetch: NonZeroUsize,
    ) -> Result<OptionalConsumer, BrokerError> {
        Ok(OptionalConsumer(match is_taken {
            true => Some(worker.broker.consume(queue, prefetch).await?),
            false => None,
        }))
    }

    /// Cancel safe, as [`Consumer::next`] is.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        match &mut self.0 {
            Some(consumer) => consumer.next().await,
            None => std::future::pending().await,
        }
    }
}

/// Waits for what is in flight; what is left when the time is up is told to stop and handed back.
async fn drain(mut in_flight: JoinSet<()>, patience: Duration, shutdown: &Shutdown) {
    let all = async |in_flight: &mut JoinSet<()>| {
        while let Some(ended) = in_flight.join_next().await {
            log_panic(ended);
        }
    };
    tokio::select! {
        () = all(&mut in_flight) => return,
        () = tokio::time::sleep(patience) => {}
        () = shutdown.aborting() => {}
    }
    shutdown.abort();
    if tokio::time::timeout(LAST_WORDS, all(&mut in_flight))
        .await
        .is_err()
    {
        warn!(
            tasks = in_flight.len(),
            "tasks not handed back in time; they are delivered again"
        );
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panicked) = ended {
        error!(%panicked, "task ended in a panic; it will be delivered again");
    }
}

/// Settles a delivery; a disposition that is lost is harmless, for its outcome is stored.
async fn resolve(delivery: Delivery, disposition: Disposition) {
    if let Err(lost) = delivery.resolve(disposition).await {
        debug!(%lost, "ack lost; the task will be redelivered");
    }
}

/// Why deliveries were handed back or refused lately.
#[derive(Default)]
struct RateLimitedLog {
    told: Mutex<HashMap<String, Instant>>,
}

impl RateLimitedLog {
    /// Hands a delivery back for a while, saying why: the same reason once in a while only, however many tasks have it.
    async fn hand_back(&self, delivery: Delivery, why: &(dyn std::fmt::Display + Sync)) {
        self.postponed(why);
        resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await;
    }

    /// Says why something is put off: the same reason once in a while only.
    fn postponed(&self, why: &(dyn std::fmt::Display + Sync)) {
        let why = why.to_string();
        if self.is_due(&why) {
            warn!(why, "put off");
        }
    }

    /// Says that a message was no message, likewise.
    fn refused(&self, queue: &Queue, why: &Refusal) {
        if self.is_due(&format!("{queue}: {why}")) {
            warn!(%queue, %why, "message refused to the dead letters");
        }
    }

    /// Says that a task panicked, likewise: a bug that meets one example meets many.
    fn panicked(&self, run: &RunId, task: TaskId) {
        if self.is_due(&format!("bug in {run}")) {
            error!(%run, %task, "bug: the task panicked; please report it");
        }
    }

    fn is_due(&self, what: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| at.elapsed() < TELL_AGAIN);
        !told.contains_key(what) && told.insert(what.to_owned(), Instant::now()).is_none()
    }
}
