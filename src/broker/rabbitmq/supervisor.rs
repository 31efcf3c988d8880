//! Keeps one connection up: detects that it is gone, reconnects with backoff, and publishes its state.
//!
//! lapin's own recovery does not suffice: consumers hang forever after a channel error, publishing hangs
//! during an outage, and it gives up after a few tries. So a broken connection is dropped as a whole and
//! rebuilt here.

use super::connection::{ConnectionRole, LiveConnection, check_greeting};
use super::error_conversion::AmqpFault;
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

/// How often a silent connection is checked.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long publishing waits for a broken connection to return before it fails.
const UP_TIMEOUT: Duration = Duration::from_secs(10);

/// How long closing may take. Under load RabbitMQ sometimes never answers, and stopping a worker waits for
/// this. Messages that are not acked by then are redelivered, and their outcomes are found in the store.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Clone)]
enum LinkState {
    Up(Arc<LiveConnection>),
    Down(AmqpFault),
}

/// A connection that is replaced when it breaks.
#[derive(Clone)]
pub(super) struct AmqpLink {
    state: watch::Receiver<LinkState>,
    closing: CancellationToken,
}

impl AmqpLink {
    /// Connects. A task on the tracker reconnects until `closing`.
    pub(super) async fn open(
        address: &AmqpAddress,
        role: ConnectionRole,
        closing: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<AmqpLink, AmqpFault> {
        let live = Arc::new(LiveConnection::open(address, role).await?);
        let (states, state) = watch::channel(LinkState::Up(Arc::clone(&live)));
        let supervisor = Supervisor {
            address: address.clone(),
            role,
            states,
        };
        let stop = closing.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                never = supervisor.run(live) => match never {},
            }
            let last = supervisor.states.send_replace(LinkState::Down(AmqpFault::Closed));
            if let LinkState::Up(live) = last {
                // An answered close confirms all earlier acks; an unanswered one is equivalent to a crash.
                let closed = live.connection.close(200, "bye".into());
                match timeout(CLOSE_TIMEOUT, closed).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => debug!(%error, "connection not closed cleanly"),
                    Err(_) => debug!(timeout = ?CLOSE_TIMEOUT, "connection not closed in time"),
                }
            }
        });
        Ok(AmqpLink {
            state,
            closing: closing.clone(),
        })
    }

    /// Waits for a usable connection. Only a refusal ends the wait with an error.
    pub(super) async fn up(&self) -> Result<Arc<LiveConnection>, AmqpFault> {
        let mut state = self.state.clone();
        loop {
            if self.closing.is_cancelled() {
                return Err(AmqpFault::Closed);
            }
            match &*state.borrow_and_update() {
                LinkState::Up(live) if live.usable() => return Ok(Arc::clone(live)),
                LinkState::Up(live) => live.condemn(),
                LinkState::Down(fault @ (AmqpFault::Refused(_) | AmqpFault::Closed)) => {
                    return Err(fault.clone());
                }
                LinkState::Down(AmqpFault::Unreachable(_)) => {}
            }
            if state.changed().await.is_err() {
                return Err(AmqpFault::Closed);
            }
        }
    }

    /// Returns the connection if it is usable now, else the cause.
    pub(super) fn up_now(&self) -> Result<Arc<LiveConnection>, AmqpFault> {
        match &*self.state.borrow() {
            LinkState::Up(live) if live.usable() => Ok(Arc::clone(live)),
            LinkState::Up(_) => Err(AmqpFault::Unreachable("the connection broke".to_owned())),
            LinkState::Down(fault) => Err(fault.clone()),
        }
    }

    /// Waits up to [`UP_TIMEOUT`] for a usable connection.
    pub(super) async fn up_soon(&self) -> Result<Arc<LiveConnection>, AmqpFault> {
        match timeout(UP_TIMEOUT, self.up()).await {
            Ok(up) => up,
            Err(_) => Err(match &*self.state.borrow() {
                LinkState::Down(fault) => fault.clone(),
                LinkState::Up(_) => {
                    AmqpFault::Unreachable(format!("no usable connection for {UP_TIMEOUT:?}"))
                }
            }),
        }
    }
}

struct Supervisor {
    address: AmqpAddress,
    role: ConnectionRole,
    states: watch::Sender<LinkState>,
}

impl Supervisor {
    async fn run(&self, first: Arc<LiveConnection>) -> Infallible {
        let mut live = first;
        loop {
            let reason = self.watch(&live).await;
            live.condemn();
            warn!(
                connection = self.role.name(),
                reason, "rabbitmq connection lost; reconnecting"
            );
            self.states
                .send_replace(LinkState::Down(AmqpFault::Unreachable(reason)));
            drop(live);
            live = self.again().await;
            info!(connection = self.role.name(), "rabbitmq connection restored");
            self.states.send_replace(LinkState::Up(Arc::clone(&live)));
        }
    }

    /// Returns why the connection is no longer usable.
    async fn watch(&self, live: &LiveConnection) -> String {
        let mut events = live.connection.events_listener().boxed();
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = live.condemned() => return "it broke or stopped answering".to_owned(),
                _ = poll.tick() => if !live.connection.status().connected() {
                    return "the connection closed".to_owned();
                },
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => warn!(
                        connection = self.role.name(), reason,
                        "rabbitmq blocks publishing: it is short of memory or disk"
                    ),
                    Some(Event::ConnectionUnblocked) => {
                        info!(connection = self.role.name(), "rabbitmq accepts messages again");
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
                check_greeting(&self.address).await?;
                LiveConnection::open(&self.address, self.role).await
            };
            match opened.await {
                Ok(live) => return Arc::new(live),
                Err(fault) => {
                    if matches!(fault, AmqpFault::Refused(_)) && !std::mem::replace(&mut refused, true) {
                        warn!(
                            connection = self.role.name(),
                            reason = fault.message(),
                            "rabbitmq refuses the login"
                        );
                    }
                    self.states.send_replace(LinkState::Down(fault));
                }
            }
        }
    }
}
