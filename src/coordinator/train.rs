//! The fourth phase: requests a training for each LM key, and waits until all of them have ended.

use super::collect::Collected;
use super::context::RunContext;
use super::error::RunError;
use super::run_json;
use super::trainings::Trainings;
use super::watchdog::FinetuneWatchdog;
use crate::broker::{Delivery, Disposition, Queue};
use crate::finetune::TrainingResult;
use crate::message::{Completion, decode};
use crate::report::{Manifest, Phase};
use crate::spec::JobSpec;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How often the store is read without a completion message. The store is authoritative; completions only shorten the wait.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// How long a cancelled run waits for workers to cancel its trainings: longer than a worker's polling interval and a trainer's exit.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(120);

/// How many completions may be unacknowledged. Each holds only an id.
const PREFETCH: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");

/// Every LM key has its model.
pub(super) struct Trained {
    pub(super) spec: JobSpec,
    /// In the order of [`lm_keys`](crate::dataset::lm_keys).
    pub(super) models: Vec<TrainingResult>,
    pub(super) manifest: Manifest,
}

pub(super) async fn train(run: RunContext<'_>, collected: Collected) -> Result<Trained, RunError> {
    let started = Instant::now();
    let Collected {
        spec,
        stored,
        shards,
        mut manifest,
    } = collected;
    manifest.phase = Phase::Train;
    let mut trainings = Trainings::resume(run, &mut manifest, shards, stored).await?;
    let _guard = run.leadership.guard_cancellation();
    let ended = follow(run, &mut trainings, &mut manifest).await;
    manifest.add_seconds("train", started.elapsed());
    if ended.is_ok() {
        trainings.delete_files(run).await;
    }
    let models = trainings.conclude(run, &mut manifest);
    run_json::publish(run, &mut manifest).await?;
    run.coordinator.progress.training_ends();
    ended?;
    Ok(Trained {
        spec,
        models: models?,
        manifest,
    })
}

/// Publishes the tasks and waits until every training has ended, or a cancelled run has cancelled them.
async fn follow(
    run: RunContext<'_>,
    trainings: &mut Trainings,
    manifest: &mut Manifest,
) -> Result<(), RunError> {
    // Persist the requested trainings before publishing them.
    run_json::publish(run, manifest).await?;
    let queue = Queue::Completions(run.id.clone());
    let mut completions = run.backends().broker.consume(&queue, PREFETCH).await?;
    trainings.publish(run).await?;
    let mut watchdog = FinetuneWatchdog::new();
    let mut cancelled: Option<Instant> = None;
    while !trainings.have_ended() {
        tokio::select! {
            () = run.coordinator.shutdown.draining() => return Err(RunError::Interrupted),
            () = run.leadership.cancellation(), if cancelled.is_none() => {
                info!("cancelling the trainings");
                cancelled = Some(Instant::now());
            }
            delivery = completions.next() => if let Some(delivery) = delivery? {
                acknowledge(delivery).await;
            },
            () = tokio::time::sleep(POLL_EVERY) => {}
        }
        trainings.update(run, manifest).await?;
        if let Some(since) = cancelled {
            if !trainings.may_be_running() {
                break;
            }
            if since.elapsed() > CANCEL_TIMEOUT {
                warn!(
                    trainings = trainings.left_running(),
                    "no worker cancelled trainings; they may still run"
                );
                break;
            }
            continue;
        }
        watchdog.report_missing_workers(run, trainings).await;
        for task in watchdog.find_lost(run, trainings).await? {
            trainings.republish(run, task).await?;
        }
    }
    // A worker may see the cancellation before the coordinator does.
    let is_cancelled =
        cancelled.is_some() || trainings.are_any_cancelled() && run.leadership.is_cancelled_now().await;
    if is_cancelled {
        Err(RunError::Cancelled)
    } else {
        Ok(())
    }
}

async fn acknowledge(delivery: Delivery) {
    let disposition = match decode::<Completion>(&delivery.body) {
        Ok(_) => Disposition::Ack,
        Err(why) => {
            warn!(%why, "completion rejected to the dead-letter queue");
            Disposition::Reject
        }
    };
    if let Err(error) = delivery.resolve(disposition).await {
        debug!(%error, "completion not acknowledged; it is redelivered");
    }
}
