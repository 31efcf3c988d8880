//! The queues on the broker: finding out what we may do, declaring, and replacing a queue that is broken.
//!
//! A quorum queue that is younger than about a second when its broker is killed comes back without its messages,
//! confirmed ones too, and never confirms one again (seen on RabbitMQ 3.10 and 4.0: the registry of queue members is not
//! synced when a queue is declared). Two things make up for that: nothing that was published to a queue declared
//! here counts as safe before the queue is [`SAFE_AGE`] old, and a queue that stays silent while its connection is well is
//! deleted and declared anew. What it had not confirmed is published again by whoever owns it.

use super::connection::LiveConnection;
use super::fault::{AmqpFault, NOT_FOUND, PRECONDITION, REFUSED, reply_code};
use super::names::{Declaration, Names};
use super::url::AmqpAddress;
use lapin::BasicProperties;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{FieldTable, ShortString};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::warn;

/// At what age a queue keeps its messages whatever happens to the broker.
const SAFE_AGE: Duration = Duration::from_secs(2);

/// How long a queue that is gone stays gone: its consumers hear of it only while there is no new one of its name.
const MOURNING: Duration = Duration::from_secs(1);

/// Held by whoever replaces a queue; it goes with the connection at the latest.
pub(super) struct QueueLock {
    name: ShortString,
}

impl QueueLock {
    /// Lets the next one have it.
    pub(super) async fn release(self, live: &LiveConnection) -> Result<(), AmqpFault> {
        let channel = live.channel().await?;
        let deleted = channel.queue_delete(self.name, QueueDeleteOptions::default());
        live.done("let go of a queue", deleted).await?;
        Ok(())
    }
}

/// What this process knows of the queues.
pub(super) struct AmqpTopology {
    pub(super) names: Names,
    user: String,
    vhost: String,
    /// When queues were made that did not exist before.
    born: Mutex<HashMap<ShortString, Instant>>,
}

impl AmqpTopology {
    pub(super) fn new(names: Names, address: &AmqpAddress) -> AmqpTopology {
        AmqpTopology {
            names,
            user: address.user().to_owned(),
            vhost: address.vhost().to_owned(),
            born: Mutex::default(),
        }
    }

    /// Tries everything that the queue's work takes, on a queue that goes with the connection. On the way it shows that the
    /// connection is well.
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
            // Nothing leaves this connection now, and its queue goes with it. Whether we may write turns out later.
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

    /// Sees to it that the queue exists, once per connection.
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
            self.born().insert(name.clone(), Instant::now());
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

    /// How many messages are ready in the queue; `None` when there is no such queue.
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
            Err(e) => Err(AmqpFault::new(&format!("look at the queue {name}"), &e)),
        }
    }

    /// When the queue will keep its messages whatever happens to the broker; `None` when it does already.
    pub(super) fn safe_at(&self, name: &ShortString) -> Option<Instant> {
        self.born().get(name).map(|born| *born + SAFE_AGE)
    }

    /// Finds the queue still there after that time, over the connection that it was published over: a broker that was killed
    /// meanwhile would not answer on it.
    pub(super) async fn is_safe(&self, live: &LiveConnection, name: &ShortString) -> Result<(), AmqpFault> {
        if self.ready(live, name).await?.is_none() {
            return Err(AmqpFault::Unreachable(format!(
                "the new queue {name} is gone again"
            )));
        }
        self.born().remove(name);
        Ok(())
    }

    /// Keeps everybody else from replacing the queue: only one connection can have a queue that is exclusive.
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
        live.done(&format!("have {name} to ourselves"), declared).await?;
        Ok(QueueLock { name })
    }

    /// Replaces a queue that confirms nothing although its connection is well.
    pub(super) async fn renew(
        &self,
        live: &LiveConnection,
        declaration: &Declaration,
    ) -> Result<(), AmqpFault> {
        let name = &declaration.name;
        warn!(queue = %name, "the queue confirms nothing any more: it is deleted and declared anew");
        let channel = live.channel().await?;
        let deleted = channel.queue_delete(name.clone(), QueueDeleteOptions::default());
        // Without the majority of its nodes RabbitMQ refuses, and it is right: the messages are on the others.
        live.done(&format!("delete the broken queue {name}"), deleted)
            .await
            .map_err(|fault| fault.hint("an operator can try rabbitmqctl delete_queue"))?;
        self.replace(live, declaration).await
    }

    /// Declares a queue that is gone.
    pub(super) async fn replace(
        &self,
        live: &LiveConnection,
        declaration: &Declaration,
    ) -> Result<(), AmqpFault> {
        live.forget(&declaration.name);
        sleep(MOURNING).await;
        self.ensure(live, declaration).await
    }

    fn born(&self) -> std::sync::MutexGuard<'_, HashMap<ShortString, Instant>> {
        self.born.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
