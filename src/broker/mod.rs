//! The queue: lanes of messages, each on loan until it is settled.
//!
//! At least once: a message that was published is delivered until a delivery of it is settled with
//! [`Disposition::Ack`] or [`Disposition::Reject`]. Order is not promised. `tests/conformance/broker.rs` says the rest.

pub mod embedded;
pub mod rabbitmq;

use crate::recourse::Recourse;
use crate::task::RunId;
use async_trait::async_trait;
use std::num::NonZeroUsize;
use std::time::Duration;

/// A named queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Queue {
    /// Tasks: run one example with one teacher.
    Bootstrap,
    /// Tasks: train one shard.
    Finetune,
    /// Notices to the coordinator of one run that a task of it has an outcome.
    Completions(RunId),
}

impl Queue {
    /// The lane's name in flags, queue names and logs; the completions of every run share one.
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

/// Where tasks and notices wait.
#[async_trait]
pub trait Broker: Send + Sync {
    /// Puts the messages on the lane; they are safe, as far as this queue keeps anything safe, when this returns. After an
    /// error some of them may have been published: publishing again is harmless.
    async fn publish(&self, queue: &Queue, messages: Vec<Vec<u8>>) -> Result<(), BrokerError>;

    /// How many messages of the lane wait to be delivered. Those on loan do not count, those returned with a delay may not.
    async fn depth(&self, queue: &Queue) -> Result<usize, BrokerError>;

    /// How many messages of the lane were refused, or failed too often, and wait for an operator.
    async fn dead_letter_count(&self, queue: &Queue) -> Result<usize, BrokerError>;

    /// Starts taking from the lane, with at most `prefetch` unsettled deliveries at a time.
    async fn consume(&self, queue: &Queue, prefetch: NonZeroUsize) -> Result<Box<dyn Consumer>, BrokerError>;
}

/// A consumer of one lane. Deliveries that it handed out stay valid after it is dropped.
#[async_trait]
pub trait Consumer: Send {
    /// The next delivery; `None` when the queue was closed. Waits while the prefetch is used up. Cancel safe: a delivery is
    /// handed out or stays on the lane.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError>;
}

/// A message on loan. Dropped unsettled, it is delivered again.
#[must_use = "a delivery that is dropped unsettled is delivered again"]
pub struct Delivery {
    /// The message.
    pub body: Vec<u8>,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    receipt: Box<dyn Receipt>,
}

impl Delivery {
    /// A delivery whose disposition is the receipt's business; for implementations of [`Consumer`].
    pub fn new(body: Vec<u8>, redelivered: bool, receipt: Box<dyn Receipt>) -> Delivery {
        Delivery {
            body,
            redelivered,
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

/// An implementation's side of a [`Delivery`]. Its `Drop` must give an unsettled message back to the lane.
#[async_trait]
pub trait Receipt: Send + Sync {
    /// Settles.
    async fn resolve(self: Box<Self>, disposition: Disposition) -> Result<(), BrokerError>;
}

/// What becomes of a delivered message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It is finished and forgotten.
    Ack,
    /// It is delivered again, not before the delay is over.
    Requeue {
        /// The least delay; zero: at once.
        after: Duration,
    },
    /// It goes to the dead letters.
    Reject,
}

/// Why the queue did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The queue was closed, by us.
    #[error("the queue is closed")]
    Closed,
    /// The delivery is no longer ours to settle: the message is or will be delivered again.
    #[error("the delivery expired; the message will be delivered again")]
    ReceiptExpired,
    /// The broker cannot be reached or did not answer in time.
    #[error("the queue at {url} cannot be reached: {message}")]
    Unreachable {
        /// Where it should be, without its password.
        url: String,
        /// What happened.
        message: String,
    },
    /// The broker answers, but not to this: wrong password, missing permission, a queue declared otherwise.
    #[error("the queue at {url} refused: {message}")]
    Refused {
        /// Where it is, without its password.
        url: String,
        /// Its own words and what to change.
        message: String,
    },
}

impl BrokerError {
    /// What to do about it.
    pub fn recourse(&self) -> Recourse {
        match self {
            BrokerError::Closed | BrokerError::Refused { .. } => Recourse::Halt,
            BrokerError::ReceiptExpired => Recourse::Discard,
            BrokerError::Unreachable { .. } => Recourse::Retry,
        }
    }
}
