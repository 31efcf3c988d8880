//! Consuming: one task per consumer keeps its subscription alive across outages until the consumer is
//! dropped.

use super::RabbitMqShared;
use super::connection::LiveConnection;
use super::error_conversion::{ANSWER_TIMEOUT, AmqpFault};
use super::publish::{POSTPONED, RETURNED};
use super::unacked::UnackedDelivery;
use crate::backoff::Backoff;
use crate::broker::{BrokerError, Consumer, Delivery, Queue};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::message::Delivery as Message;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

/// How often a silent subscription is checked: a stream may hang on a closed channel.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// A subscription without messages and without unacked deliveries is renewed after this time. When a queue
/// is deleted and redeclared at once, RabbitMQ may move a consumer to the new queue and assign it messages
/// that never leave the broker. Closing the channel releases them.
const IDLE_LIMIT: Duration = Duration::from_secs(30);

pub(super) struct RabbitMqConsumer {
    shared: Arc<RabbitMqShared>,
    /// Holds at most `prefetch` items, which RabbitMQ enforces.
    unacked: mpsc::UnboundedReceiver<Result<UnackedDelivery, AmqpFault>>,
}

impl RabbitMqConsumer {
    /// Subscribes. If the broker cannot be reached now, the subscription follows later.
    pub(super) async fn start(
        shared: &Arc<RabbitMqShared>,
        queue: &Queue,
        prefetch: NonZeroUsize,
    ) -> Result<RabbitMqConsumer, AmqpFault> {
        let (hand, unacked) = mpsc::unbounded_channel();
        let pump = Pump {
            shared: Arc::clone(shared),
            queue: queue.clone(),
            prefetch: u16::try_from(prefetch.get()).unwrap_or(u16::MAX),
            hand,
        };
        let live = shared.consuming.up_soon().await?;
        let first = match pump.subscribe(&live).await {
            Ok(subscription) => Some(subscription),
            Err(AmqpFault::Unreachable(reason)) => {
                debug!(%queue, reason, "not subscribed yet");
                None
            }
            Err(fault @ (AmqpFault::Refused(_) | AmqpFault::Closed)) => return Err(fault),
        };
        shared.tasks.spawn(pump.run(first));
        Ok(RabbitMqConsumer {
            shared: Arc::clone(shared),
            unacked,
        })
    }
}

#[async_trait]
impl Consumer for RabbitMqConsumer {
    /// Cancel safe: a delivery leaves the channel in the same poll that returns it.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => return Ok(None),
                next = self.unacked.recv() => next,
            };
            match next {
                // Its connection broke while it waited here: RabbitMQ redelivers it, so skip this copy.
                Some(Ok(unacked)) if unacked.expired() => {}
                Some(Ok(unacked)) => {
                    let (body, redelivered) = (Arc::clone(&unacked.body), unacked.redelivered);
                    let postponed = unacked.postponed;
                    return Ok(Some(Delivery::new(
                        body,
                        redelivered,
                        postponed,
                        Box::new(unacked),
                    )));
                }
                Some(Err(AmqpFault::Closed)) | None => return Ok(None),
                Some(Err(fault)) => return Err(self.shared.address.error(fault)),
            }
        }
    }
}

struct Pump {
    shared: Arc<RabbitMqShared>,
    queue: Queue,
    prefetch: u16,
    hand: mpsc::UnboundedSender<Result<UnackedDelivery, AmqpFault>>,
}

struct Subscription {
    /// Shared with the unacked deliveries of the subscription.
    channel: Arc<Channel>,
    consumer: lapin::Consumer,
}

/// Why a subscription ended.
enum SubscriptionEnd {
    /// Resubscribe.
    Broken(String),
    /// Resubscribe, as a precaution.
    Idle,
    /// The consumer was dropped.
    Unwanted,
    /// The broker was closed.
    Closed,
}

impl Pump {
    async fn run(self, first: Option<Subscription>) {
        let mut subscription = first;
        loop {
            let current = match subscription.take() {
                Some(current) => current,
                None => match self.again().await {
                    Ok(Some(current)) => current,
                    Ok(None) => return,
                    Err(fault) => {
                        // Fails if the consumer was dropped.
                        let _ = self.hand.send(Err(fault));
                        return;
                    }
                },
            };
            match self.forward(current).await {
                SubscriptionEnd::Broken(reason) => {
                    warn!(queue = %self.queue, reason, "subscription broke; resubscribing")
                }
                SubscriptionEnd::Idle => {}
                SubscriptionEnd::Unwanted | SubscriptionEnd::Closed => return,
            }
        }
    }

    /// Resubscribes, however long it takes. `None` when the consumer was dropped.
    async fn again(&self) -> Result<Option<Subscription>, AmqpFault> {
        let mut backoff = Backoff::default();
        let mut warned = false;
        loop {
            let attempt = async {
                backoff.pause().await;
                let live = self.shared.consuming.up().await?;
                self.subscribe(&live).await
            };
            let fault = tokio::select! {
                () = self.hand.closed() => return Ok(None),
                () = self.shared.closing.cancelled() => return Ok(None),
                attempt = attempt => match attempt {
                    Ok(subscription) => return Ok(Some(subscription)),
                    Err(fault) => fault,
                },
            };
            match fault {
                AmqpFault::Unreachable(reason) if std::mem::replace(&mut warned, true) => {
                    debug!(queue = %self.queue, reason, "still not subscribed");
                }
                AmqpFault::Unreachable(reason) => {
                    warn!(queue = %self.queue, reason, "failed to subscribe; retrying");
                }
                AmqpFault::Closed => return Ok(None),
                AmqpFault::Refused(_) => return Err(fault),
            }
        }
    }

    async fn subscribe(&self, live: &LiveConnection) -> Result<Subscription, AmqpFault> {
        let declaration = self.shared.topology.names.queue(&self.queue);
        self.shared.topology.ensure(live, &declaration).await?;
        let channel = live.channel().await?;
        let qos = channel.basic_qos(self.prefetch, BasicQosOptions { global: false });
        live.done("set the prefetch", qos).await?;
        let consumed = channel.basic_consume(
            declaration.name.clone(),
            ShortString::default(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        // A broken queue never answers. The deliveries of the other queues on this connection stay valid.
        let consumer = match timeout(ANSWER_TIMEOUT, consumed).await {
            Ok(Ok(consumer)) => consumer,
            Ok(Err(e)) => {
                live.forget(&declaration.name);
                return Err(AmqpFault::new(
                    &format!("consume from the queue {}", declaration.name),
                    &e,
                ));
            }
            Err(_) => {
                return Err(AmqpFault::Unreachable(format!(
                    "the queue {} accepts no consumer; it may be without a leader",
                    declaration.name
                )));
            }
        };
        Ok(Subscription {
            channel: Arc::new(channel),
            consumer,
        })
    }

    async fn forward(&self, subscription: Subscription) -> SubscriptionEnd {
        let Subscription {
            channel,
            mut consumer,
        } = subscription;
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let end = loop {
            tokio::select! {
                () = self.hand.closed() => break SubscriptionEnd::Unwanted,
                () = self.shared.closing.cancelled() => return SubscriptionEnd::Closed,
                message = consumer.next() => match message {
                    // If the consumer was dropped, dropping the delivery requeues it.
                    Some(Ok(message)) => {
                        last = Instant::now();
                        drop(self.hand.send(Ok(self.unacked(&channel, message))));
                    }
                    Some(Err(e)) => return SubscriptionEnd::Broken(e.to_string()),
                    None => {
                        // RabbitMQ may have taken unacked messages back, as a consumer timeout does since 4.3, and
                        // would still accept acks. Closing the channel marks all of them as expired.
                        let closed = channel.close(200, "its consumer was ended".into());
                        let _ = timeout(ANSWER_TIMEOUT, closed).await;
                        return SubscriptionEnd::Broken(
                            "the broker ended it: the queue was deleted, or a delivery exceeded the consumer timeout"
                                .to_owned(),
                        );
                    }
                },
                _ = poll.tick() => if !channel.status().connected() {
                    return SubscriptionEnd::Broken("its channel is closed".to_owned());
                } else if Arc::strong_count(&channel) > 1 {
                    last = Instant::now();
                } else if last.elapsed() > IDLE_LIMIT {
                    break SubscriptionEnd::Idle;
                },
            }
        };
        self.wind_down(&channel, consumer).await;
        end
    }

    /// Cancels the subscription and passes on the messages that still arrive. Dropping one requeues it.
    /// Unacked deliveries keep the channel open.
    async fn wind_down(&self, channel: &Arc<Channel>, mut consumer: lapin::Consumer) {
        let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        if !matches!(timeout(ANSWER_TIMEOUT, cancelled).await, Ok(Ok(()))) {
            return;
        }
        while let Ok(Some(Ok(message))) = timeout(ANSWER_TIMEOUT, consumer.next()).await {
            drop(self.hand.send(Ok(self.unacked(channel, message))));
        }
    }

    fn unacked(&self, channel: &Arc<Channel>, message: Message) -> UnackedDelivery {
        let headers = message.properties.headers().as_ref().map(FieldTable::inner);
        let returned = headers.is_some_and(|headers| headers.contains_key(RETURNED));
        let postponed = match headers.and_then(|headers| headers.get(POSTPONED)) {
            Some(AMQPValue::LongUInt(times)) => *times,
            // As another client may write it that moves the message.
            Some(AMQPValue::LongInt(times)) => u32::try_from(*times).unwrap_or(0),
            Some(AMQPValue::LongLongInt(times)) => u32::try_from(*times).unwrap_or(0),
            _ => 0,
        };
        UnackedDelivery::new(
            Arc::clone(&self.shared),
            self.queue.clone(),
            Arc::clone(channel),
            message.delivery_tag,
            Arc::new(message.data),
            message.redelivered || returned,
            postponed,
        )
    }
}
