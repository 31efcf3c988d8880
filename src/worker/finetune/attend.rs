//! A training on this machine, looked after until it ends or this process does.

use super::{Job, TickError, Unsettled};
use crate::broker::{Delivery, Settlement};
use crate::finetune::{Known, ProviderError, TrainingOutcome, TrainingProgress, Unfinished};
use crate::message::{FinetuneTask, MESSAGE_VERSION};
use crate::metrics::TaskEnd;
use crate::store::{Claim, StoreError};
use crate::task::AttemptRef;
use crate::telemetry::spans;
use crate::worker::training::{Care, Look};
use crate::worker::{HELD, Shared, settle};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, info, warn};

/// How often a training on this machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the coordinator hears of a training on this machine.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Looks after a training that an earlier process of this machine has left behind, or stops it where it is nobody's any more.
pub(in crate::worker) async fn adopt(shared: Arc<Shared>, left: Unfinished) {
    let (Ok(provider), Ok(task)) = (shared.providers.get(&left.shard.recipe), left.key.parse()) else {
        return;
    };
    let message = FinetuneTask {
        v: MESSAGE_VERSION,
        run: left.run,
        task,
        shard: left.shard,
    };
    let job = Job::new(&shared, &message, provider.as_ref());
    let lane = shared.metrics.worker().finetune.task();
    tokio::select! {
        adopted = job.adopt() => if let Err(why) = adopted {
            if matches!(why, TickError::Store(StoreError::Fenced(_))) {
                lane.ended(TaskEnd::Fenced);
            }
            // Its message goes round and comes by.
            debug!(%why, task = %message.task, "training not taken up again");
        },
        // Whoever is next at this place has it, too.
        () = shared.shutdown.aborting() => lane.ended(TaskEnd::Interrupted),
    }
}

impl Job<'_> {
    /// Looks after a training on this machine until it ends or this process does. The message goes round meanwhile: a delivery must not be
    /// held for days.
    pub(super) async fn attend_for(&self, delivery: Delivery) -> Result<(), Unsettled> {
        let later = Settlement::Return { after: HELD };
        let _place = match self.shared.local.try_acquire() {
            Ok(permit) => Some(permit),
            // One that goes on here already is looked after all the same.
            Err(_) => match self.provider.find(&self.order()).await {
                Ok(Some(_)) => None,
                Ok(None) | Err(_) => return settled(delivery, later).await,
            },
        };
        let (attempt, records) = match self.claim().await {
            Ok(Claim::Done) => match self.announced().await {
                Ok(_) => return settled(delivery, Settlement::Done).await,
                Err(why) => return Err((Some(delivery), why)),
            },
            Ok(Claim::Held) => {
                self.shared.strays.forget(self.message.task);
                return settled(delivery, later).await;
            }
            Ok(Claim::Run { attempt, records, .. }) => (self.reference(attempt), records),
            Err(why) => return Err((Some(delivery), why.into())),
        };
        settle(delivery, later).await;
        self.attend(attempt, &records).await.map_err(|why| (None, why))
    }

    async fn adopt(&self) -> Result<(), TickError> {
        let _place = self.shared.local.try_acquire();
        loop {
            match self.claim().await? {
                Claim::Run { attempt, records, .. } => {
                    let attempt = self.reference(attempt);
                    match self.is_elsewhere(&records) {
                        true => self.release(attempt).await?,
                        false => return self.attend(attempt, &records).await,
                    }
                    break;
                }
                Claim::Done => break,
                // By the process that left it behind, which is dead; or by one that was quicker, here or elsewhere.
                Claim::Held => {
                    let (run, task) = (&self.message.run, self.message.task);
                    if self.is_elsewhere(&self.shared.store.records(run, task).await?) {
                        break;
                    }
                }
            }
            tokio::select! {
                () = self.shared.shutdown.draining() => return Ok(()),
                () = tokio::time::sleep(HELD) => {}
            }
        }
        let order = self.order();
        if let Some(id) = self.provider.chosen_id(&order) {
            self.provider.cancel(&id, &order).await?;
            self.provider.tidy(&id, &order).await?;
        }
        Ok(())
    }

    /// Whether the training has become another place's.
    fn is_elsewhere(&self, records: &[(u32, Vec<u8>)]) -> bool {
        let known = Known::of(records).id;
        known.is_some() && known != self.provider.chosen_id(&self.order())
    }

    async fn attend(&self, attempt: AttemptRef, records: &[(u32, Vec<u8>)]) -> Result<(), TickError> {
        let span = spans::finetune_task(&self.message.run, attempt, &self.message.shard);
        let ended = self
            .attended(attempt, records, &span)
            .instrument(span.clone())
            .await;
        if ended.is_err() {
            spans::ended(&span, "interrupted");
        }
        ended
    }

    async fn attended(
        &self,
        attempt: AttemptRef,
        records: &[(u32, Vec<u8>)],
        span: &Span,
    ) -> Result<(), TickError> {
        let work = self.watch(self.care(attempt, records));
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

    /// Gives how the training ended; none: somebody else is to look after it, later or elsewhere.
    async fn watch(&self, mut care: Care<'_>) -> Result<Option<TrainingOutcome>, TickError> {
        let (order, task) = (self.order(), self.message.task);
        let mut told = (Instant::now(), None);
        loop {
            if self.shared.presence.is_cancelled(&self.message.run).await {
                match care.cancel(self.provider, &order).await {
                    Ok(ended) => return Ok(ended),
                    Err(ProviderError::Elsewhere(_)) => return Ok(None),
                    Err(why) => self.shared.reasons.tell(&why),
                }
            } else {
                match care.look(self.provider, &order).await? {
                    Look::Ended(ended) => return Ok(Some(ended)),
                    Look::Running(progress) => self.tell(&care, &mut told, progress).await?,
                    Look::Unknown(why) => {
                        self.shared
                            .reasons
                            .tell(&format!("fine-tune job of {}: {why}", self.message.shard));
                    }
                    Look::Elsewhere { id, place } => {
                        if self.shared.strays.since(task, &id) < self.shared.providers.take_over() {
                            return Ok(None);
                        }
                        warn!(shard = %self.message.shard, place, "nobody looks after this training any more: starting it anew here");
                        care.take_over(self.provider, &order).await?;
                        // A machine that shares our folder may be told of still: then it has its time again.
                        self.shared.strays.forget(task);
                        continue;
                    }
                }
            }
            tokio::select! {
                () = self.shared.shutdown.draining() => {
                    info!(shard = %self.message.shard, "the training goes on without us; the next worker here looks after it");
                    self.shared.metrics.worker().finetune.ended(TaskEnd::Interrupted, self.began.elapsed());
                    return Ok(None);
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Tells the coordinator how far the training is, when there is news.
    async fn tell(
        &self,
        care: &Care<'_>,
        told: &mut (Instant, Option<TrainingProgress>),
        progress: TrainingProgress,
    ) -> Result<(), StoreError> {
        let is_news = told.1.as_ref() != Some(&progress);
        if !is_news || (told.1.is_some() && told.0.elapsed() < TELL_EVERY) {
            return Ok(());
        }
        care.note_progress(&progress).await?;
        *told = (Instant::now(), Some(progress));
        Ok(())
    }
}

async fn settled(delivery: Delivery, settlement: Settlement) -> Result<(), Unsettled> {
    settle(delivery, settlement).await;
    Ok(())
}
