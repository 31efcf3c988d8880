//! An unacked delivery and its disposition.
//!
//! Acks go through the channel, not through lapin's `Acker`: that spawns a task for each, which reorders
//! them, and returns `false` where this returns [`BrokerError::ReceiptExpired`]. A call on the channel
//! writes its frame to the connection's outbox at once, so `Drop` can requeue without a runtime, and
//! adjacent acks leave in one write.

use super::RabbitMqShared;
use super::error_conversion::ANSWER_TIMEOUT;
use crate::broker::{BrokerError, Disposition, Queue, Receipt};
use async_trait::async_trait;
use futures_util::FutureExt as _;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tracing::debug;

/// The broker's side of a delivery; dropping it requeues the message.
pub(super) struct UnackedDelivery {
    shared: Arc<RabbitMqShared>,
    queue: Queue,
    channel: Arc<Channel>,
    /// The delivery tag, `None` once resolved: a second ack would close the channel.
    tag: Option<u64>,
    /// Shared with the delivery.
    pub(super) body: Arc<Vec<u8>>,
    pub(super) redelivered: bool,
    /// How often the message was postponed.
    pub(super) postponed: u32,
}

impl UnackedDelivery {
    pub(super) fn new(
        shared: Arc<RabbitMqShared>,
        queue: Queue,
        channel: Arc<Channel>,
        tag: u64,
        body: Arc<Vec<u8>>,
        redelivered: bool,
        postponed: u32,
    ) -> UnackedDelivery {
        UnackedDelivery {
            shared,
            queue,
            channel,
            tag: Some(tag),
            body,
            redelivered,
            postponed,
        }
    }

    /// Whether the broker has already requeued it.
    pub(super) fn expired(&self) -> bool {
        !self.channel.status().connected()
    }

    async fn ack(&mut self) -> Result<(), BrokerError> {
        let Some(tag) = self.tag.take() else { return Ok(()) };
        let written = self.channel.basic_ack(tag, BasicAckOptions::default());
        in_time(written).await
    }

    async fn nack(&mut self, requeue: bool) -> Result<(), BrokerError> {
        let Some(tag) = self.tag.take() else { return Ok(()) };
        let options = BasicNackOptions {
            requeue,
            ..BasicNackOptions::default()
        };
        in_time(self.channel.basic_nack(tag, options)).await
    }

    /// Publishes a copy that waits, then acks. A crash in between duplicates the message, which
    /// at-least-once allows; the other order could lose it.
    async fn requeue(mut self: Box<Self>, after: Duration) -> Result<(), BrokerError> {
        let ms = u64::try_from(after.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX);
        let shared = Arc::clone(&self.shared);
        let wait = shared.topology.names.wait(&self.queue, ms);
        let body = Arc::unwrap_or_clone(std::mem::take(&mut self.body));
        match shared.publisher.delay(&wait, body, self.postponed, ms).await {
            Ok(_) if shared.topology.safe_at(&wait.name).is_none() => self.ack().await,
            Ok(sent) => {
                let tasks = shared.tasks.clone();
                tasks.spawn(async move {
                    // If the copy is not durable or the ack fails, RabbitMQ redelivers the message as well.
                    if shared.publisher.safe(sent).await.is_ok() {
                        let _ = self.ack().await;
                    }
                });
                Ok(())
            }
            Err(fault) => {
                // Held here for the delay, so that it is not redelivered in a loop while the broker accepts no messages.
                debug!(
                    reason = fault.message(),
                    "holding a message until its requeue is due"
                );
                let tasks = shared.tasks.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = sleep(after) => {}
                        () = shared.closing.cancelled() => {}
                    }
                    drop(self);
                });
                Ok(())
            }
        }
    }
}

/// lapin answers when the frame is written. If that fails, the channel is dead and the message is
/// redelivered.
async fn in_time(written: impl Future<Output = lapin::Result<()>>) -> Result<(), BrokerError> {
    match timeout(ANSWER_TIMEOUT, written).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(BrokerError::ReceiptExpired),
    }
}

#[async_trait]
impl Receipt for UnackedDelivery {
    async fn resolve(mut self: Box<Self>, disposition: Disposition) -> Result<(), BrokerError> {
        if self.expired() {
            self.tag = None;
            return Err(BrokerError::ReceiptExpired);
        }
        match disposition {
            Disposition::Ack => self.ack().await,
            Disposition::Reject => self.nack(false).await,
            Disposition::Requeue { after } if after.is_zero() => self.nack(true).await,
            Disposition::Requeue { after } => self.requeue(after).await,
            Disposition::Postpone { after } => {
                self.postponed += 1;
                self.requeue(after).await
            }
        }
    }
}

impl Drop for UnackedDelivery {
    fn drop(&mut self) {
        if let Some(tag) = self.tag.take() {
            let options = BasicNackOptions {
                requeue: true,
                ..BasicNackOptions::default()
            };
            // The first poll writes the frame to the outbox; on a dead channel there is nothing to requeue.
            let _ = self.channel.basic_nack(tag, options).now_or_never();
        }
    }
}
