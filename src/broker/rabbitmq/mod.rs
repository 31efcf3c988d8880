//! The broker on RabbitMQ 3.10 and later, for workers on many machines.
//!
//! Each queue is a durable quorum queue: `bsft.NAMESPACE.v1.bootstrap`, `….finetune` and
//! `….completions.RUN`. Messages that are rejected, or delivered a hundred times without an ack, go to
//! `….dead.QUEUE`. A process has two connections, one for publishing and one for consuming. A supervisor
//! replaces each when it breaks.
//!
//! - **Publishing** waits for the confirmation of every message, with hundreds in flight. RabbitMQ also
//!   confirms messages that no queue received, so each is sent `mandatory`; returned messages are published
//!   again after the queue is redeclared.
//! - **Consuming** hides outages: a consumer resubscribes until it is dropped. Deliveries of a broken
//!   connection are not returned, and resolving one fails with [`BrokerError::ReceiptExpired`].
//! - **Requeueing with a delay** publishes a copy to a wait queue, `….wait.QUEUE.…ms`, whose messages
//!   expire back into the queue, and then acks the original. Holding the delivery in the process would use
//!   up the prefetch. A delayed nack would count as a failed delivery, and a fine-tune task that is polled
//!   for hours would collect too many. The process holds the delivery only if the copy cannot be published.
//!   A crash loses neither.

mod connection;
mod consumer;
mod error_conversion;
mod forget;
mod names;
mod publish;
mod supervisor;
mod topology;
mod unacked;
mod url;

pub use self::forget::RemovedMessages;

use self::connection::ConnectionRole;
use self::consumer::RabbitMqConsumer;
use self::error_conversion::{ANSWER_TIMEOUT, AmqpFault};
use self::names::Names;
use self::publish::Publisher;
use self::supervisor::AmqpLink;
use self::topology::AmqpTopology;
use self::url::AmqpAddress;
use super::{Broker, BrokerError, Consumer, Queue};
use crate::service_url::ServiceUrl;
use async_trait::async_trait;
use lapin::types::ShortString;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// The queues of one namespace. Clones share their connections.
#[derive(Clone)]
pub struct RabbitMqBroker {
    shared: Arc<RabbitMqShared>,
}

/// State that the broker, its consumers and its deliveries share. The connections close when the last of
/// them is dropped.
struct RabbitMqShared {
    address: AmqpAddress,
    topology: Arc<AmqpTopology>,
    publisher: Publisher,
    consuming: AmqpLink,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl RabbitMqBroker {
    /// Checks the syntax of URL and namespace, without a network call. Returns what messages contain of the URL.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Refused`] with the expected syntax.
    pub fn check(url: &str, namespace: &str) -> Result<ServiceUrl, BrokerError> {
        let address = AmqpAddress::parse(url)?;
        Names::new(namespace)?;
        Ok(address.into_url())
    }

    /// Checks that both connections are up, and that the one which RabbitMQ never blocks answers a request.
    ///
    /// # Errors
    ///
    /// The cause, at once if a connection is known to be broken.
    pub async fn probe(&self) -> Result<(), BrokerError> {
        let shared = &self.shared;
        let asked = async {
            shared.publisher.is_up()?;
            let live = shared.consuming.up_now()?;
            let declaration = shared.topology.names.queue(&Queue::Bootstrap);
            shared.topology.ready(&live, &declaration.name).await
        };
        asked.await.map(drop).map_err(|fault| shared.address.error(fault))
    }

    async fn ready(&self, name: &ShortString) -> Result<usize, BrokerError> {
        let shared = &self.shared;
        let asked = async {
            // RabbitMQ never blocks the consuming connection.
            let live = shared.consuming.up_soon().await?;
            shared.topology.ready(&live, name).await
        };
        let ready = asked.await.map_err(|fault| shared.address.error(fault))?;
        Ok(ready.map_or(0, |ready| ready as usize))
    }

    /// Connects to `amqp://user:password@host:port/vhost` (`amqps://` for TLS), checks the user's
    /// permissions, and declares the task queues.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unreachable`] when no server answers there. [`BrokerError::Refused`] when the URL,
    /// the password, the vhost, a permission or a queue's arguments must be changed. Both contain what was
    /// tried and what to check, and the URL without its password.
    pub async fn connect(url: &str, namespace: &str) -> Result<RabbitMqBroker, BrokerError> {
        let address = AmqpAddress::parse(url)?;
        let topology = AmqpTopology::new(Names::new(namespace)?, &address);
        match connect(address.clone(), topology).await {
            Ok(shared) => Ok(RabbitMqBroker {
                shared: Arc::new(shared),
            }),
            Err(fault) => Err(address.error(fault)),
        }
    }

    /// Ends every consumer for good and closes the connections. Publishing fails from now on, and RabbitMQ
    /// requeues unacked messages. Earlier acks have reached the broker when this returns.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        if timeout(ANSWER_TIMEOUT, self.shared.tasks.wait()).await.is_err() {
            warn!(timeout = ?ANSWER_TIMEOUT, "rabbitmq connections not closed in time");
        }
    }
}

async fn connect(address: AmqpAddress, topology: AmqpTopology) -> Result<RabbitMqShared, AmqpFault> {
    let closing = CancellationToken::new();
    let tasks = TaskTracker::new();
    let abandoned = closing.clone().drop_guard();
    let publishing = AmqpLink::open(&address, ConnectionRole::Publish, &closing, &tasks).await?;
    let live = publishing.up_soon().await?;
    topology.probe(&live).await?;
    let consuming = AmqpLink::open(&address, ConnectionRole::Consume, &closing, &tasks).await?;
    // RabbitMQ may block the publishing connection.
    let live = consuming.up_soon().await?;
    for queue in [Queue::Bootstrap, Queue::Finetune] {
        topology.ensure(&live, &topology.names.queue(&queue)).await?;
    }
    let topology = Arc::new(topology);
    abandoned.disarm();
    Ok(RabbitMqShared {
        address,
        publisher: Publisher::new(publishing, Arc::clone(&topology)),
        topology,
        consuming,
        closing,
        tasks,
    })
}

impl Drop for RabbitMqShared {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

#[async_trait]
impl Broker for RabbitMqBroker {
    async fn publish(&self, queue: &Queue, messages: Vec<Vec<u8>>) -> Result<(), BrokerError> {
        let shared = &self.shared;
        let declaration = shared.topology.names.queue(queue);
        let sent = tokio::select! {
            biased;
            () = shared.closing.cancelled() => Err(AmqpFault::Closed),
            sent = shared.publisher.send(&declaration, messages) => sent,
        };
        sent.map_err(|fault| shared.address.error(fault))
    }

    async fn depth(&self, queue: &Queue) -> Result<usize, BrokerError> {
        self.ready(&self.shared.topology.names.queue(queue).name).await
    }

    async fn dead_letter_count(&self, queue: &Queue) -> Result<usize, BrokerError> {
        let declared = self.shared.topology.names.queue(queue);
        match declared.dead {
            Some(dead) => self.ready(&dead.name).await,
            None => Ok(0),
        }
    }

    async fn consume(&self, queue: &Queue, prefetch: NonZeroUsize) -> Result<Box<dyn Consumer>, BrokerError> {
        match RabbitMqConsumer::start(&self.shared, queue, prefetch).await {
            Ok(consumer) => Ok(Box::new(consumer)),
            Err(fault) => Err(self.shared.address.error(fault)),
        }
    }
}
