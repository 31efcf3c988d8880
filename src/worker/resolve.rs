//! Resolves a delivery: acks, requeues or rejects it.

use crate::broker::{Delivery, Disposition};
use tracing::debug;

/// Resolves a delivery. A lost ack is harmless: the task is redelivered, and its outcome is found in the store.
pub(super) async fn resolve(delivery: Delivery, disposition: Disposition) {
    if let Err(lost) = delivery.resolve(disposition).await {
        debug!(%lost, "ack lost; the task will be redelivered");
    }
}
