//! Keeps one connection up: notices that it is gone, waits, connects again, and tells everybody who uses it.
//!
//! lapin can recover by itself, but its consumers hang for ever after an error of their channel, publishing hangs during an
//! outage, and it gives up after some tries. So a broken connection is dropped here, whole, and everything on it made anew.

use super::connection::{ConnectionRole, LiveConnection, greets};
use super::fault::AmqpFault;
use super::url::AmqpAddress;
use crate::backoff::Backoff;
use futures_util::StreamExt as _;
use lapin::Event;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

/// How often a connection that says nothing is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How long somebody who wants to publish waits for a broken connection to come back, before hearing of it.
const OUTAGE: Duration = Duration::from_secs(10);

/// How long the end of a connection is waited for: now and then one under load is never answered, and whoever stops a worker waits for it. What
/// is not acknowledged by then is delivered again and finds its outcome stored.
const FAREWELL: Duration = Duration::from_secs(3);

#[derive(Clone)]
enum LinkState {
    Up(Arc<LiveConnection>),
    Down(AmqpFault),
}

/// A connection that is replaced when it breaks.
#[derive(Clone)]
pub(super) struct AmqpLink {
    phase: watch::Receiver<LinkState>,
    closing: CancellationToken,
}

impl AmqpLink {
    /// Connects; what breaks later is mended by a task on the tracker, until `closing`.
    pub(super) async fn open(
        address: &AmqpAddress,
        role: ConnectionRole,
        closing: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<AmqpLink, AmqpFault> {
        let live = Arc::new(LiveConnection::open(address, role).await?);
        let (tell, phase) = watch::channel(LinkState::Up(Arc::clone(&live)));
        let supervisor = Supervisor {
            address: address.clone(),
            role,
            tell,
        };
        let stop = closing.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                never = supervisor.run(live) => match never {},
            }
            let last = supervisor.tell.send_replace(LinkState::Down(AmqpFault::Closed));
            if let LinkState::Up(live) = last {
                // A close that is answered has taken the acks before it along; an unanswered one is as good as a crash.
                let closed = live.connection.close(200, "bye".into());
                match timeout(FAREWELL, closed).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => debug!(%error, "the connection did not close cleanly"),
                    Err(_) => debug!("the connection did not close in {FAREWELL:?}"),
                }
            }
        });
        Ok(AmqpLink {
            phase,
            closing: closing.clone(),
        })
    }

    /// The connection, as soon as there is one. Only a refusal ends the wait.
    pub(super) async fn up(&self) -> Result<Arc<LiveConnection>, AmqpFault> {
        let mut phase = self.phase.clone();
        loop {
            if self.closing.is_cancelled() {
                return Err(AmqpFault::Closed);
            }
            match &*phase.borrow_and_update() {
                LinkState::Up(live) if live.usable() => return Ok(Arc::clone(live)),
                LinkState::Up(live) => live.condemn(),
                LinkState::Down(fault @ (AmqpFault::Refused(_) | AmqpFault::Closed)) => {
                    return Err(fault.clone());
                }
                LinkState::Down(AmqpFault::Unreachable(_)) => {}
            }
            if phase.changed().await.is_err() {
                return Err(AmqpFault::Closed);
            }
        }
    }

    /// The connection, if there is one now; otherwise why not.
    pub(super) fn up_now(&self) -> Result<Arc<LiveConnection>, AmqpFault> {
        match &*self.phase.borrow() {
            LinkState::Up(live) if live.usable() => Ok(Arc::clone(live)),
            LinkState::Up(_) => Err(AmqpFault::Unreachable("the connection broke".to_owned())),
            LinkState::Down(fault) => Err(fault.clone()),
        }
    }

    /// The connection, if there is one before long.
    pub(super) async fn up_soon(&self) -> Result<Arc<LiveConnection>, AmqpFault> {
        match timeout(OUTAGE, self.up()).await {
            Ok(up) => up,
            Err(_) => Err(match &*self.phase.borrow() {
                LinkState::Down(fault) => fault.clone(),
                LinkState::Up(_) => AmqpFault::Unreachable(format!("no usable connection for {OUTAGE:?}")),
            }),
        }
    }
}

struct Supervisor {
    address: AmqpAddress,
    role: ConnectionRole,
    tell: watch::Sender<LinkState>,
}

impl Supervisor {
    async fn run(&self, first: Arc<LiveConnection>) -> Infallible {
        let mut live = first;
        loop {
            let reason = self.watch(&live).await;
            live.condemn();
            warn!(
                connection = self.role.name(),
                reason, "rabbitmq is gone, connecting again"
            );
            self.tell
                .send_replace(LinkState::Down(AmqpFault::Unreachable(reason)));
            drop(live);
            live = self.again().await;
            info!(connection = self.role.name(), "rabbitmq is back");
            self.tell.send_replace(LinkState::Up(Arc::clone(&live)));
        }
    }

    /// Returns why the connection is of no use any more.
    async fn watch(&self, live: &LiveConnection) -> String {
        let mut events = live.connection.events_listener().boxed();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = live.condemned() => return "it stopped answering or broke".to_owned(),
                _ = look.tick() => if !live.connection.status().connected() {
                    return "the connection closed".to_owned();
                },
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => warn!(
                        connection = self.role.name(), reason,
                        "rabbitmq takes no messages: it is short of memory or disk; publishing waits"
                    ),
                    Some(Event::ConnectionUnblocked) => {
                        info!(connection = self.role.name(), "rabbitmq takes messages again");
                    }
                    Some(Event::Error(error)) if !live.connection.status().connected() => {
                        return error.to_string();
                    }
                    Some(_) => {}
                    None => return "the connection ended".to_owned(),
                },
            }
        }
    }

    async fn again(&self) -> Arc<LiveConnection> {
        let mut backoff = Backoff::default();
        let mut refused = false;
        loop {
            backoff.pause().await;
            let opened = async {
                greets(&self.address).await?;
                LiveConnection::open(&self.address, self.role).await
            };
            match opened.await {
                Ok(live) => return Arc::new(live),
                Err(fault) => {
                    if matches!(fault, AmqpFault::Refused(_)) && !std::mem::replace(&mut refused, true) {
                        warn!(
                            connection = self.role.name(),
                            reason = fault.message(),
                            "rabbitmq refuses us"
                        );
                    }
                    self.tell.send_replace(LinkState::Down(fault));
                }
            }
        }
    }
}
