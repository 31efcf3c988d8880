//! A look ahead: would a training by this recipe fail for a reason that is there already?
//!
//! Done by a worker, since it is there that the keys, the trainers and the ways to the servers are.

use super::finetune::{PollError, announce};
use super::lease::{LEASE, under_lease};
use super::{RETURN_AFTER, WorkerContext, resolve};
use crate::broker::{Delivery, Disposition};
use crate::finetune::{NOT_HERE_SLOT, PREFLIGHT_SLOT, Preflight};
use crate::message::PreflightTask;
use crate::store::{Claim, StoreError};
use crate::task::AttemptRef;
use std::time::Duration;

/// How long a provider may take to look; then that is the answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How soon another worker is asked: somebody waits for the answer.
const SOON: Duration = Duration::from_millis(500);

/// Carries out one delivery.
pub(super) async fn execute(context: &WorkerContext, delivery: Delivery, message: &PreflightTask) {
    match looked(context, message).await {
        Ok(disposition) => resolve(delivery, disposition).await,
        Err(PollError::Store(StoreError::Fenced(_))) => {
            resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await
        }
        Err(PollError::Store(why)) => context.fail(Some(delivery), why),
        Err(why) => context.log.hand_back(delivery, &why).await,
    }
}

async fn looked(context: &WorkerContext, message: &PreflightTask) -> Result<Disposition, PollError> {
    let PreflightTask {
        run, task, recipe, ..
    } = message;
    // Also where we cannot do it, the coordinator is to see that we are there.
    if context.heartbeats.is_void(run).await {
        return Ok(Disposition::Ack);
    }
    let attempt = match context.store.claim(run, *task, LEASE).await? {
        Claim::Done => return Ok(Disposition::Ack),
        Claim::Held => return Ok(Disposition::Requeue { after: SOON }),
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
            return Ok(Disposition::Requeue { after: SOON });
        }
    };
    let work = tokio::time::timeout(PATIENCE, provider.preflight(recipe));
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
                PATIENCE.as_secs()
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
