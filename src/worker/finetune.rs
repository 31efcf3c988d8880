//! A task of the finetune lane: a short tick at a training, never a long hold on a delivery.
//!
//! Trainings at a service are looked at by whichever worker the message comes to. A training on this machine is looked after here until
//! it ends, under the task's lease; the message goes round meanwhile, so that another worker has it when this one dies.

use super::lease::{LEASE, under_lease};
use super::training::{Care, Look};
use super::{HELD, RETURN_AFTER, Shared, preflight, settle};
use crate::finetune::{
    Known, Order, Provider, ProviderError, Training, TrainingId, TrainingOutcome, TrainingProgress,
    Unfinished,
};
use crate::message::{Completion, FinetuneMessage, FinetuneTask, MESSAGE_VERSION, Refusal, decode, encode};
use crate::metrics::TaskEnd;
use crate::queue::{Delivery, Lane, QueueError, Settlement};
use crate::store::{Claim, StoreError};
use crate::task::{AttemptRef, RunId, TaskId};
use crate::telemetry::spans;
use crate::trace::Outcome;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument as _, Span, debug, info, warn};

/// How long a training at a service is left alone between two looks at it.
const TICK: Duration = Duration::from_secs(5);

/// How often a training on this machine is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the coordinator hears of a training on this machine.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// Why a tick did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TickError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Provider(#[from] ProviderError),
}

/// What a tick found.
#[derive(Debug)]
enum Tick {
    /// The outcome is stored and announced, or there is nothing to do.
    Ended,
    /// Look again after that time.
    Later(Duration),
    /// Look again, for this is not known now.
    Unknown(String),
}

/// Trainings that should be looked after at another place, and since when nobody was seen to do so.
#[derive(Default)]
pub(super) struct Strays {
    seen: Mutex<HashMap<TaskId, (TrainingId, Instant)>>,
}

impl Strays {
    /// For how long nobody has looked after the training.
    fn since(&self, task: TaskId, id: &TrainingId) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, since) = seen.entry(task).or_insert_with(|| (id.clone(), Instant::now()));
        if known != id {
            (*known, *since) = (id.clone(), Instant::now());
        }
        since.elapsed()
    }

    /// Somebody looks after it.
    fn forget(&self, task: TaskId) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&task);
    }
}

/// Carries out one delivery of the finetune lane.
pub(super) async fn execute(shared: Arc<Shared>, delivery: Delivery) {
    let lane = shared.metrics.worker().finetune.task();
    let message = match decode(&delivery.body) {
        Ok(FinetuneMessage::Train(message)) => message,
        Ok(FinetuneMessage::Preflight(message)) => {
            return preflight::execute(&shared, delivery, &message).await;
        }
        Err(why @ Refusal::OtherVersion { .. }) => return shared.reasons.hand_back(delivery, &why).await,
        Err(why @ (Refusal::Foreign(_) | Refusal::NotText)) => {
            shared.reasons.tell_refusal(&Lane::Finetune, &why);
            lane.ended(TaskEnd::Refused);
            return settle(delivery, Settlement::Reject).await;
        }
    };
    let provider = match shared.providers.get(&message.shard.recipe) {
        Ok(provider) => provider,
        Err(why) => return shared.reasons.hand_back(delivery, &why).await,
    };
    let job = Job {
        shared: &shared,
        message: &message,
        provider: provider.as_ref(),
        key: message.task.to_string(),
        began: Instant::now(),
    };
    let ended = match provider.stays() {
        true => job.attend_for(delivery).await,
        false => job.tick_for(delivery).await,
    };
    if let Err((delivery, why)) = ended {
        match &why {
            TickError::Store(StoreError::Fenced(_)) => lane.ended(TaskEnd::Fenced),
            TickError::Store(_) => lane.ended(TaskEnd::Interrupted),
            // It comes again, to be looked at as before.
            TickError::Queue(_) | TickError::Provider(_) => {}
        }
        match (delivery, why) {
            (Some(delivery), TickError::Store(StoreError::Fenced(_))) => {
                settle(delivery, Settlement::Return { after: RETURN_AFTER }).await
            }
            (None, TickError::Store(StoreError::Fenced(_))) => {
                debug!(task = %message.task, "another worker looks after the training")
            }
            (delivery, TickError::Store(why)) => shared.fail(delivery, why),
            (Some(delivery), why) => shared.reasons.hand_back(delivery, &why).await,
            (None, why) => shared.reasons.tell(&why),
        }
    }
}

/// Looks after a training that an earlier process of this machine has left behind, or stops it where it is nobody's any more.
pub(super) async fn adopt(shared: Arc<Shared>, left: Unfinished) {
    let (Ok(provider), Ok(task)) = (shared.providers.get(&left.shard.recipe), left.key.parse()) else {
        return;
    };
    let message = FinetuneTask {
        v: MESSAGE_VERSION,
        run: left.run,
        task,
        shard: left.shard,
    };
    let job = Job {
        shared: &shared,
        message: &message,
        provider: provider.as_ref(),
        key: message.task.to_string(),
        began: Instant::now(),
    };
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

/// A delivery that is not settled yet, and why it could not be worked on.
type Unsettled = (Option<Delivery>, TickError);

/// One training and everything that is needed to look after it.
struct Job<'a> {
    shared: &'a Arc<Shared>,
    message: &'a FinetuneTask,
    provider: &'a dyn Provider,
    key: String,
    /// When this worker took it up.
    began: Instant,
}

impl Job<'_> {
    /// One look, whoever made the last one.
    async fn tick_for(&self, delivery: Delivery) -> Result<(), Unsettled> {
        let settlement = match self.tick().await {
            Ok(Tick::Ended) => Settlement::Done,
            Ok(Tick::Later(after)) => Settlement::Return { after },
            Ok(Tick::Unknown(why)) => {
                let why = format!("fine-tune job of {}: {why}", self.message.shard);
                self.shared.reasons.hand_back(delivery, &why).await;
                return Ok(());
            }
            Err(why) => return Err((Some(delivery), why)),
        };
        settle(delivery, settlement).await;
        Ok(())
    }

    async fn tick(&self) -> Result<Tick, TickError> {
        let (attempt, records) = match self.claim().await? {
            Claim::Done => return self.announced().await,
            Claim::Held => return Ok(Tick::Later(HELD)),
            Claim::Run { attempt, records, .. } => (self.reference(attempt), records),
        };
        let mut care = self.care(attempt, &records);
        let is_cancelled = self.shared.presence.is_void(&self.message.run).await;
        let work = async {
            match is_cancelled {
                true => match care.cancel(self.provider, &self.order()).await? {
                    Some(ended) => Ok(Some(Look::Ended(ended))),
                    None => Ok(None),
                },
                false => Ok(Some(care.look(self.provider, &self.order()).await?)),
            }
        };
        let looked = match self.under_lease(attempt, work).await? {
            Ok(looked) => looked,
            Err(error) => {
                self.release(attempt).await?;
                return Err(error);
            }
        };
        if !matches!(looked, Some(Look::Ended(_)) | None) {
            self.care(attempt, &records).note_look().await?;
        }
        match looked {
            Some(Look::Ended(ended)) => {
                self.conclude(attempt, ended, &records).await?;
                Ok(Tick::Ended)
            }
            Some(Look::Running(progress)) => {
                self.care(attempt, &records).note_progress(&progress).await?;
                self.release(attempt).await?;
                Ok(Tick::Later(TICK))
            }
            Some(Look::Unknown(why)) => {
                self.release(attempt).await?;
                Ok(Tick::Unknown(why))
            }
            Some(Look::Elsewhere { place, .. }) => {
                self.release(attempt).await?;
                Ok(Tick::Unknown(format!("it is looked after at {place}")))
            }
            None => {
                self.release(attempt).await?;
                Ok(Tick::Ended)
            }
        }
    }

    /// Looks after a training on this machine until it ends or this process does. The message goes round meanwhile: a delivery must not be
    /// held for days.
    async fn attend_for(&self, delivery: Delivery) -> Result<(), Unsettled> {
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

    /// Stores how it ended, tells the coordinator, and clears away what nobody needs any more.
    async fn conclude(
        &self,
        attempt: AttemptRef,
        ended: TrainingOutcome,
        records: &[(u32, Vec<u8>)],
    ) -> Result<(), TickError> {
        let outcome = Outcome::Training(serde_json::to_string(&ended).expect("strings serialise"));
        let FinetuneTask { run, shard, .. } = self.message;
        self.shared.store.finish(run, attempt, outcome.encode()).await?;
        self.count(&ended.training, records);
        self.announced().await?;
        match &ended.training {
            Training::Failed(reason) => warn!(%shard, reason, "training failed"),
            Training::Succeeded(trained) => info!(%shard, model = trained.model, "training ended"),
            _ => info!(%shard, "training cancelled"),
        }
        if let Some(id) = &ended.id
            && let Err(error) = self.provider.tidy(id, &self.order()).await
        {
            warn!(%shard, %error, "not cleared away");
        }
        Ok(())
    }

    /// Counts an outcome that is stored; a training that somebody stopped is neither a success nor a failure.
    fn count(&self, training: &Training, records: &[(u32, Vec<u8>)]) {
        let end = match training {
            Training::Succeeded(_) => TaskEnd::Trained,
            Training::Failed(_) => TaskEnd::Failed,
            Training::Cancelled | Training::Running(_) | Training::Absent => return,
        };
        let took = Known::of(records).age().unwrap_or_else(|| self.began.elapsed());
        self.shared.metrics.worker().finetune.ended(end, took);
    }

    async fn announced(&self) -> Result<Tick, TickError> {
        announce(self.shared, &self.message.run, self.message.task).await?;
        Ok(Tick::Ended)
    }

    async fn claim(&self) -> Result<Claim, StoreError> {
        self.shared
            .store
            .claim(&self.message.run, self.message.task, LEASE)
            .await
    }

    async fn release(&self, attempt: AttemptRef) -> Result<(), StoreError> {
        self.shared.store.release(&self.message.run, attempt).await
    }

    async fn under_lease<T>(
        &self,
        attempt: AttemptRef,
        work: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        under_lease(self.shared.store.as_ref(), &self.message.run, attempt, work).await
    }

    fn care<'c>(&'c self, attempt: AttemptRef, records: &[(u32, Vec<u8>)]) -> Care<'c> {
        let settle = self.shared.providers.settle();
        Care::new(
            self.shared.store.as_ref(),
            &self.message.run,
            attempt,
            records,
            settle,
        )
    }

    fn order(&self) -> Order<'_> {
        Order {
            key: &self.key,
            run: &self.message.run,
            shard: &self.message.shard,
            depot: self.shared.depot.as_ref(),
        }
    }

    fn reference(&self, attempt: crate::task::Attempt) -> AttemptRef {
        AttemptRef {
            task: self.message.task,
            attempt,
        }
    }
}

async fn settled(delivery: Delivery, settlement: Settlement) -> Result<(), Unsettled> {
    settle(delivery, settlement).await;
    Ok(())
}

/// Tells the run's coordinator to look into the store.
pub(super) async fn announce(shared: &Shared, run: &RunId, task: TaskId) -> Result<(), QueueError> {
    let completion = Completion {
        v: MESSAGE_VERSION,
        run: run.clone(),
        task,
    };
    shared
        .queue
        .publish(&Lane::Completions(run.clone()), vec![encode(&completion)])
        .await
}
