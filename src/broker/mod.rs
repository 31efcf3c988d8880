//! The broker: named queues of messages, each delivered until it is acknowledged.
//!
//! Delivery is at least once: the broker redelivers a message until one delivery ends with
//! [`Disposition::Ack`] or [`Disposition::Reject`]. Order is not guaranteed. `tests/conformance/broker.rs`
//! specifies the rest.

pub mod embedded;
pub mod rabbitmq;

use crate::error_action::ErrorAction;
use crate::task::RunId;
use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// The longest message that a worker takes, in bytes: RabbitMQ 4 takes none that is longer unless it is configured to.
pub const LONGEST_MESSAGE: usize = 16 << 20;

/// A named queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Tasks: run one example with one teacher.
    Bootstrap,
    /// Tasks: train one shard.
    Finetune,
    /// Messages to the coordinator of one run: a task has an outcome.
    Completions(RunId),
}

impl Queue {
    /// The name in flags, AMQP queue names and metrics. All [`Queue::Completions`] share one.
    pub fn name(&self) -> &'static str {
        match self {
            Queue::Bootstrap => "bootstrap",
            Queue::Finetune => "finetune",
            Queue::Completions(_) => "completions",
        }
    }
}

impl std::fmt::Display for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Publishes and delivers messages.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Appends the messages to the queue. They are as durable as the backend allows when this returns.
    /// After an error some of them may be published; publishing them again is harmless.
    async fn publish(&self, queue: &Queue, messages: Vec<Vec<u8>>) -> Result<(), BrokerError>;

    /// The number of ready messages. Unacked messages do not count; requeued messages may not count until
    /// their delay is over.
    async fn depth(&self, queue: &Queue) -> Result<usize, BrokerError>;

    /// The number of messages that were rejected or redelivered too often.
    async fn dead_letter_count(&self, queue: &Queue) -> Result<usize, BrokerError>;

    /// Subscribes to the queue, with at most `prefetch` unacked deliveries at a time.
    async fn consume(&self, queue: &Queue, prefetch: NonZeroUsize) -> Result<Box<dyn Consumer>, BrokerError>;
}

/// A subscription to one queue. Its deliveries stay valid after it is dropped.
#[async_trait]
pub trait Consumer: Send {
    /// Returns the next delivery, or `None` when the broker was closed. Waits while `prefetch` deliveries
    /// are unacked. Cancel safe: a message is returned or stays in the queue.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError>;
}

/// An unacked message. The broker redelivers it if it is dropped.
#[must_use = "the broker redelivers a message whose delivery is dropped"]
pub struct Delivery {
    /// Shared with the receipt, which returns the message if it is not acknowledged.
    pub body: Arc<Vec<u8>>,
    /// Whether the message may have been delivered before.
    pub redelivered: bool,
    /// How often the message was [postponed](Disposition::Postpone).
    pub postponed: u32,
    receipt: Box<dyn Receipt>,
}

impl Delivery {
    /// For implementations of [`Consumer`]; `receipt` performs the disposition.
    pub fn new(body: Arc<Vec<u8>>, redelivered: bool, postponed: u32, receipt: Box<dyn Receipt>) -> Delivery {
        Delivery {
            body,
            redelivered,
            postponed,
            receipt,
        }
    }

    /// Acknowledges the message: it is finished and deleted from the queue.
    pub async fn ack(self) -> Result<(), BrokerError> {
        self.resolve(Disposition::Ack).await
    }

    /// Returns the message to its queue, which redelivers it after the delay.
    pub async fn nack_after(self, after: Duration) -> Result<(), BrokerError> {
        self.resolve(Disposition::Requeue { after }).await
    }

    /// Moves the message to the dead letters.
    pub async fn reject(self) -> Result<(), BrokerError> {
        self.resolve(Disposition::Reject).await
    }

    /// Ends the delivery. After an error the broker redelivers the message.
    pub async fn resolve(self, disposition: Disposition) -> Result<(), BrokerError> {
        self.receipt.resolve(disposition).await
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("bytes", &self.body.len())
            .field("redelivered", &self.redelivered)
            .finish()
    }
}

/// The backend's side of a [`Delivery`]. Its `Drop` must requeue an unacked message.
#[async_trait]
pub trait Receipt: Send + Sync {
    async fn resolve(self: Box<Self>, disposition: Disposition) -> Result<(), BrokerError>;
}

/// How a delivery ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The message is finished and deleted.
    Ack,
    /// The message is redelivered after a delay.
    Requeue {
        /// The least delay; zero redelivers at once.
        after: Duration,
    },
    /// As [`Disposition::Requeue`], and it counts in [`Delivery::postponed`]: the message cannot be used now.
    Postpone {
        /// The least delay, longer than zero.
        after: Duration,
    },
    /// The message moves to the dead letters.
    Reject,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// This process closed the broker.
    #[error("the broker is closed")]
    Closed,
    /// The connection of the delivery is gone: the message is redelivered.
    #[error("the delivery expired; the message will be redelivered")]
    ReceiptExpired,
    /// The broker does not accept connections or did not answer in time.
    #[error("the broker at {url} cannot be reached: {message}")]
    Unreachable {
        /// Without the password.
        url: String,
        message: String,
    },
    /// The broker rejected the request: wrong password, missing permission, or a queue that is declared
    /// with other arguments.
    #[error("the broker at {url} refused: {message}")]
    Refused {
        /// Without the password.
        url: String,
        /// The broker's message, and what to change.
        message: String,
    },
}

impl BrokerError {
    pub fn action(&self) -> ErrorAction {
        match self {
            BrokerError::Closed | BrokerError::Refused { .. } => ErrorAction::Halt,
            BrokerError::ReceiptExpired => ErrorAction::Discard,
            BrokerError::Unreachable { .. } => ErrorAction::Retry,
        }
    }
}
