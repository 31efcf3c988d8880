//! The queue on RabbitMQ, 3.10 and later, for workers on many machines.
//!
//! A lane is a durable quorum queue, `bsft.NAMESPACE.v1.bootstrap`, `….finetune` and `….completions.RUN`; what is
//! rejected, or delivered a hundred times without being settled, goes to `….dead.LANE`. A process has two connections, one
//! that publishes and one that consumes, each with a supervisor that replaces it when it breaks.
//!
//! - **Publishing** waits for the broker's confirmation of every message, hundreds on their way at a time. A message that no queue
//!   took is confirmed like any other, so each is sent `mandatory` and what comes back is published again, to the queue declared anew.
//! - **Consuming** hides outages: an intake subscribes again for as long as somebody listens. A delivery whose
//!   connection broke is not handed out, and settling it says that it expired.
//! - **Returning with a delay** publishes a copy to a wait queue, `….wait.LANE.…ms`, whose messages go back to the lane when
//!   their time is over, and then acks. Holding the delivery in the process would use up the prefetch, and nacking it later would
//!   count as a failed delivery, of which a fine-tune task that is looked at for hours would have too many. Only when the
//!   copy cannot be published is it held. A process that dies loses neither.

mod connection;
mod consumer;
mod fault;
mod names;
mod publish;
mod supervisor;
mod topology;
mod unacked;
mod url;

use self::connection::ConnectionRole;
use self::consumer::RabbitMqConsumer;
use self::fault::{ANSWER, AmqpFault};
use self::names::Names;
use self::publish::Publisher;
use self::supervisor::AmqpLink;
use self::topology::AmqpTopology;
use self::url::AmqpAddress;
use super::{Broker, BrokerError, Consumer, Queue};
use async_trait::async_trait;
use lapin::types::ShortString;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

/// The lanes of one namespace on a broker. Clones are the same queue.
#[derive(Clone)]
pub struct RabbitMqBroker {
    shared: Arc<RabbitMqShared>,
}

/// What a queue, its intakes and its deliveries have in common; the connections close with the last of them.
struct RabbitMqShared {
    address: AmqpAddress,
    topology: Arc<AmqpTopology>,
    publisher: Publisher,
    consuming: AmqpLink,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl RabbitMqBroker {
    /// Whether URL and namespace are what [`RabbitMqBroker::connect`] can work with; asks nobody.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Refused`], saying how they are written.
    pub fn check(url: &str, namespace: &str) -> Result<(), BrokerError> {
        AmqpAddress::parse(url)?;
        Names::new(namespace).map(drop)
    }

    /// Whether the broker answers now: both connections are up, and a question on the one that is never blocked has its answer.
    ///
    /// # Errors
    ///
    /// Why it does not, at once where a connection is known to be broken.
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
            // The connection that is never blocked.
            let live = shared.consuming.up_soon().await?;
            shared.topology.ready(&live, name).await
        };
        let ready = asked.await.map_err(|fault| shared.address.error(fault))?;
        Ok(ready.map_or(0, |ready| ready as usize))
    }

    /// Connects to the broker at `amqp://user:password@host:port/vhost` (`amqps://` for TLS), tries whether the user has the
    /// permissions that the queue takes, and declares the lanes that every namespace has.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unreachable`] when nobody answers there, now; [`BrokerError::Refused`] when the URL, the password, the
    /// vhost, a permission or a queue that is declared otherwise has to be put right. Both say what was tried and what
    /// to check, and show the URL without its password.
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

    /// Ends every intake, once and for all, and closes the connections: nothing can be published any more, and what is
    /// not settled goes back to its lane. Acks that were written before are with the broker when this returns.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.shared.tasks.close();
        if timeout(ANSWER, self.shared.tasks.wait()).await.is_err() {
            warn!("the queue's connections did not close in {ANSWER:?}");
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
    // Not over the one that publishes: it may be blocked.
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
