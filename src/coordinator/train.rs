//! Phase four: a fine-tune job per LM key, and its completion.

use super::collect::Collected;
use super::prepare::Prepared;
use super::trainings::Trainings;
use super::watchdog::FinetuneWatchdog;
use super::{Coordinator, RunError};
use crate::broker::{Delivery, Disposition, Queue};
use crate::finetune::TrainingResult;
use crate::message::{Completion, decode};
use crate::report::Phase;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How long the coordinator waits for a completion message before it looks into the store, which is the truth.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long a cancelled run waits for its trainings to be stopped: longer than a worker takes to come by and a trainer to end.
const STOPPING: Duration = Duration::from_secs(120);

/// Completions in hand at once; each is only an id.
const PREFETCH: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// Every LM key has its model.
pub(super) struct AllTrained {
    pub(super) prepared: Prepared,
    /// In the order of the keys.
    pub(super) models: Vec<TrainingResult>,
}

/// Runs the phase.
pub(super) async fn train(coordinator: &Coordinator, collected: Collected) -> Result<AllTrained, RunError> {
    let started = Instant::now();
    let Collected { mut prepared, shards } = collected;
    prepared.manifest.phase = Phase::Train;
    let mut jobs = Trainings::plan(coordinator, &mut prepared, shards).await?;
    // From here on a cancellation is ours to carry out: trainings are stopped before the process goes.
    let _trains = prepared.leadership.trains();
    let ended = watch(coordinator, &mut prepared, &mut jobs).await;
    prepared.manifest.spent("train", started.elapsed());
    if ended.is_ok() {
        jobs.clear_away(coordinator, &prepared).await;
    }
    let models = jobs.conclude(&mut prepared, coordinator);
    prepared.tell(coordinator).await?;
    coordinator.progress.training_ends();
    ended?;
    Ok(AllTrained {
        models: models?,
        prepared,
    })
}

/// Publishes the jobs and waits until all of them have ended.
async fn watch(
    coordinator: &Coordinator,
    prepared: &mut Prepared,
    jobs: &mut Trainings,
) -> Result<(), RunError> {
    // What is asked for is known before it is asked for.
    prepared.tell(coordinator).await?;
    let queue = Queue::Completions(prepared.run.clone());
    let mut completions = coordinator.broker.consume(&queue, PREFETCH).await?;
    jobs.publish(coordinator, prepared).await?;
    let mut watchdog = FinetuneWatchdog::new();
    let mut cancelled: Option<Instant> = None;
    while !jobs.have_ended() {
        tokio::select! {
            () = coordinator.shutdown.draining() => return Err(RunError::Interrupted),
            () = prepared.leadership.cancellation(), if cancelled.is_none() => {
                info!("stopping the trainings");
                cancelled = Some(Instant::now());
            }
            delivery = completions.next() => if let Some(delivery) = delivery? {
                resolve(delivery).await;
            },
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        jobs.look(coordinator, prepared).await?;
        if let Some(since) = cancelled {
            if !jobs.are_at_work() {
                break;
            }
            if since.elapsed() > STOPPING {
                warn!("{}", jobs.left_running());
                break;
            }
            continue;
        }
        watchdog.tell(coordinator, prepared, jobs).await;
        for lost in watchdog.lost(coordinator, prepared, jobs).await? {
            jobs.publish_again(coordinator, prepared, lost).await?;
        }
    }
    // A worker may have heard of the cancellation before us.
    let is_cancelled =
        cancelled.is_some() || jobs.are_any_cancelled() && prepared.leadership.hears_now(coordinator).await;
    match is_cancelled {
        true => Err(RunError::Cancelled),
        false => Ok(()),
    }
}

async fn resolve(delivery: Delivery) {
    let disposition = match decode::<Completion>(&delivery.body) {
        Ok(_) => Disposition::Ack,
        Err(why) => {
            warn!(%why, "completion refused to the dead letters");
            Disposition::Reject
        }
    };
    if let Err(lost) = delivery.resolve(disposition).await {
        debug!(%lost, "completion not acked; it will be redelivered");
    }
}
