//! Publishing: many messages on their way at once, each confirmed, none silently unroutable.
//!
//! One call has a channel to itself while it lasts: lapin hands a returned message to whichever confirmation comes next, so
//! calls that share a channel would take each other's.

use super::connection::LiveConnection;
use super::fault::AmqpFault;
use super::names::Declaration;
use super::supervisor::AmqpLink;
use super::topology::AmqpTopology;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Confirmation};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::{sleep_until, timeout};
use tracing::warn;

/// Messages of one call on their way at once. Throughput is flat from a few hundred on, and lapin looks through all of
/// them when the broker confirms several together.
const WINDOW: usize = 500;
/// Calls at work at once, each with its channel; further ones wait.
const CHANNELS: usize = 8;
/// How long no confirmation at all may come, while the broker takes messages.
const SILENCE: Duration = Duration::from_secs(10);
/// How often a queue may turn out to be gone within one call.
const DECLARATIONS: usize = 3;

/// Marks a message that was delivered before under another delivery tag.
pub(super) const RETURNED: &str = "bsft-returned";

/// What publishes.
pub(super) struct Publisher {
    link: AmqpLink,
    topology: Arc<AmqpTopology>,
    calls: Semaphore,
    /// Channels that a call left in order, with their connection.
    idle: Mutex<Vec<(Arc<LiveConnection>, Channel)>>,
    /// Held by the one call that finds out about a silent queue.
    doctor: Semaphore,
}

impl Publisher {
    pub(super) fn new(link: AmqpLink, topology: Arc<AmqpTopology>) -> Publisher {
        Publisher {
            link,
            topology,
            calls: Semaphore::new(CHANNELS),
            idle: Mutex::default(),
            doctor: Semaphore::new(1),
        }
    }

    /// Puts the messages into the queue; they are on the disks of the broker when this returns.
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

    /// Whether its connection is up now; otherwise why not.
    pub(super) fn is_up(&self) -> Result<(), AmqpFault> {
        self.link.up_now().map(drop)
    }

    /// Puts a message that comes back later into its wait queue.
    pub(super) async fn delay(
        &self,
        declaration: &Declaration,
        body: Vec<u8>,
        ms: u64,
    ) -> Result<SentMessages, AmqpFault> {
        let mut headers = FieldTable::default();
        headers.insert(RETURNED.into(), AMQPValue::Boolean(true));
        let ms = u32::try_from(ms).unwrap_or(u32::MAX);
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_expiration(ms.to_string().into());
        self.send_as(declaration, vec![body], properties).await
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
                    warn!(queue = %declaration.name, messages = returned.len(), "the queue is gone, declaring it again");
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

    /// Returns when what was sent is safe, which it is unless its queue is new.
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

    /// Finds out whose silence it is, and replaces a queue that is broken. The caller publishes again in any case.
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
                        "the queue {name} was broken and is declared anew; what it held is lost"
                    ));
                }
                Ok(Healed(false)) => {}
                Err(fault) => return fault,
            }
        }
        AmqpFault::Unreachable(format!(
            "no message to {name} was confirmed in {SILENCE:?}; the broker may be overloaded"
        ))
    }

    /// Of all calls and processes that find the queue silent one at a time asks it once more, and replaces it if it is silent still:
    /// the next one finds the new queue, with messages in it, and it answers.
    async fn heal(
        &self,
        live: &Arc<LiveConnection>,
        declaration: &Declaration,
        message: &[Vec<u8>],
        properties: &BasicProperties,
    ) -> Result<Healed, AmqpFault> {
        let Ok(_only_one) = self.doctor.acquire().await else {
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
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Messages that are confirmed, and what they were sent over.
pub(super) struct SentMessages {
    live: Arc<LiveConnection>,
    queue: ShortString,
}

/// Whether a queue was replaced.
struct Healed(bool);

enum WindowError {
    Failed(AmqpFault),
    Silent,
}

/// Publishes and waits for every confirmation; returns the messages that no queue took.
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
        let next = timeout(SILENCE, confirmations.next()).await;
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
                    "the queue {queue} took {refused} of {} messages back",
                    messages.len()
                ))));
            }
            // The supervisor says that it is blocked, once. Whoever publishes waits, as the broker wants.
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
