//! Removes the messages of one run from the queues that all runs share, and the queues of that run.
//!
//! AMQP cannot delete a message by its content. So every ready message of a queue is taken over a channel of its own, and those of the run
//! are acked. When the channel closes, or this process dies, RabbitMQ returns the others to the head of the queue, in their order. That
//! counts as a delivery of each of them, and wait and dead-letter queues drop a message after 20 on RabbitMQ 4. So a message that has used
//! half of them is published again, at the end of its queue, and then acked.

use super::connection::LiveConnection;
use super::error_conversion::AmqpFault;
use super::names::Declaration;
use super::{RabbitMqBroker, RabbitMqShared};
use crate::broker::{BrokerError, Queue};
use crate::task::RunId;
use futures_util::future::try_join_all;
use futures_util::stream::{SelectAll, StreamExt as _};
use lapin::Channel;
use lapin::message::Delivery as Message;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The prefetch of a consumer, the largest of the protocol: the messages of other runs stay unacked until the end.
const PREFETCH: u16 = u16::MAX;

/// How long no message must arrive until the queue is asked whether it is empty.
const QUIET: Duration = Duration::from_millis(100);

/// A message that RabbitMQ has handed out may arrive after its first answer that the queue is empty, but not after the second.
const EMPTY_ANSWERS: usize = 2;

/// How long a queue with ready messages may send none.
const STALLED: Duration = Duration::from_secs(30);

/// Deliveries after which a message is published again: half of what a queue without a limit of its own allows on RabbitMQ 4.
const WORN: i64 = 10;

/// Messages that are published again at the same time.
const COPIES: usize = 64;

/// RabbitMQ's header with the number of deliveries before this one.
const DELIVERIES: &str = "x-delivery-count";

/// How many messages of a run were removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovedMessages {
    /// Tasks that waited for a worker, and completions.
    pub waiting: usize,
    /// Messages among the dead letters.
    pub dead_letters: usize,
}

impl RabbitMqBroker {
    /// Removes the messages that `is_of_run` recognises from all queues, and deletes the queues of the run. Nothing may publish messages
    /// of the run meanwhile. May be interrupted at any time and called again: messages of other runs stay where they are.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Refused`] without the right to read the queues; otherwise [`BrokerError::Unreachable`].
    pub async fn forget(
        &self,
        run: &RunId,
        is_of_run: impl Fn(&[u8]) -> bool,
    ) -> Result<RemovedMessages, BrokerError> {
        let removed = remove(&self.shared, run, &is_of_run).await;
        removed.map_err(|fault| self.shared.address.error(fault))
    }
}

async fn remove(
    shared: &RabbitMqShared,
    run: &RunId,
    is_of_run: &impl Fn(&[u8]) -> bool,
) -> Result<RemovedMessages, AmqpFault> {
    let names = &shared.topology.names;
    let live = shared.consuming.up_soon().await?;
    let own = Queue::Completions(run.clone());
    let mut removed = RemovedMessages::default();
    for queue in [Queue::Bootstrap, Queue::Finetune] {
        // In the direction in which messages move by themselves, so that none is missed.
        for declaration in names.waits(&queue).chain([names.queue(&queue)]) {
            removed.waiting += Pass::through(shared, &live, &declaration, is_of_run).await?;
        }
    }
    for declaration in names.waits(&own).chain([names.queue(&own)]) {
        removed.waiting += delete(&live, &declaration.name).await?;
    }
    for queue in [Queue::Bootstrap, Queue::Finetune, own] {
        if let Some(dead) = names.queue(&queue).dead {
            removed.dead_letters += Pass::through(shared, &live, &dead, is_of_run).await?;
        }
    }
    Ok(removed)
}

/// Deletes a queue if it exists, and returns how many messages it had.
async fn delete(live: &LiveConnection, name: &ShortString) -> Result<usize, AmqpFault> {
    let channel = live.channel().await?;
    let deleted = channel.queue_delete(name.clone(), QueueDeleteOptions::default());
    let messages = live.done(&format!("delete the queue {name}"), deleted).await?;
    live.forget(name);
    Ok(messages as usize)
}

/// One pass through the messages of a queue.
struct Pass<'a> {
    shared: &'a RabbitMqShared,
    live: &'a LiveConnection,
    declaration: &'a Declaration,
    channel: Channel,
    /// One consumer, and a further one for each [`PREFETCH`] messages of other runs.
    consumers: SelectAll<lapin::Consumer>,
    /// Unacked messages of other runs.
    held: usize,
    /// Messages of other runs that are published again.
    worn: Vec<Message>,
}

impl Pass<'_> {
    /// Removes the run's messages from the queue, and returns how many there were.
    async fn through(
        shared: &RabbitMqShared,
        live: &LiveConnection,
        declaration: &Declaration,
        is_of_run: &impl Fn(&[u8]) -> bool,
    ) -> Result<usize, AmqpFault> {
        let ready = shared.topology.ready(live, &declaration.name).await?;
        if ready.is_none_or(|ready| ready == 0) {
            return Ok(0);
        }
        let mut pass = Pass {
            shared,
            live,
            declaration,
            channel: live.channel().await?,
            consumers: SelectAll::new(),
            held: 0,
            worn: Vec::new(),
        };
        let removed = Box::pin(pass.run(is_of_run)).await;
        let closed = pass
            .channel
            .close(200, "messages of other runs are returned".into());
        let closed = live.done("close a channel", closed).await;
        let removed = removed?;
        closed?;
        Ok(removed)
    }

    async fn run(&mut self, is_of_run: &impl Fn(&[u8]) -> bool) -> Result<usize, AmqpFault> {
        let qos = self
            .channel
            .basic_qos(PREFETCH, BasicQosOptions { global: false });
        self.live.done("set the prefetch", qos).await?;
        self.consume().await?;
        let (mut removed, mut empty_answers, mut last) = (0, 0, Instant::now());
        loop {
            match timeout(QUIET, self.consumers.next()).await {
                Ok(Some(Ok(message))) => {
                    (empty_answers, last) = (0, Instant::now());
                    if is_of_run(&message.data) {
                        self.ack(&message).await?;
                        removed += 1;
                    } else if deliveries(&message) >= WORN {
                        self.worn.push(message);
                    } else {
                        self.held += 1;
                    }
                }
                Ok(Some(Err(error))) => {
                    let doing = format!("read the queue {}", self.declaration.name);
                    return Err(AmqpFault::new(&doing, &error));
                }
                Ok(None) => {
                    let name = &self.declaration.name;
                    return Err(AmqpFault::Unreachable(format!(
                        "the consumer of the queue {name} was ended"
                    )));
                }
                Err(_quiet) if !self.worn.is_empty() => self.replace_worn().await?,
                Err(_quiet) if self.ready().await? == 0 => {
                    empty_answers += 1;
                    if empty_answers == EMPTY_ANSWERS {
                        return Ok(removed);
                    }
                }
                Err(_quiet) if self.held >= self.consumers.len() * usize::from(PREFETCH) => {
                    self.consume().await?;
                }
                Err(_quiet) if last.elapsed() > STALLED => {
                    let name = &self.declaration.name;
                    return Err(AmqpFault::Unreachable(format!(
                        "the queue {name} sends no message; it may be without a leader"
                    )));
                }
                Err(_quiet) => {}
            }
            if self.worn.len() >= COPIES {
                self.replace_worn().await?;
            }
        }
    }

    async fn consume(&mut self) -> Result<(), AmqpFault> {
        let name = &self.declaration.name;
        let consumed = self.channel.basic_consume(
            name.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let doing = format!("consume from the queue {name}");
        self.consumers.push(self.live.done(&doing, consumed).await?);
        Ok(())
    }

    /// The number of ready messages, over the channel of the deliveries.
    async fn ready(&self) -> Result<u32, AmqpFault> {
        let name = &self.declaration.name;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = self
            .channel
            .queue_declare(name.clone(), passive, FieldTable::default());
        let queue = self
            .live
            .done(&format!("inspect the queue {name}"), asked)
            .await?;
        Ok(queue.message_count())
    }

    async fn ack(&self, message: &Message) -> Result<(), AmqpFault> {
        let acked = self
            .channel
            .basic_ack(message.delivery_tag, BasicAckOptions::default());
        self.live.done("ack a message", acked).await
    }

    /// Publishes the worn messages again, and acks them when RabbitMQ has the copies. A crash in between duplicates them.
    async fn replace_worn(&mut self) -> Result<(), AmqpFault> {
        let worn = std::mem::take(&mut self.worn);
        let (publisher, declaration) = (&self.shared.publisher, self.declaration);
        let copies = worn.iter().map(|message| {
            let headers = message.properties.headers().iter().flatten();
            let others = headers.filter(|(name, _)| name.as_str() != DELIVERIES);
            let others = others.map(|(name, value)| (name.clone(), value.clone()));
            let headers: BTreeMap<_, _> = others.collect();
            let properties = message.properties.clone().with_headers(headers.into());
            publisher.publish_again(declaration, message.data.clone(), properties)
        });
        try_join_all(copies).await?;
        for message in &worn {
            self.ack(message).await?;
        }
        Ok(())
    }
}

/// How often the message was delivered before.
fn deliveries(message: &Message) -> i64 {
    let headers = message.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get(DELIVERIES)) {
        Some(AMQPValue::LongLongInt(times)) => *times,
        Some(AMQPValue::LongInt(times)) => i64::from(*times),
        Some(AMQPValue::LongUInt(times)) => i64::from(*times),
        _ => 0,
    }
}
