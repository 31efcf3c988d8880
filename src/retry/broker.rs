//! A broker decorator that outlasts outages.

use super::{RetryUntilShutdown, Transient};
use crate::broker::{Broker, BrokerError, Consumer, Queue};
use crate::error_action::ErrorAction;
use crate::metrics::Waits;
use crate::shutdown::Shutdown;
use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Retries publishing and subscribing until they succeed or the process aborts. Messages may be published
/// twice.
///
/// `depth` is not retried, because its callers poll. Acks cannot be retried: the message is redelivered.
pub struct RetryingBroker {
    broker: Arc<dyn Broker>,
    retry: RetryUntilShutdown,
}

impl RetryingBroker {
    /// Retries end when `shutdown` aborts; `waits` counts the calls that had to be retried.
    pub fn new(broker: Arc<dyn Broker>, shutdown: Shutdown, waits: Waits) -> RetryingBroker {
        RetryingBroker {
            broker,
            retry: RetryUntilShutdown::new(shutdown, waits),
        }
    }
}

impl Transient for BrokerError {
    fn is_transient(&self) -> bool {
        matches!(self.action(), ErrorAction::Retry)
    }
}

#[async_trait]
impl Broker for RetryingBroker {
    async fn publish(&self, queue: &Queue, messages: Vec<Vec<u8>>) -> Result<(), BrokerError> {
        self.retry
            .retry(|| self.broker.publish(queue, messages.clone()))
            .await
    }

    async fn depth(&self, queue: &Queue) -> Result<usize, BrokerError> {
        self.broker.depth(queue).await
    }

    async fn dead_letter_count(&self, queue: &Queue) -> Result<usize, BrokerError> {
        self.broker.dead_letter_count(queue).await
    }

    async fn consume(&self, queue: &Queue, prefetch: NonZeroUsize) -> Result<Box<dyn Consumer>, BrokerError> {
        self.retry.retry(|| self.broker.consume(queue, prefetch)).await
    }
}
