//! A fine-tune task: a short tick at a training, never a long hold on a delivery.
//!
//! Order of things, so that no death between two of them starts a second training: the intent is stored, the training is found or
//! started, its id is stored, it is polled; when it has ended, the outcome is stored and announced.

use super::lease::{LEASE, under_lease};
use super::{HELD, RETURN_AFTER, Shared, settle};
use crate::finetune::{Training, TrainingId, TrainingOutcome, provider};
use crate::message::{Completion, FinetuneTask, MESSAGE_VERSION, Refusal, decode, encode};
use crate::queue::{Delivery, Lane, QueueError, Settlement};
use crate::store::{Claim, StoreError};
use crate::task::AttemptRef;
use crate::trace::Outcome;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// How long a running training is left alone between two looks at it.
const TICK: Duration = Duration::from_secs(10);

/// Where the store keeps what a tick has learned.
const INTENT_SLOT: u32 = 0;
const ID_SLOT: u32 = 1;

/// Why a tick did not come to its end.
#[derive(Debug, thiserror::Error)]
enum TickError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Provider(#[from] crate::finetune::ProviderError),
}

/// What a tick found.
enum Tick {
    /// The outcome is stored and announced.
    Ended,
    /// Look again later.
    Running,
    /// Another worker is at it.
    Held,
}

/// Carries out one delivery of the finetune lane.
pub(super) async fn execute(shared: Arc<Shared>, delivery: Delivery) {
    let message: FinetuneTask = match decode(&delivery.body) {
        Ok(message) => message,
        Err(why @ Refusal::OtherVersion { .. }) => return shared.reasons.hand_back(delivery, &why).await,
        Err(why @ (Refusal::Foreign(_) | Refusal::NotText)) => {
            warn!(%why, "message refused to the dead letters");
            return settle(delivery, Settlement::Reject).await;
        }
    };
    if shared.presence.is_void(&message.run).await {
        return settle(delivery, Settlement::Done).await;
    }
    match tick(&shared, &message).await {
        Ok(Tick::Ended) => settle(delivery, Settlement::Done).await,
        Ok(Tick::Running) => settle(delivery, Settlement::Return { after: TICK }).await,
        Ok(Tick::Held) => settle(delivery, Settlement::Return { after: HELD }).await,
        Err(TickError::Store(StoreError::Fenced(_))) => {
            settle(delivery, Settlement::Return { after: RETURN_AFTER }).await
        }
        Err(TickError::Store(why)) => shared.fail(delivery, why),
        Err(why) => shared.reasons.hand_back(delivery, &why).await,
    }
}

async fn tick(shared: &Shared, message: &FinetuneTask) -> Result<Tick, TickError> {
    let store = shared.store.as_ref();
    let (attempt, records) = match store.claim(&message.run, message.task, LEASE).await? {
        Claim::Done => {
            announce(shared, message).await?;
            return Ok(Tick::Ended);
        }
        Claim::Held => return Ok(Tick::Held),
        Claim::Run { attempt, records, .. } => (attempt, records),
    };
    let reference = AttemptRef {
        task: message.task,
        attempt,
    };
    let work = advance(shared, message, reference, &records);
    let ending = match under_lease(store, &message.run, reference, work).await? {
        Ok(ending) => ending,
        Err(error) => {
            store.release(&message.run, reference).await?;
            return Err(error);
        }
    };
    if ending.training == Training::Running {
        store.release(&message.run, reference).await?;
        return Ok(Tick::Running);
    }
    let outcome = Outcome::Training(serde_json::to_string(&ending).expect("strings serialise"));
    store.finish(&message.run, reference, outcome.encode()).await?;
    announce(shared, message).await?;
    Ok(Tick::Ended)
}

async fn advance(
    shared: &Shared,
    message: &FinetuneTask,
    attempt: AttemptRef,
    records: &[(u32, Vec<u8>)],
) -> Result<TrainingOutcome, TickError> {
    let shard = &message.shard;
    let Some(provider) = provider(&shard.provider) else {
        let reason = format!("provider {:?} is not known to this worker", shard.provider);
        return Ok(TrainingOutcome {
            id: None,
            training: Training::Failed(reason),
        });
    };
    let known = |slot| records.iter().find(|(s, _)| *s == slot).map(|(_, bytes)| bytes);
    let id = match known(ID_SLOT) {
        Some(bytes) => TrainingId(String::from_utf8_lossy(bytes).into_owned()),
        None => {
            let intent = message.task.to_string();
            if known(INTENT_SLOT).is_none() {
                let bytes = intent.clone().into_bytes();
                shared
                    .store
                    .record(&message.run, attempt, INTENT_SLOT, bytes)
                    .await?;
            }
            let id = provider.find_or_start(&intent, shard).await?;
            shared
                .store
                .record(&message.run, attempt, ID_SLOT, id.0.clone().into_bytes())
                .await?;
            id
        }
    };
    let training = provider.poll(&id, shard).await?;
    Ok(TrainingOutcome {
        id: Some(id),
        training,
    })
}

async fn announce(shared: &Shared, message: &FinetuneTask) -> Result<(), QueueError> {
    let completion = Completion {
        v: MESSAGE_VERSION,
        run: message.run.clone(),
        task: message.task,
    };
    shared
        .queue
        .publish(&Lane::Completions(message.run.clone()), vec![encode(&completion)])
        .await
}
