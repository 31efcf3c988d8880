//! Executes a preflight task: would a training with this recipe fail for a cause that exists already?
//!
//! A worker does it, because the keys, the trainers and the network paths of the workers matter.

use super::announce::announce;
use super::lease::{LEASE, under_lease};
use super::poll_error::PollError;
use super::{RETURN_AFTER, WorkerContext, resolve};
use crate::broker::{Delivery, Disposition};
use crate::finetune::{NOT_HERE_SLOT, PREFLIGHT_SLOT, Preflight, TrainingSpec};
use crate::message::PreflightTask;
use crate::store::{Claim, StoreError};
use crate::task::AttemptRef;
use std::time::Duration;

/// How long a provider may take for its checks.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);

/// When another worker is asked: the coordinator waits for the answer.
const NEXT_WORKER_AFTER: Duration = Duration::from_millis(500);

/// Executes one delivery.
pub(super) async fn execute(
    context: &WorkerContext,
    delivery: Delivery,
    message: &PreflightTask,
    recipe: &TrainingSpec,
) {
    match check(context, message, recipe).await {
        Ok(disposition) => resolve(delivery, disposition).await,
        Err(PollError::Store(StoreError::Fenced(_))) => {
            resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await
        }
        Err(PollError::Store(why)) => context.store_failed(Some(delivery), why).await,
        Err(why) => context.log.hand_back(delivery, &why).await,
    }
}

async fn check(
    context: &WorkerContext,
    message: &PreflightTask,
    recipe: &TrainingSpec,
) -> Result<Disposition, PollError> {
    let PreflightTask { run, task, .. } = message;
    // Registers the run even if the check is impossible here, so that the coordinator sees this worker.
    if context.heartbeats.is_void(run).await {
        return Ok(Disposition::Ack);
    }
    let attempt = match context.store.claim(run, *task, LEASE).await? {
        Claim::Done => return Ok(Disposition::Ack),
        Claim::Held => {
            return Ok(Disposition::Requeue {
                after: NEXT_WORKER_AFTER,
            });
        }
        Claim::Run { attempt, .. } => AttemptRef { task: *task, attempt },
    };
    let provider = match context.providers.get(recipe) {
        Ok(provider) => provider,
        Err(why) => {
            let why = format!("{}: {why}", context.heartbeats.process());
            context
                .store
                .record(run, attempt, NOT_HERE_SLOT, why.into_bytes())
                .await?;
            context.store.release(run, attempt).await?;
            return Ok(Disposition::Requeue {
                after: NEXT_WORKER_AFTER,
            });
        }
    };
    let work = tokio::time::timeout(CHECK_TIMEOUT, provider.preflight(recipe));
    let found = match under_lease(context.store.as_ref(), run, attempt, work).await? {
        Ok(Ok(warnings)) => Preflight {
            problem: None,
            warnings,
        },
        Ok(Err(problem)) => Preflight {
            problem: Some(problem.to_string()),
            warnings: Vec::new(),
        },
        Err(_) => Preflight {
            problem: Some(format!(
                "the provider did not answer within {} s",
                CHECK_TIMEOUT.as_secs()
            )),
            warnings: Vec::new(),
        },
    };
    let bytes = serde_json::to_vec(&found).expect("strings serialise");
    context.store.record(run, attempt, PREFLIGHT_SLOT, bytes).await?;
    context.store.release(run, attempt).await?;
    announce(context, run, *task).await?;
    Ok(Disposition::Ack)
}
