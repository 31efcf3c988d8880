//! A task of the finetune lane: a short tick at a training, never a long hold on a delivery.
//!
//! Trainings at a service are looked at by whichever worker the message comes to. A training on this machine is looked after here until
//! it ends, under the task's lease; the message goes round meanwhile, so that another worker has it when this one dies.

mod attend;
mod strays;

pub(super) use attend::adopt;
pub(super) use strays::Strays;

use super::lease::{LEASE, under_lease};
use super::training::{Care, Look};
use super::{HELD, RETURN_AFTER, Shared, preflight, settle};
use crate::broker::{BrokerError, Delivery, Lane, Settlement};
use crate::finetune::{Known, Order, Provider, ProviderError, Training, TrainingOutcome};
use crate::message::{Completion, FinetuneMessage, FinetuneTask, MESSAGE_VERSION, Refusal, decode, encode};
use crate::metrics::TaskEnd;
use crate::store::{Claim, StoreError};
use crate::task::{Attempt, AttemptRef, RunId, TaskId};
use crate::trace::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// How long a training at a service is left alone between two looks at it.
const TICK: Duration = Duration::from_secs(5);

/// Why a tick did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum TickError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Broker(#[from] BrokerError),
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
    let job = Job::new(&shared, &message, provider.as_ref());
    let ended = match provider.stays() {
        true => job.attend_for(delivery).await,
        false => job.tick_for(delivery).await,
    };
    if let Err((delivery, why)) = ended {
        match &why {
            TickError::Store(StoreError::Fenced(_)) => lane.ended(TaskEnd::Fenced),
            TickError::Store(_) => lane.ended(TaskEnd::Interrupted),
            // It comes again, to be looked at as before.
            TickError::Broker(_) | TickError::Provider(_) => {}
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

impl<'a> Job<'a> {
    fn new(shared: &'a Arc<Shared>, message: &'a FinetuneTask, provider: &'a dyn Provider) -> Job<'a> {
        Job {
            shared,
            message,
            provider,
            key: message.task.to_string(),
            began: Instant::now(),
        }
    }
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
            Training::Failed(reason) => warn!(%run, %shard, reason, "training failed"),
            Training::Succeeded(trained) => info!(%run, %shard, model = trained.model, "training ended"),
            _ => info!(%run, %shard, "training cancelled"),
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

    fn reference(&self, attempt: Attempt) -> AttemptRef {
        AttemptRef {
            task: self.message.task,
            attempt,
        }
    }
}

/// Tells the run's coordinator to look into the store.
pub(super) async fn announce(shared: &Shared, run: &RunId, task: TaskId) -> Result<(), BrokerError> {
    let completion = Completion {
        v: MESSAGE_VERSION,
        run: run.clone(),
        task,
    };
    shared
        .broker
        .publish(&Lane::Completions(run.clone()), vec![encode(&completion)])
        .await
}
