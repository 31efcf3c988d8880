//! Publishing: hundreds of messages in flight, each confirmed, none silently unroutable.
//!
//! A call has its own channel. lapin attaches a returned message to whichever confirmation comes next, so
//! calls on one channel would receive each other's messages.

use super::connection::LiveConnection;
use super::error_conversion::AmqpFault;
use super::names::Declaration;
use super::supervisor::AmqpLink;
use super::topology::AmqpTopology;
use crate::lock::lock;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};
use tracing::warn;

/// Messages of one call in flight. Throughput is flat from a few hundred on, and lapin scans all of them
/// when the broker confirms several at once.
const WINDOW: usize = 500;
/// Concurrent calls, each with its channel; further calls wait.
const CHANNELS: usize = 8;
/// The longest time without any confirmation while the broker accepts messages.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a queue may be found missing within one call.
const DECLARATIONS: usize = 3;

/// Header of a message that was delivered before under another delivery tag.
pub(super) const RETURNED: &str = "bsft-returned";

/// Header with the number of times that a message was postponed, if it was.
pub(super) const POSTPONED: &str = "bsft-postponed";

pub(super) struct Publisher {
    link: AmqpLink,
    topology: Arc<AmqpTopology>,
    calls: Semaphore,
    /// Idle channels with their connection.
    idle: Mutex<Vec<(Arc<LiveConnection>, Channel)>>,
    /// Held by the one call that examines a silent queue.
    repair: Semaphore,
}

impl Publisher {
    pub(super) fn new(link: AmqpLink, topology: Arc<AmqpTopology>) -> Publisher {
        Publisher {
            link,
            topology,
            calls: Semaphore::new(CHANNELS),
            idle: Mutex::default(),
            repair: Semaphore::new(1),
        }
    }

    /// Publishes the messages. They are on the broker's disks when this returns.
    pub(super) async fn send(
        &self,
        declaration: &Declaration,
        messages: Vec<Vec<u8>>,
    ) -> Result<(), AmqpFault> {
        let sent = self
            .send_as(declaration, messages, BasicProperties::default())
            .await?;
        self.safe(sent).await
    }

    /// Returns the cause if the connection is down.
    pub(super) fn is_up(&self) -> Result<(), AmqpFault> {
        self.link.up_now().map(drop)
    }

    /// Publishes one message, which was postponed `postponed` times, to a wait queue, from which it returns after `ms`.
    pub(super) async fn delay(
        &self,
        declaration: &Declaration,
        body: Vec<u8>,
        postponed: u32,
        ms: u64,
    ) -> Result<SentMessages, AmqpFault> {
        let mut headers = FieldTable::default();
        headers.insert(RETURNED.into(), AMQPValue::Boolean(true));
        if postponed > 0 {
            headers.insert(POSTPONED.into(), AMQPValue::LongUInt(postponed));
        }
        let ms = u32::try_from(ms).unwrap_or(u32::MAX);
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_expiration(ms.to_string().into());
        self.send_as(declaration, vec![body], properties).await
    }

    /// Publishes one message with the properties that it had.
    pub(super) async fn publish_again(
        &self,
        declaration: &Declaration,
        body: Vec<u8>,
        properties: BasicProperties,
    ) -> Result<(), AmqpFault> {
        let sent = self.send_as(declaration, vec![body], properties).await?;
        self.safe(sent).await
    }

    async fn send_as(
        &self,
        declaration: &Declaration,
        messages: Vec<Vec<u8>>,
        properties: BasicProperties,
    ) -> Result<SentMessages, AmqpFault> {
        let Ok(_call) = self.calls.acquire().await else {
            return Err(AmqpFault::Closed);
        };
        let properties = properties.with_delivery_mode(2);
        let mut left = messages;
        for _ in 0..DECLARATIONS {
            let live = self.link.up_soon().await?;
            self.topology.ensure(&live, declaration).await?;
            let channel = self.channel(&live).await?;
            match window(&live, &channel, &declaration.name, &left, &properties).await {
                Ok(returned) if returned.is_empty() => {
                    self.idle().push((Arc::clone(&live), channel));
                    let queue = declaration.name.clone();
                    return Ok(SentMessages { live, queue });
                }
                Ok(returned) => {
                    warn!(queue = %declaration.name, messages = returned.len(), "queue is missing; redeclaring it");
                    self.topology.replace(&live, declaration).await?;
                    self.idle().push((live, channel));
                    left = returned;
                }
                Err(WindowError::Failed(fault)) => {
                    if matches!(fault, AmqpFault::Unreachable(_)) {
                        live.condemn();
                    }
                    return Err(fault);
                }
                Err(WindowError::Silent) => {
                    let message = &left[..left.len().min(1)];
                    return Err(self.silent(&live, declaration, message, &properties).await);
                }
            }
        }
        Err(AmqpFault::Unreachable(format!(
            "the queue {} vanished {DECLARATIONS} times while messages were published to it",
            declaration.name
        )))
    }

    /// Returns when the messages are durable. That takes time only for a new queue.
    pub(super) async fn safe(&self, sent: SentMessages) -> Result<(), AmqpFault> {
        let Some(safe_at) = self.topology.safe_at(&sent.queue) else {
            return Ok(());
        };
        sleep_until(safe_at).await;
        let Ok(_call) = self.calls.acquire().await else {
            return Err(AmqpFault::Closed);
        };
        self.topology.is_safe(&sent.live, &sent.queue).await
    }

    /// Determines whether the broker or the queue stopped confirming, and redeclares a broken queue. The
    /// caller publishes again in either case.
    async fn silent(
        &self,
        live: &Arc<LiveConnection>,
        declaration: &Declaration,
        message: &[Vec<u8>],
        properties: &BasicProperties,
    ) -> AmqpFault {
        let name = &declaration.name;
        if self.topology.probe(live).await.is_err() {
            live.condemn();
        } else {
            match self.heal(live, declaration, message, properties).await {
                Ok(Healed(true)) => {
                    return AmqpFault::Unreachable(format!(
                        "the queue {name} stopped confirming and was redeclared; its messages are lost"
                    ));
                }
                Ok(Healed(false)) => {}
                Err(fault) => return fault,
            }
        }
        AmqpFault::Unreachable(format!(
            "no message to {name} was confirmed in {CONFIRM_TIMEOUT:?}; the broker may be overloaded"
        ))
    }

    /// Publishes to the silent queue once more, one call and process at a time, and replaces it if it is
    /// still silent. The next caller finds a new queue with messages in it, which confirms.
    async fn heal(
        &self,
        live: &Arc<LiveConnection>,
        declaration: &Declaration,
        message: &[Vec<u8>],
        properties: &BasicProperties,
    ) -> Result<Healed, AmqpFault> {
        let Ok(_only_one) = self.repair.acquire().await else {
            return Err(AmqpFault::Closed);
        };
        if self.topology.ready(live, &declaration.name).await? != Some(0) {
            return Ok(Healed(false));
        }
        let lock = self.topology.lock(live, &declaration.name).await?;
        let channel = self.channel(live).await?;
        let silent = matches!(
            window(live, &channel, &declaration.name, message, properties).await,
            Err(WindowError::Silent)
        );
        if silent {
            self.topology.renew(live, declaration).await?;
        }
        lock.release(live).await?;
        Ok(Healed(silent))
    }

    async fn channel(&self, live: &Arc<LiveConnection>) -> Result<Channel, AmqpFault> {
        let idle = {
            let mut idle = self.idle();
            idle.retain(|(of, channel)| Arc::ptr_eq(of, live) && channel.status().connected());
            idle.pop()
        };
        if let Some((_, channel)) = idle {
            return Ok(channel);
        }
        let channel = live.channel().await?;
        let selected = channel.confirm_select(ConfirmSelectOptions::default());
        live.done("ask for confirmations", selected).await?;
        Ok(channel)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<LiveConnection>, Channel)>> {
        lock(&self.idle)
    }
}

/// Confirmed messages and the connection they were published over.
pub(super) struct SentMessages {
    live: Arc<LiveConnection>,
    queue: ShortString,
}

/// Whether the queue was replaced.
struct Healed(bool);

enum WindowError {
    Failed(AmqpFault),
    Silent,
}

/// Publishes and waits for every confirmation. Returns the messages that no queue received.
async fn window(
    live: &LiveConnection,
    channel: &Channel,
    queue: &ShortString,
    messages: &[Vec<u8>],
    properties: &BasicProperties,
) -> Result<Vec<Vec<u8>>, WindowError> {
    let mut left = messages.iter();
    let mut confirmations = FuturesUnordered::new();
    for body in left.by_ref().take(WINDOW) {
        confirmations.push(confirmed(channel, queue, body, properties));
    }
    let mut returned = Vec::new();
    let mut refused = 0usize;
    loop {
        let next = timeout(CONFIRM_TIMEOUT, confirmations.next()).await;
        if let (Ok(Some(_)), Some(body)) = (&next, left.next()) {
            confirmations.push(confirmed(channel, queue, body, properties));
        }
        match next {
            Ok(Some(Ok(Confirmation::Ack(None)))) => {}
            Ok(Some(Ok(Confirmation::Ack(Some(message)) | Confirmation::Nack(Some(message))))) => {
                returned.push(message.delivery.data);
            }
            Ok(Some(Ok(Confirmation::Nack(None) | Confirmation::NotRequested))) => refused += 1,
            Ok(Some(Err(e))) => {
                return Err(WindowError::Failed(AmqpFault::new(
                    &format!("publish to the queue {queue}"),
                    &e,
                )));
            }
            Ok(None) if refused == 0 => return Ok(returned),
            Ok(None) => {
                return Err(WindowError::Failed(AmqpFault::Unreachable(format!(
                    "the queue {queue} rejected {refused} of {} messages",
                    messages.len()
                ))));
            }
            // The supervisor logs the block once. Publishing waits, as the broker requests.
            Err(_) if live.blocked() => {}
            Err(_) => return Err(WindowError::Silent),
        }
    }
}

async fn confirmed(
    channel: &Channel,
    queue: &ShortString,
    body: &[u8],
    properties: &BasicProperties,
) -> lapin::Result<Confirmation> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let written = channel.basic_publish(
        ShortString::default(),
        queue.clone(),
        options,
        body,
        properties.clone(),
    );
    written.await?.await
}
