//! A queue that holds on while its broker is away.

use super::{Intake, Lane, Queue, QueueError};
use crate::metrics::Waits;
use crate::patience::Patience;
use crate::shutdown::Shutdown;
use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Another queue, to which publishing and subscribing are repeated until they succeed or the process is to stop at once. Messages may
/// be published twice.
///
/// A look at the depth is not repeated: whoever looks, looks again. A settlement cannot be: its message comes again.
pub struct PatientQueue {
    queue: Arc<dyn Queue>,
    patience: Patience,
}

impl PatientQueue {
    /// Holds on for that queue until `shutdown` asks to stop at once; calls that have to be repeated are counted.
    pub fn new(queue: Arc<dyn Queue>, shutdown: Shutdown, waits: Waits) -> PatientQueue {
        PatientQueue {
            queue,
            patience: Patience::new(shutdown, waits),
        }
    }
}

#[async_trait]
impl Queue for PatientQueue {
    async fn publish(&self, lane: &Lane, messages: Vec<Vec<u8>>) -> Result<(), QueueError> {
        self.patience
            .insist(|| self.queue.publish(lane, messages.clone()))
            .await
    }

    async fn depth(&self, lane: &Lane) -> Result<usize, QueueError> {
        self.queue.depth(lane).await
    }

    async fn dead_letter_count(&self, lane: &Lane) -> Result<usize, QueueError> {
        self.queue.dead_letter_count(lane).await
    }

    async fn consume(&self, lane: &Lane, prefetch: NonZeroUsize) -> Result<Box<dyn Intake>, QueueError> {
        self.patience.insist(|| self.queue.consume(lane, prefetch)).await
    }
}
