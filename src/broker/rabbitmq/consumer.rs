//! Consuming: a task per intake that keeps a subscription alive, across outages, for as long as somebody listens.

use super::RabbitMqShared;
use super::connection::LiveConnection;
use super::fault::{ANSWER, AmqpFault};
use super::publish::RETURNED;
use super::unacked::UnackedDelivery;
use crate::backoff::Backoff;
use crate::broker::{BrokerError, Consumer, Delivery, Queue};
use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::Channel;
use lapin::message::Delivery as Message;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::{debug, warn};

/// How often a subscription that brings nothing is looked at: a stream may hang on a channel that is closed.
const LOOK: Duration = Duration::from_secs(1);

/// A subscription that brought nothing for so long, and has nothing on loan, is made anew. When a queue is deleted and declared
/// again at once, RabbitMQ may move a consumer over to the new queue and give it messages that never leave the broker; the end
/// of its channel sets them free.
const IDLE: Duration = Duration::from_secs(30);

/// A consumer of one lane.
pub(super) struct RabbitMqConsumer {
    shared: Arc<RabbitMqShared>,
    /// Never holds more than the prefetch, which the broker keeps to.
    unacked: mpsc::UnboundedReceiver<Result<UnackedDelivery, AmqpFault>>,
}

impl RabbitMqConsumer {
    /// Subscribes; when the broker cannot be reached just now, it will be later.
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
    /// Cancel safe: a loan is taken off the channel in the same poll that returns it.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        loop {
            let next = tokio::select! {
                biased;
                () = self.shared.closing.cancelled() => return Ok(None),
                next = self.unacked.recv() => next,
            };
            match next {
                // Its connection broke while it lay here: it comes again, and nobody should work on it twice.
                Some(Ok(unacked)) if unacked.expired() => {}
                Some(Ok(unacked)) => {
                    let (body, redelivered) = (unacked.body.clone(), unacked.redelivered);
                    return Ok(Some(Delivery::new(body, redelivered, Box::new(unacked))));
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
    /// RabbitMqShared with the loans of the subscription.
    channel: Arc<Channel>,
    consumer: lapin::Consumer,
}

/// Why a subscription ended.
enum SubscriptionEnd {
    /// It can be made again.
    Broken(String),
    /// It should be made again, to be sure.
    Idle,
    /// Nobody listens any more.
    Unwanted,
    /// The queue is closed.
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
                        // Nobody may listen any more.
                        let _ = self.hand.send(Err(fault));
                        return;
                    }
                },
            };
            match self.forward(current).await {
                SubscriptionEnd::Broken(reason) => {
                    warn!(queue = %self.queue, reason, "the subscription broke, making it again")
                }
                SubscriptionEnd::Idle => {}
                SubscriptionEnd::Unwanted | SubscriptionEnd::Closed => return,
            }
        }
    }

    /// Subscribes, however long it takes; `None` when nobody listens any more.
    async fn again(&self) -> Result<Option<Subscription>, AmqpFault> {
        let mut backoff = Backoff::default();
        let mut told = false;
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
                AmqpFault::Unreachable(reason) if std::mem::replace(&mut told, true) => {
                    debug!(queue = %self.queue, reason, "still not subscribed");
                }
                AmqpFault::Unreachable(reason) => {
                    warn!(queue = %self.queue, reason, "could not subscribe, trying again and again");
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
        // A broken queue never answers, and that is no reason to take the other lanes' deliveries back.
        let consumer = match timeout(ANSWER, consumed).await {
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
                    "the queue {} takes no consumer; it may be without a leader",
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
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = Instant::now();
        let end = loop {
            tokio::select! {
                () = self.hand.closed() => break SubscriptionEnd::Unwanted,
                () = self.shared.closing.cancelled() => return SubscriptionEnd::Closed,
                message = consumer.next() => match message {
                    // A loan that nobody takes gives itself back.
                    Some(Ok(message)) => {
                        last = Instant::now();
                        drop(self.hand.send(Ok(self.unacked(&channel, message))));
                    }
                    Some(Err(e)) => return SubscriptionEnd::Broken(e.to_string()),
                    None => {
                        // What is on loan may be taken back, as by a consumer timeout since RabbitMQ 4.3, and an ack of it would
                        // be called good: without their channel all loans are seen to have expired.
                        let closed = channel.close(200, "its consumer was ended".into());
                        let _ = timeout(ANSWER, closed).await;
                        return SubscriptionEnd::Broken(
                            "the broker ended it: the queue was deleted, or a delivery was held beyond the consumer timeout"
                                .to_owned(),
                        );
                    }
                },
                _ = look.tick() => if !channel.status().connected() {
                    return SubscriptionEnd::Broken("its channel is closed".to_owned());
                } else if Arc::strong_count(&channel) > 1 {
                    last = Instant::now();
                } else if last.elapsed() > IDLE {
                    break SubscriptionEnd::Idle;
                },
            }
        };
        self.wind_down(&channel, consumer).await;
        end
    }

    /// Ends the subscription and hands on what it still brings, or gives that back when nobody listens. Loans keep the channel.
    async fn wind_down(&self, channel: &Arc<Channel>, mut consumer: lapin::Consumer) {
        let cancelled = channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        if !matches!(timeout(ANSWER, cancelled).await, Ok(Ok(()))) {
            return;
        }
        while let Ok(Some(Ok(message))) = timeout(ANSWER, consumer.next()).await {
            drop(self.hand.send(Ok(self.unacked(channel, message))));
        }
    }

    fn unacked(&self, channel: &Arc<Channel>, message: Message) -> UnackedDelivery {
        let returned = message
            .properties
            .headers()
            .as_ref()
            .is_some_and(|headers| headers.inner().contains_key(RETURNED));
        UnackedDelivery::new(
            Arc::clone(&self.shared),
            self.queue.clone(),
            Arc::clone(channel),
            message.delivery_tag,
            message.data,
            message.redelivered || returned,
        )
    }
}
