//! A task of the fine-tune queue: a short poll of a training, never a long hold on a delivery.
//!
//! Any worker that receives the message polls a training at a service. A training on this machine is supervised here until it ends, under
//! the task's lease; the message is requeued meanwhile, so that another worker receives it when this one dies.

mod driver;
mod supervise;

pub(super) use supervise::resume;

use super::announce::announce;
use super::built_jobs::JobError;
use super::lease::{LEASE, under_lease};
use super::poll_error::PollError;
use super::{HELD, RETURN_AFTER, WorkerContext, preflight, resolve};
use crate::broker::{Delivery, Disposition, Queue};
use crate::finetune::{
    FinetuneJob, Provider, TrainingOutcome, TrainingRecord, TrainingRequest, TrainingState,
};
use crate::message::{FinetuneMessage, Refusal, decode};
use crate::metrics::TaskEnd;
use crate::store::{Claim, StoreError};
use crate::task::{Attempt, AttemptRef, RunId, TaskId};
use crate::trace::Outcome;
use driver::{Observation, TrainingDriver};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// The interval between two polls of a training at a service.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The result of a poll.
#[derive(Debug)]
enum Poll {
    /// The outcome is stored and announced, or there is nothing to do.
    Ended,
    /// Poll again after this time.
    Later(Duration),
    /// The state is unknown for this reason; poll again.
    Unknown(String),
}

/// Carries out one delivery of the fine-tune queue.
pub(super) async fn execute(context: Arc<WorkerContext>, delivery: Delivery) {
    let queue = context.metrics.worker().finetune.task();
    let message = match decode(&delivery.body) {
        Ok(message) => message,
        Err(why @ Refusal::OtherVersion { .. }) => return context.log.postpone(delivery, &why).await,
        Err(why @ (Refusal::Foreign(_) | Refusal::NotText)) => {
            context.log.refused(&Queue::Finetune, &why);
            queue.ended(TaskEnd::Refused);
            return resolve(delivery, Disposition::Reject).await;
        }
    };
    let (run, job, lm, predictor) = match &message {
        FinetuneMessage::Train(task) => (&task.run, &task.job, &task.lm, &task.predictor),
        FinetuneMessage::Preflight(task) => (&task.run, &task.job, &task.lm, &task.predictor),
    };
    let recipe = match context.jobs.recipe(run, job, lm, predictor.as_deref()).await {
        Ok(recipe) => recipe,
        Err(JobError::Changed(_)) => return resolve(delivery, Disposition::Ack).await,
        Err(JobError::Store(why)) => return context.store_failed(Some(delivery), why).await,
        Err(why) => return context.log.postpone(delivery, &why).await,
    };
    let message = match message {
        FinetuneMessage::Train(message) => message,
        FinetuneMessage::Preflight(message) => {
            return preflight::execute(&context, delivery, &message, &recipe).await;
        }
    };
    let provider = match context.providers.get(&recipe) {
        Ok(provider) => provider,
        Err(why) => return context.log.hand_back(delivery, &why).await,
    };
    let shard = FinetuneJob {
        recipe,
        data: message.data,
        validation: message.validation,
    };
    let job = TrainingTask::new(&context, message.run, message.task, shard, provider.as_ref());
    let ended = if provider.is_local() {
        job.supervise_delivery(delivery).await
    } else {
        job.poll_once(delivery).await
    };
    if let Err((delivery, why)) = ended {
        match &why {
            PollError::Store(StoreError::Fenced(_)) => queue.ended(TaskEnd::Fenced),
            PollError::Store(_) => queue.ended(TaskEnd::Interrupted),
            // The task is delivered again.
            PollError::Broker(_) | PollError::Provider(_) => {}
        }
        match (delivery, why) {
            (Some(delivery), PollError::Store(StoreError::Fenced(_))) => {
                resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await
            }
            (None, PollError::Store(StoreError::Fenced(_))) => {
                debug!(task = %job.task, "another worker supervises the training")
            }
            (delivery, PollError::Store(why)) => context.store_failed(delivery, why).await,
            (Some(delivery), why) => context.log.hand_back(delivery, &why).await,
            (None, why) => context.log.postponed(&why),
        }
    }
}

/// A delivery that is not acked yet, and why its task could not be executed.
type UnackedError = (Option<Delivery>, PollError);

/// One training and everything that a worker needs to act on it.
struct TrainingTask<'a> {
    context: &'a Arc<WorkerContext>,
    run: RunId,
    task: TaskId,
    shard: FinetuneJob,
    provider: &'a dyn Provider,
    key: String,
    /// When this worker received it.
    began: Instant,
}

impl<'a> TrainingTask<'a> {
    fn new(
        context: &'a Arc<WorkerContext>,
        run: RunId,
        task: TaskId,
        shard: FinetuneJob,
        provider: &'a dyn Provider,
    ) -> TrainingTask<'a> {
        TrainingTask {
            context,
            run,
            task,
            shard,
            provider,
            key: task.to_string(),
            began: Instant::now(),
        }
    }
}

impl TrainingTask<'_> {
    /// Polls the training once.
    async fn poll_once(&self, delivery: Delivery) -> Result<(), UnackedError> {
        let disposition = match self.poll().await {
            Ok(Poll::Ended) => Disposition::Ack,
            Ok(Poll::Later(after)) => Disposition::Requeue { after },
            Ok(Poll::Unknown(why)) => {
                let why = format!("fine-tune job of {}: {why}", self.shard);
                self.context.log.hand_back(delivery, &why).await;
                return Ok(());
            }
            Err(why) => return Err((Some(delivery), why)),
        };
        resolve(delivery, disposition).await;
        Ok(())
    }

    async fn poll(&self) -> Result<Poll, PollError> {
        let (attempt, records) = match self.claim().await? {
            Claim::Done => return self.announced().await,
            Claim::Held => return Ok(Poll::Later(HELD)),
            Claim::Run { attempt, records, .. } => (self.reference(attempt), records),
        };
        let mut driver = self.driver(attempt, &records);
        let is_cancelled = self.context.heartbeats.is_void(&self.run).await;
        let work = async {
            if is_cancelled {
                match driver.cancel(self.provider, &self.order()).await? {
                    Some(ended) => Ok(Some(Observation::Ended(ended))),
                    None => Ok(None),
                }
            } else {
                Ok(Some(driver.observe(self.provider, &self.order()).await?))
            }
        };
        let looked = match self.under_lease(attempt, work).await? {
            Ok(looked) => looked,
            Err(error) => {
                self.release(attempt).await?;
                return Err(error);
            }
        };
        if !matches!(looked, Some(Observation::Ended(_)) | None) {
            self.driver(attempt, &records).record_poll().await?;
        }
        match looked {
            Some(Observation::Ended(ended)) => {
                self.conclude(attempt, ended, &records).await?;
                Ok(Poll::Ended)
            }
            Some(Observation::Running(progress)) => {
                self.driver(attempt, &records).record_progress(&progress).await?;
                self.release(attempt).await?;
                Ok(Poll::Later(POLL_INTERVAL))
            }
            Some(Observation::Unknown(why)) => {
                self.release(attempt).await?;
                Ok(Poll::Unknown(why))
            }
            Some(Observation::Elsewhere { place, .. }) => {
                self.release(attempt).await?;
                Ok(Poll::Unknown(format!("it runs on {place}")))
            }
            None => {
                self.release(attempt).await?;
                Ok(Poll::Ended)
            }
        }
    }

    /// Stores the outcome, notifies the coordinator and removes what is no longer needed.
    async fn conclude(
        &self,
        attempt: AttemptRef,
        ended: TrainingOutcome,
        records: &[(u32, Vec<u8>)],
    ) -> Result<(), PollError> {
        let outcome = Outcome::Training(serde_json::to_string(&ended).expect("strings serialise"));
        let (run, shard) = (&self.run, &self.shard);
        self.context.store.finish(run, attempt, outcome.encode()).await?;
        self.count(&ended.training, records);
        self.announced().await?;
        match &ended.training {
            TrainingState::Failed(reason) => warn!(%run, %shard, reason, "training failed"),
            TrainingState::Succeeded(trained) => info!(%run, %shard, model = trained.model, "training ended"),
            _ => info!(%run, %shard, "training cancelled"),
        }
        if let Some(id) = &ended.id
            && let Err(error) = self.provider.cleanup(id, &self.order()).await
        {
            warn!(%shard, %error, "cleanup failed");
        }
        Ok(())
    }

    /// Counts a stored outcome. A cancelled training is neither a success nor a failure.
    fn count(&self, training: &TrainingState, records: &[(u32, Vec<u8>)]) {
        let end = match training {
            TrainingState::Succeeded(_) => TaskEnd::Trained,
            TrainingState::Failed(_) => TaskEnd::Failed,
            TrainingState::Cancelled | TrainingState::Running(_) | TrainingState::Absent => return,
        };
        let took = TrainingRecord::from_slots(records)
            .age()
            .unwrap_or_else(|| self.began.elapsed());
        self.context.metrics.worker().finetune.ended(end, took);
    }

    async fn announced(&self) -> Result<Poll, PollError> {
        announce(self.context, &self.run, self.task).await?;
        Ok(Poll::Ended)
    }

    async fn claim(&self) -> Result<Claim, StoreError> {
        self.context.store.claim(&self.run, self.task, LEASE).await
    }

    async fn release(&self, attempt: AttemptRef) -> Result<(), StoreError> {
        self.context.store.release(&self.run, attempt).await
    }

    async fn under_lease<T>(
        &self,
        attempt: AttemptRef,
        work: impl Future<Output = T>,
    ) -> Result<T, StoreError> {
        under_lease(self.context.store.as_ref(), &self.run, attempt, work).await
    }

    fn driver<'c>(&'c self, attempt: AttemptRef, records: &[(u32, Vec<u8>)]) -> TrainingDriver<'c> {
        let visibility_delay = self.context.providers.visibility_delay();
        TrainingDriver::new(
            self.context.store.as_ref(),
            &self.run,
            attempt,
            records,
            visibility_delay,
        )
    }

    fn order(&self) -> TrainingRequest<'_> {
        TrainingRequest {
            key: &self.key,
            run: &self.run,
            shard: &self.shard,
            artifacts: self.context.artifacts.as_ref(),
        }
    }

    fn reference(&self, attempt: Attempt) -> AttemptRef {
        AttemptRef {
            task: self.task,
            attempt,
        }
    }
}
