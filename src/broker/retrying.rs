//! A queue that holds on while its broker is away.

use super::{Broker, BrokerError, Intake, Lane};
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
pub struct RetryingBroker {
    broker: Arc<dyn Broker>,
    patience: Patience,
}

impl RetryingBroker {
    /// Holds on for that queue until `shutdown` asks to stop at once; calls that have to be repeated are counted.
    pub fn new(broker: Arc<dyn Broker>, shutdown: Shutdown, waits: Waits) -> RetryingBroker {
        RetryingBroker {
            broker,
            patience: Patience::new(shutdown, waits),
        }
    }
}

#[async_trait]
impl Broker for RetryingBroker {
    async fn publish(&self, lane: &Lane, messages: Vec<Vec<u8>>) -> Result<(), BrokerError> {
        self.patience
            .insist(|| self.broker.publish(lane, messages.clone()))
            .await
    }

    async fn depth(&self, lane: &Lane) -> Result<usize, BrokerError> {
        self.broker.depth(lane).await
    }

    async fn dead_letter_count(&self, lane: &Lane) -> Result<usize, BrokerError> {
        self.broker.dead_letter_count(lane).await
    }

    async fn consume(&self, lane: &Lane, prefetch: NonZeroUsize) -> Result<Box<dyn Intake>, BrokerError> {
        self.patience.insist(|| self.broker.consume(lane, prefetch)).await
    }
}
