//! Workers: take tasks from the lanes, carry them out, store what came of it, settle.
//!
//! A worker knows the queue and the store, never the coordinator. Whatever it drops is delivered again.

mod answers;
mod bootstrap;
mod finetune;
mod jobs;
mod lease;

use crate::queue::{Delivery, Lane, Queue, QueueError, Settlement};
use crate::shutdown::Shutdown;
use crate::store::Store;
use jobs::Jobs;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

/// After how long a task comes back that could not be worked on just now: its job is unknown here, the store is down, somebody else holds it.
const RETURN_AFTER: Duration = Duration::from_secs(2);

/// One task in so many is in hand beyond the calls in flight, so that no call waits while others' answers go to the disk.
const TASKS_BEYOND_CALLS: usize = 4;

/// Fine-tune tasks that one worker has in hand; each is only a short tick.
const FINETUNE_PREFETCH: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not 0");

/// A worker process, or a part of one.
pub struct Worker {
    /// Where tasks come from.
    pub queue: Arc<dyn Queue>,
    /// Where jobs are read and outcomes written.
    pub store: Arc<dyn Store>,
    /// LM calls in flight at once.
    pub concurrency: NonZeroUsize,
    /// How long a drain may take before what is in flight is handed back.
    pub drain: Duration,
}

/// What every task in flight shares.
struct Shared {
    queue: Arc<dyn Queue>,
    store: Arc<dyn Store>,
    jobs: Jobs,
    /// A permit for each LM call in flight.
    calls: Semaphore,
    shutdown: Shutdown,
}

/// Works until told to stop or the queue is closed.
pub async fn run(worker: Worker, shutdown: Shutdown) -> Result<(), QueueError> {
    let calls = worker.concurrency.get().min(Semaphore::MAX_PERMITS / 2);
    let prefetch = worker
        .concurrency
        .saturating_add(calls.div_ceil(TASKS_BEYOND_CALLS));
    let mut bootstrap = worker.queue.consume(&Lane::Bootstrap, prefetch).await?;
    let mut finetune = worker.queue.consume(&Lane::Finetune, FINETUNE_PREFETCH).await?;
    let shared = Arc::new(Shared {
        queue: Arc::clone(&worker.queue),
        store: Arc::clone(&worker.store),
        jobs: Jobs::new(worker.store),
        calls: Semaphore::new(calls),
        shutdown: shutdown.clone(),
    });
    let mut in_flight = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.draining() => break,
            delivery = finetune.next() => match delivery? {
                Some(delivery) => { in_flight.spawn(finetune::execute(Arc::clone(&shared), delivery)); }
                None => break,
            },
            delivery = bootstrap.next() => match delivery? {
                Some(delivery) => { in_flight.spawn(bootstrap::execute(Arc::clone(&shared), delivery)); }
                None => break,
            },
            Some(ended) = in_flight.join_next() => seen(ended),
        }
    }
    drain(in_flight, worker.drain, &shutdown).await;
    Ok(())
}

/// Waits for what is in flight; what is left when the time is up is told to stop and handed back.
async fn drain(mut in_flight: JoinSet<()>, patience: Duration, shutdown: &Shutdown) {
    let all = async {
        while let Some(ended) = in_flight.join_next().await {
            seen(ended);
        }
    };
    if tokio::time::timeout(patience, all).await.is_err() {
        shutdown.abort();
        while let Some(ended) = in_flight.join_next().await {
            seen(ended);
        }
    }
}

fn seen(ended: Result<(), tokio::task::JoinError>) {
    if let Err(panicked) = ended {
        error!(%panicked, "task ended in a panic; it will be delivered again");
    }
}

/// Settles a delivery; a settlement that is lost is harmless, for its outcome is stored.
async fn settle(delivery: Delivery, settlement: Settlement) {
    if let Err(lost) = delivery.settle(settlement).await {
        debug!(%lost, "settlement lost; the task will be delivered again");
    }
}

/// Hands a delivery back for a while, saying why.
async fn hand_back(delivery: Delivery, why: &(dyn std::fmt::Display + Sync)) {
    warn!(%why, "task handed back");
    settle(delivery, Settlement::Return { after: RETURN_AFTER }).await;
}
