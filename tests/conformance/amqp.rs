//! The queue on RabbitMQ: every case, on a broker that is shared, each in a namespace of its own.

mod client_pitfalls;
mod crashes;
mod dead_letters;
mod forget;
mod operator_errors;

use crate::conformance::broker::{BrokerUnderTest, at_most, broker_cases};
use crate::support::rabbitmq;
use async_trait::async_trait;
use bsft::broker::rabbitmq::RabbitMqBroker;
use bsft::broker::{Broker, BrokerError, Consumer, Delivery, Queue};
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long anything that must happen may take, broker restarts included, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);
/// Between two looks at something that the broker does by itself.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A queue in a namespace of its own, and the broker's own view of it.
struct Fresh {
    broker: RabbitMqBroker,
    url: String,
    namespace: String,
}

impl Fresh {
    async fn on(url: String) -> Fresh {
        let namespace = format!("test-{:016x}", fastrand::u64(..));
        Fresh {
            broker: RabbitMqBroker::connect(&url, &namespace).await.unwrap(),
            url,
            namespace,
        }
    }

    fn name(&self, of: &str) -> String {
        format!("bsft.{}.v1.{of}", self.namespace)
    }
}

/// A channel that the queue under test knows nothing of.
async fn raw_channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

#[async_trait]
impl BrokerUnderTest for Fresh {
    fn available() -> bool {
        rabbitmq::installed()
    }

    async fn start() -> Fresh {
        Fresh::on(rabbitmq::shared_url()).await
    }

    fn broker(&self) -> &dyn Broker {
        &self.broker
    }

    /// The broker moves dead letters when it likes.
    async fn dead_letters(&self, queue: &Queue, expected: usize) -> Vec<Vec<u8>> {
        let (_connection, channel) = raw_channel(&self.url).await;
        let broker = self.name(&format!("dead.{}", queue.name()));
        let deadline = Instant::now() + PATIENCE;
        let mut dead = Vec::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let get = || channel.basic_get(broker.as_str().into(), BasicGetOptions::default());
            while let Some(message) = get().await.unwrap() {
                dead.push(message.delivery.data.clone());
                message
                    .delivery
                    .acker
                    .ack(BasicAckOptions::default())
                    .await
                    .unwrap();
            }
            if dead.len() >= expected {
                return dead;
            }
            assert!(Instant::now() < deadline, "{expected} dead letters in {broker}");
        }
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

broker_cases!(Fresh, tokio::test(flavor = "multi_thread", worker_threads = 2));

fn numbered(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    range.map(|i| i.to_be_bytes().to_vec()).collect()
}

fn number(body: &[u8]) -> u32 {
    u32::from_be_bytes(body.try_into().unwrap())
}

async fn take(consumer: &mut Box<dyn Consumer>) -> Delivery {
    timeout(PATIENCE, consumer.next())
        .await
        .expect("a delivery comes")
        .unwrap()
        .expect("the queue is open")
}

/// Publishes as every caller does: again, until it is safe.
async fn publish(broker: &RabbitMqBroker, queue: &Queue, messages: Vec<Vec<u8>>) {
    let repeated = async {
        loop {
            match broker.publish(queue, messages.clone()).await {
                Err(BrokerError::Unreachable { .. }) => {}
                done => break done.unwrap(),
            }
        }
    };
    timeout(PATIENCE, repeated)
        .await
        .expect("it is published in the end");
}

/// Consumes and acks until every message arrived at least once.
async fn take_all(consumer: &mut Box<dyn Consumer>, expected: std::ops::Range<u32>) -> Vec<(u32, bool)> {
    let mut missing: BTreeSet<u32> = expected.collect();
    let mut taken = Vec::new();
    while !missing.is_empty() {
        let delivery = take(consumer).await;
        let (number, redelivered) = (number(&delivery.body), delivery.redelivered);
        match delivery.ack().await {
            Ok(()) => {
                missing.remove(&number);
                taken.push((number, redelivered));
            }
            Err(BrokerError::ReceiptExpired) => {}
            Err(e) => panic!("{e}"),
        }
    }
    taken
}
