//! Drives the training of one task: finds it or starts it at most once, and observes its state.
//!
//! The order of the steps ensures that a crash between two of them never starts a second training. With deterministic ids, the id is
//! stored, then the training is looked up, then it is started. Otherwise the start time is stored, the training is started and its id
//! is stored. A worker that finds a start time without an id looks the training up by its key, and starts another one only after the
//! visibility delay ([`crate::finetune::Providers::visibility_delay`]).

use crate::finetune::{
    ID_SLOT, LOOKED_SLOT, PROGRESS_SLOT, Provider, ProviderError, STARTED_SLOT, StartError, TrainingId,
    TrainingOutcome, TrainingProgress, TrainingRecord, TrainingRequest, TrainingState, now_ms,
};
use crate::store::{Store, StoreError};
use crate::task::{AttemptRef, RunId};
use std::time::Duration;
use tracing::{info, warn};

/// The delays between lookups of a training whose start request had no answer.
const FIND_DELAYS: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The observed state of a training.
pub(super) enum Observation {
    /// It has ended.
    Ended(TrainingOutcome),
    /// It is running.
    Running(TrainingProgress),
    /// The state is unknown for this reason; the training may be running.
    Unknown(String),
    /// It belongs to another machine.
    Elsewhere {
        /// The id of the training.
        id: TrainingId,
        /// A description of the other machine.
        place: String,
    },
}

/// The stored state of a training, and the attempt that may change it.
pub(super) struct TrainingDriver<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) run: &'a RunId,
    pub(super) attempt: AttemptRef,
    visibility_delay: Duration,
    started_ms: Option<u64>,
    id: Option<TrainingId>,
}

/// Why an observation stopped early.
enum StopReason {
    Observation(Observation),
    Store(StoreError),
}

impl From<StoreError> for StopReason {
    fn from(error: StoreError) -> StopReason {
        StopReason::Store(error)
    }
}

impl<'a> TrainingDriver<'a> {
    /// `records` are the task's records, as returned by its claim.
    pub(super) fn new(
        store: &'a dyn Store,
        run: &'a RunId,
        attempt: AttemptRef,
        records: &[(u32, Vec<u8>)],
        visibility_delay: Duration,
    ) -> TrainingDriver<'a> {
        let known = TrainingRecord::from_slots(records);
        TrainingDriver {
            store,
            run,
            attempt,
            visibility_delay,
            started_ms: known.started_ms,
            id: known.id,
        }
    }

    /// Finds or starts the training, and returns its state.
    pub(super) async fn observe(
        &mut self,
        provider: &dyn Provider,
        order: &TrainingRequest<'_>,
    ) -> Result<Observation, StoreError> {
        let is_ours = self.id.is_some();
        let id = match self.resolve_id(provider, order).await {
            Ok(id) => id,
            Err(StopReason::Observation(look)) => return Ok(look),
            Err(StopReason::Store(error)) => return Err(error),
        };
        let training = match provider.poll(&id, order).await {
            Ok(TrainingState::Absent) if provider.deterministic_id(order).as_ref() == Some(&id) => {
                info!(shard = %order.shard, training = %id.0, "starting a training");
                match provider.start(order).await {
                    Ok(_) => return Ok(Observation::Running(TrainingProgress::default())),
                    // With a deterministic id, a repeated start is the same training.
                    Err(StartError::Unclear(why)) => return Ok(Observation::Unknown(why)),
                    Err(StartError::NotStarted(error)) => Err(error),
                }
            }
            polled => polled,
        };
        Ok(match training {
            Ok(TrainingState::Running(progress)) => Observation::Running(progress),
            Ok(TrainingState::Absent) if self.may_be_hidden() => Observation::Unknown(not_visible(&id)),
            Ok(TrainingState::Absent) => {
                let reason = format!(
                    "the provider has no training {}: it was deleted there, or the key belongs to another account",
                    id.0
                );
                self.ended(TrainingState::Failed(reason))
            }
            // Where ids are chosen by us, another run with the same rows and settings has the same training.
            Ok(TrainingState::Failed(reason))
                if !is_ours && provider.deterministic_id(order).as_ref() == Some(&id) =>
            {
                self.ended(TrainingState::Failed(previous_failure(provider, order, &reason)))
            }
            Ok(ended) => self.ended(ended),
            Err(error) => self.observe_error(error),
        })
    }

    /// Stops the training if one may exist. `None` if nothing was started.
    pub(super) async fn cancel(
        &mut self,
        provider: &dyn Provider,
        order: &TrainingRequest<'_>,
    ) -> Result<Option<TrainingOutcome>, ProviderError> {
        if let (None, Some(started)) = (&self.id, self.started_ms) {
            self.id = provider.find(order).await?;
            if self.id.is_none() && self.is_within_visibility_delay(started) {
                let why = "the start request had no answer; waiting until the provider lists the training, to stop it";
                return Err(ProviderError::Passing(why.to_owned()));
            }
        }
        let Some(id) = &self.id else {
            let cancelled_before_start = self.started_ms.map(|_| TrainingOutcome {
                id: None,
                training: TrainingState::Cancelled,
            });
            return Ok(cancelled_before_start);
        };
        provider.cancel(id, order).await?;
        // It may have ended otherwise in the meantime.
        let training = match provider.poll(id, order).await? {
            TrainingState::Absent if provider.deterministic_id(order).is_none() && self.may_be_hidden() => {
                return Err(ProviderError::Passing(not_visible(id)));
            }
            TrainingState::Running(_) | TrainingState::Absent => TrainingState::Cancelled,
            ended => ended,
        };
        Ok(Some(TrainingOutcome {
            id: self.id.clone(),
            training,
        }))
    }

    /// Takes over a training from a lost machine: stores this machine's id for it, under which it is not started yet.
    pub(super) async fn take_over(
        &mut self,
        provider: &dyn Provider,
        order: &TrainingRequest<'_>,
    ) -> Result<(), StoreError> {
        match provider.deterministic_id(order) {
            Some(id) => self.record_id(id).await,
            None => Ok(()),
        }
    }

    /// Stores the time of this poll.
    pub(super) async fn record_poll(&self) -> Result<(), StoreError> {
        let bytes = now_ms().to_string().into_bytes();
        self.store
            .record(self.run, self.attempt, LOOKED_SLOT, bytes)
            .await
    }

    /// Stores the progress for the coordinator.
    pub(super) async fn record_progress(&self, progress: &TrainingProgress) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(progress).expect("numbers and strings serialise");
        self.store
            .record(self.run, self.attempt, PROGRESS_SLOT, bytes)
            .await
    }

    async fn resolve_id(
        &mut self,
        provider: &dyn Provider,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingId, StopReason> {
        if let Some(id) = &self.id {
            return Ok(id.clone());
        }
        if let Some(id) = provider.deterministic_id(order) {
            self.record_id(id.clone()).await?;
            return Ok(id);
        }
        // Also without a stored start: the store may have lost it.
        if let Some(id) = self.find(provider, order).await? {
            return Ok(id);
        }
        if let Some(started) = self.started_ms {
            if self.is_within_visibility_delay(started) {
                let why =
                    "an earlier start request had no answer; waiting until the provider lists the training";
                return Err(StopReason::Observation(Observation::Unknown(why.to_owned())));
            }
            warn!(shard = %order.shard, "provider never listed the training: requesting it again");
        }
        self.record_start(Some(now_ms())).await?;
        info!(shard = %order.shard, provider = order.shard.recipe.provider.name(), "starting a training");
        match provider.start(order).await {
            Ok(id) => {
                self.record_id(id.clone()).await?;
                Ok(id)
            }
            Err(StartError::NotStarted(error)) => {
                self.record_start(None).await?;
                Err(StopReason::Observation(self.observe_error(error)))
            }
            Err(StartError::Unclear(why)) => {
                // The visibility delay counts from the end of the request, which may have been slow.
                self.record_start(Some(now_ms())).await?;
                warn!(shard = %order.shard, why, "start request had no answer: looking up the training");
                for wait in FIND_DELAYS {
                    tokio::time::sleep(wait).await;
                    if let Some(id) = self.find(provider, order).await? {
                        return Ok(id);
                    }
                }
                Err(StopReason::Observation(Observation::Unknown(why)))
            }
        }
    }

    async fn find(
        &mut self,
        provider: &dyn Provider,
        order: &TrainingRequest<'_>,
    ) -> Result<Option<TrainingId>, StopReason> {
        match provider.find(order).await {
            Ok(Some(id)) => {
                info!(shard = %order.shard, training = %id.0, "found an existing training");
                self.record_id(id.clone()).await?;
                if self.started_ms.is_none() {
                    self.record_start(Some(now_ms())).await?;
                }
                Ok(Some(id))
            }
            Ok(None) => Ok(None),
            // A training may have been started, so only a definite answer counts.
            Err(error) if self.started_ms.is_some() => {
                Err(StopReason::Observation(Observation::Unknown(error.to_string())))
            }
            Err(error) => Err(StopReason::Observation(self.observe_error(error))),
        }
    }

    /// Whether the provider may not list a training yet that was requested at `started_ms`.
    fn is_within_visibility_delay(&self, started_ms: u64) -> bool {
        Duration::from_millis(now_ms().saturating_sub(started_ms)) < self.visibility_delay
    }

    /// Whether the training was started or found so recently that the provider may not list it everywhere.
    fn may_be_hidden(&self) -> bool {
        self.started_ms
            .is_some_and(|started| self.is_within_visibility_delay(started))
    }

    fn observe_error(&self, error: ProviderError) -> Observation {
        match error {
            ProviderError::Refused(reason) => self.ended(TrainingState::Failed(reason)),
            ProviderError::Elsewhere(place) => match &self.id {
                Some(id) => Observation::Elsewhere {
                    id: id.clone(),
                    place,
                },
                None => Observation::Unknown(format!("it runs on {place}")),
            },
            ProviderError::Passing(why) => Observation::Unknown(why),
            ProviderError::Artifacts(error) => Observation::Unknown(error.to_string()),
        }
    }

    fn ended(&self, training: TrainingState) -> Observation {
        Observation::Ended(TrainingOutcome {
            id: self.id.clone(),
            training,
        })
    }

    async fn record_id(&mut self, id: TrainingId) -> Result<(), StoreError> {
        let bytes = id.0.clone().into_bytes();
        self.store.record(self.run, self.attempt, ID_SLOT, bytes).await?;
        self.id = Some(id);
        Ok(())
    }

    async fn record_start(&mut self, at_ms: Option<u64>) -> Result<(), StoreError> {
        let bytes = at_ms.map_or_else(Vec::new, |ms| ms.to_string().into_bytes());
        self.store
            .record(self.run, self.attempt, STARTED_SLOT, bytes)
            .await?;
        self.started_ms = at_ms;
        Ok(())
    }
}

fn previous_failure(provider: &dyn Provider, order: &TrainingRequest<'_>, reason: &str) -> String {
    let ended = provider.previous_outcome(order);
    let ended = ended.map_or_else(String::new, |ended| format!(" ({ended})"));
    format!(
        "the same training, of the same rows with the same settings, failed earlier{ended}, before this run requested it; only `retry` \
         starts a new one. It failed with: {reason}"
    )
}

fn not_visible(id: &TrainingId) -> String {
    format!("the provider does not list the training {} yet; waiting", id.0)
}

#[cfg(test)]
mod tests;
