//! Queues on the broker: checking permissions, declaring, and replacing broken ones.
//!
//! A quorum queue that is younger than about a second when its broker is killed comes back without its
//! messages, even confirmed ones, and never confirms another (seen on RabbitMQ 3.10 and 4.0: the registry
//! of queue members is not synced when a queue is declared). Two measures compensate. Messages in a new
//! queue count as durable only when the queue is [`SAFE_AGE`] old. A queue that stays silent on a working
//! connection is deleted and redeclared; the publisher of the lost messages publishes them again.

use super::connection::LiveConnection;
use super::error_conversion::{AmqpFault, NOT_FOUND, PRECONDITION, REFUSED, reply_code};
use super::names::{Declaration, Names};
use super::url::AmqpAddress;
use crate::lock::lock;
use lapin::BasicProperties;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{FieldTable, ShortString};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::warn;

/// The age at which a queue survives any crash of the broker.
const SAFE_AGE: Duration = Duration::from_secs(2);

/// How long a deleted queue stays deleted: RabbitMQ notifies its consumers only while no queue has its
/// name.
const REDECLARE_DELAY: Duration = Duration::from_secs(1);

/// Held while a queue is replaced. RabbitMQ releases it with the connection at the latest.
pub(super) struct QueueLock {
    name: ShortString,
}

impl QueueLock {
    pub(super) async fn release(self, live: &LiveConnection) -> Result<(), AmqpFault> {
        let channel = live.channel().await?;
        let deleted = channel.queue_delete(self.name, QueueDeleteOptions::default());
        live.done("release the lock of a queue", deleted).await?;
        Ok(())
    }
}

/// What this process knows about the queues.
pub(super) struct AmqpTopology {
    pub(super) names: Names,
    user: String,
    vhost: String,
    /// Creation times of queues that did not exist before.
    created: Mutex<HashMap<ShortString, Instant>>,
}

impl AmqpTopology {
    pub(super) fn new(names: Names, address: &AmqpAddress) -> AmqpTopology {
        AmqpTopology {
            names,
            user: address.user().to_owned(),
            vhost: address.vhost().to_owned(),
            created: Mutex::default(),
        }
    }

    /// Tries every permission the broker needs, on a queue that RabbitMQ deletes with the connection.
    /// Success also proves that the connection works.
    pub(super) async fn probe(&self, live: &LiveConnection) -> Result<(), AmqpFault> {
        let name = self.names.probe();
        let channel = live.channel().await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(name.clone(), exclusive, FieldTable::default());
        live.done("declare a queue", declared)
            .await
            .map_err(|fault| self.permission(fault, "configure", r"bsft\..*"))?;
        let got = channel.basic_get(name.clone(), BasicGetOptions::default());
        live.done("read from a queue", got)
            .await
            .map_err(|fault| self.permission(fault, "read", r"bsft\..*"))?;
        let published = async {
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            let confirm = channel.basic_publish(
                ShortString::default(),
                name.clone(),
                BasicPublishOptions::default(),
                b"probe",
                BasicProperties::default(),
            );
            confirm.await?.await
        };
        tokio::select! {
            published = live.done("publish to a queue", published) => {
                published.map_err(|fault| self.permission(fault, "write", r"amq\.default"))?;
            }
            // A blocked connection sends nothing now. A missing write permission shows at the first publish.
            () = live.until_blocked() => return Ok(()),
        }
        let deleted = channel.queue_delete(name, QueueDeleteOptions::default());
        live.done("delete a queue", deleted).await?;
        Ok(())
    }

    fn permission(&self, fault: AmqpFault, permission: &str, pattern: &str) -> AmqpFault {
        match fault {
            AmqpFault::Refused(_) => fault.hint(&format!(
                "the user {:?} needs the {permission} permission for names like ^({pattern})$ in the vhost {:?} (see \
                 rabbitmqctl list_permissions -p {1}; set them with rabbitmqctl set_permissions)",
                self.user, self.vhost
            )),
            AmqpFault::Closed | AmqpFault::Unreachable(_) => fault,
        }
    }

    /// Declares the queue, once per connection.
    pub(super) async fn ensure(
        &self,
        live: &LiveConnection,
        declaration: &Declaration,
    ) -> Result<(), AmqpFault> {
        if live.has_declared(&declaration.name) {
            return Ok(());
        }
        if let Some(dead) = &declaration.dead {
            self.declare(live, dead).await?;
        }
        self.declare(live, declaration).await?;
        live.remember(declaration.name.clone());
        Ok(())
    }

    async fn declare(&self, live: &LiveConnection, declaration: &Declaration) -> Result<(), AmqpFault> {
        let name = &declaration.name;
        if self.ready(live, name).await?.is_none() {
            self.created().insert(name.clone(), Instant::now());
        }
        let channel = live.channel().await?;
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let doing = format!("declare the queue {name}");
        let declared = channel.queue_declare(name.clone(), durable, declaration.arguments.clone());
        live.answer(declared).await?.map(drop).map_err(|e| {
            let fault = AmqpFault::new(&doing, &e);
            match reply_code(&e) {
                Some(REFUSED) => self.permission(fault, "configure", r"bsft\..*"),
                Some(PRECONDITION) => fault.hint(
                    "it exists with other arguments: delete it when it is empty, or use another namespace",
                ),
                _ => fault,
            }
        })
    }

    /// The number of ready messages, or `None` if the queue does not exist.
    pub(super) async fn ready(
        &self,
        live: &LiveConnection,
        name: &ShortString,
    ) -> Result<Option<u32>, AmqpFault> {
        let channel = live.channel().await?;
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let asked = channel.queue_declare(name.clone(), passive, FieldTable::default());
        match live.answer(asked).await? {
            Ok(queue) => Ok(Some(queue.message_count())),
            Err(e) if reply_code(&e) == Some(NOT_FOUND) => Ok(None),
            Err(e) => Err(AmqpFault::new(&format!("inspect the queue {name}"), &e)),
        }
    }

    /// When a new queue becomes durable; `None` if it already is.
    pub(super) fn safe_at(&self, name: &ShortString) -> Option<Instant> {
        self.created().get(name).map(|created| *created + SAFE_AGE)
    }

    /// Checks that the queue still exists, over the connection that published to it: a broker that was
    /// killed since then would not answer on it.
    pub(super) async fn is_safe(&self, live: &LiveConnection, name: &ShortString) -> Result<(), AmqpFault> {
        if self.ready(live, name).await?.is_none() {
            return Err(AmqpFault::Unreachable(format!(
                "the new queue {name} disappeared"
            )));
        }
        self.created().remove(name);
        Ok(())
    }

    /// Prevents others from replacing the queue: an exclusive queue belongs to one connection.
    pub(super) async fn lock(
        &self,
        live: &LiveConnection,
        name: &ShortString,
    ) -> Result<QueueLock, AmqpFault> {
        let name: ShortString = format!("{name}.doctor").into();
        let channel = live.channel().await?;
        let exclusive = QueueDeclareOptions {
            exclusive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(name.clone(), exclusive, FieldTable::default());
        live.done(&format!("lock {name}"), declared).await?;
        Ok(QueueLock { name })
    }

    /// Replaces a queue that confirms nothing although its connection works.
    pub(super) async fn renew(
        &self,
        live: &LiveConnection,
        declaration: &Declaration,
    ) -> Result<(), AmqpFault> {
        let name = &declaration.name;
        warn!(queue = %name, "queue stopped confirming; redeclaring it");
        let channel = live.channel().await?;
        let deleted = channel.queue_delete(name.clone(), QueueDeleteOptions::default());
        // RabbitMQ refuses without a majority of the queue's nodes, rightly: the messages are on the others.
        live.done(&format!("delete the broken queue {name}"), deleted)
            .await
            .map_err(|fault| fault.hint("an operator can try rabbitmqctl delete_queue"))?;
        self.replace(live, declaration).await
    }

    /// Declares a queue that no longer exists.
    pub(super) async fn replace(
        &self,
        live: &LiveConnection,
        declaration: &Declaration,
    ) -> Result<(), AmqpFault> {
        live.forget(&declaration.name);
        sleep(REDECLARE_DELAY).await;
        self.ensure(live, declaration).await
    }

    fn created(&self) -> std::sync::MutexGuard<'_, HashMap<ShortString, Instant>> {
        lock(&self.created)
    }
}
