//! Supervises a training on this machine until it ends or this process exits.

use super::driver::{Observation, TrainingDriver};
use super::{TrainingTask, UnackedError};
use crate::broker::{Delivery, Disposition};
use crate::finetune::{ProviderError, TrainingOutcome, TrainingProgress, TrainingRecord, UnfinishedTraining};
use crate::metrics::TaskEnd;
use crate::store::{Claim, StoreError};
use crate::task::AttemptRef;
use crate::telemetry::spans;
use crate::worker::poll_error::PollError;
use crate::worker::{HELD, WorkerContext, resolve};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, info, warn};

/// How often a training on this machine is polled.
const OBSERVE_INTERVAL: Duration = Duration::from_secs(1);

/// The minimum interval between two progress reports to the coordinator.
const REPORT_INTERVAL: Duration = Duration::from_secs(2);

/// Resumes a training that an earlier process started on this machine, or stops it if its task has ended or moved elsewhere.
pub(in crate::worker) async fn resume(context: Arc<WorkerContext>, left: UnfinishedTraining) {
    let (Ok(provider), Ok(task)) = (context.providers.get(&left.shard.recipe), left.key.parse()) else {
        return;
    };
    let job = TrainingTask::new(&context, left.run, task, left.shard, provider.as_ref());
    let queue = context.metrics.worker().finetune.task();
    tokio::select! {
        resumed = job.resume() => if let Err(why) = resumed {
            if matches!(why, PollError::Store(StoreError::Fenced(_))) {
                queue.ended(TaskEnd::Fenced);
            }
            // The message of the task is delivered again.
            debug!(%why, %task, "training not resumed");
        },
        // The next worker on this host resumes it.
        () = context.shutdown.aborting() => queue.ended(TaskEnd::Interrupted),
    }
}

impl TrainingTask<'_> {
    /// Supervises a training on this machine until it ends or this process exits. The message is requeued meanwhile, because a delivery
    /// must not stay unacknowledged for days.
    pub(super) async fn supervise_delivery(&self, delivery: Delivery) -> Result<(), UnackedError> {
        let later = Disposition::Requeue { after: HELD };
        let _place = match self.context.local.try_acquire() {
            Ok(permit) => Some(permit),
            // A training that already runs here needs no free permit.
            Err(_) => match self.provider.find(&self.order()).await {
                Ok(Some(_)) => None,
                Ok(None) | Err(_) => return resolved(delivery, later).await,
            },
        };
        let (attempt, records) = match self.claim().await {
            Ok(Claim::Done) => match self.announced().await {
                Ok(_) => return resolved(delivery, Disposition::Ack).await,
                Err(why) => return Err((Some(delivery), why)),
            },
            Ok(Claim::Held) => {
                self.context.orphan_timer.forget(self.task);
                return resolved(delivery, later).await;
            }
            Ok(Claim::Run { attempt, records, .. }) => (self.reference(attempt), records),
            Err(why) => return Err((Some(delivery), why.into())),
        };
        resolve(delivery, later).await;
        self.supervise(attempt, &records).await.map_err(|why| (None, why))
    }

    async fn resume(&self) -> Result<(), PollError> {
        let _place = self.context.local.try_acquire();
        loop {
            match self.claim().await? {
                Claim::Run { attempt, records, .. } => {
                    let attempt = self.reference(attempt);
                    if self.is_elsewhere(&records) {
                        self.release(attempt).await?
                    } else {
                        return self.supervise(attempt, &records).await;
                    }
                    break;
                }
                Claim::Done => break,
                // The lease belongs to the dead process that started it, or to another worker that claimed it first.
                Claim::Held => {
                    let (run, task) = (&self.run, self.task);
                    if self.is_elsewhere(&self.context.store.records(run, task).await?) {
                        break;
                    }
                }
            }
            tokio::select! {
                () = self.context.shutdown.draining() => return Ok(()),
                () = tokio::time::sleep(HELD) => {}
            }
        }
        let order = self.order();
        if let Some(id) = self.provider.deterministic_id(&order) {
            self.provider.cancel(&id, &order).await?;
            self.provider.cleanup(&id, &order).await?;
        }
        Ok(())
    }

    /// Whether the training has moved to another machine.
    fn is_elsewhere(&self, records: &[(u32, Vec<u8>)]) -> bool {
        let known = TrainingRecord::from_slots(records).id;
        known.is_some() && known != self.provider.deterministic_id(&self.order())
    }

    async fn supervise(&self, attempt: AttemptRef, records: &[(u32, Vec<u8>)]) -> Result<(), PollError> {
        let span = spans::finetune_task(&self.run, attempt, &self.shard);
        let ended = self
            .supervise_under_lease(attempt, records, &span)
            .instrument(span.clone())
            .await;
        if ended.is_err() {
            spans::ended(&span, "interrupted");
        }
        ended
    }

    async fn supervise_under_lease(
        &self,
        attempt: AttemptRef,
        records: &[(u32, Vec<u8>)],
        span: &Span,
    ) -> Result<(), PollError> {
        let work = self.watch(self.driver(attempt, records));
        let ended = match self.under_lease(attempt, work).await? {
            Ok(ended) => ended,
            Err(error) => {
                self.release(attempt).await?;
                return Err(error);
            }
        };
        match ended {
            Some(ended) => {
                spans::training_ended(span, &ended.training);
                self.conclude(attempt, ended, records).await
            }
            None => {
                spans::ended(span, "interrupted");
                Ok(self.release(attempt).await?)
            }
        }
    }

    /// Returns the outcome. `None` when another worker must supervise the training, later or elsewhere.
    async fn watch(&self, mut driver: TrainingDriver<'_>) -> Result<Option<TrainingOutcome>, PollError> {
        let (order, task) = (self.order(), self.task);
        let mut reported = (Instant::now(), None);
        loop {
            if self.context.heartbeats.is_cancelled(&self.run).await {
                match driver.cancel(self.provider, &order).await {
                    Ok(ended) => return Ok(ended),
                    Err(ProviderError::Elsewhere(_)) => return Ok(None),
                    Err(why) => self.context.log.postponed(&why),
                }
            } else {
                match driver.observe(self.provider, &order).await? {
                    Observation::Ended(ended) => return Ok(Some(ended)),
                    Observation::Running(progress) => {
                        self.report_progress(&driver, &mut reported, progress).await?
                    }
                    Observation::Unknown(why) => {
                        self.context
                            .log
                            .postponed(&format!("fine-tune job of {}: {why}", self.shard));
                    }
                    Observation::Elsewhere { id, place } => {
                        if self.context.orphan_timer.since(task, &id) < self.context.providers.take_over() {
                            return Ok(None);
                        }
                        warn!(shard = %self.shard, place, "restarting an unsupervised training on this machine");
                        driver.take_over(self.provider, &order).await?;
                        // The folder may be shared with another machine; if so, the timer starts again.
                        self.context.orphan_timer.forget(task);
                        continue;
                    }
                }
            }
            tokio::select! {
                () = self.context.shutdown.draining() => {
                    info!(shard = %self.shard, "training continues; the next worker resumes it");
                    self.context.metrics.worker().finetune.ended(TaskEnd::Interrupted, self.began.elapsed());
                    return Ok(None);
                }
                () = tokio::time::sleep(OBSERVE_INTERVAL) => {}
            }
        }
    }

    /// Stores the progress for the coordinator if it has changed.
    async fn report_progress(
        &self,
        driver: &TrainingDriver<'_>,
        reported: &mut (Instant, Option<TrainingProgress>),
        progress: TrainingProgress,
    ) -> Result<(), StoreError> {
        let is_due = reported.1.as_ref() != Some(&progress);
        if !is_due || (reported.1.is_some() && reported.0.elapsed() < REPORT_INTERVAL) {
            return Ok(());
        }
        driver.record_progress(&progress).await?;
        *reported = (Instant::now(), Some(progress));
        Ok(())
    }
}

async fn resolved(delivery: Delivery, disposition: Disposition) -> Result<(), UnackedError> {
    resolve(delivery, disposition).await;
    Ok(())
}
