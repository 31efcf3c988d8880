//! The connection: one for all calls, which are pipelined; replaced when it breaks or stops answering.
//!
//! The redis crate's `ConnectionManager` does not suffice: it keeps a connection that no longer answers, it
//! gives up for good when a reconnection is refused (a password that is being changed), and callers wait
//! for its retries. Here a call fails at once or after [`CALL_TIMEOUT`], and the caller decides about
//! retries.

use super::error_conversion::RedisFault;
use super::script::ScriptCall;
use super::url::RedisAddress;
use crate::lock::lock;
use crate::store::StoreError;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, Value};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a call may take, including connecting. Well above a server's pauses (a fork, a slow fsync of
/// several seconds), and below a lease. The command of a timed-out call may still be executed.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Commands that wait for the socket; further callers wait.
const BUFFERED: usize = 1024;

/// Advice for a user that was accepted before.
const LET_IN_AGAIN: &str = "answers in flight wait: let the password that this process has in again (a user may have two), or give \
                            the right back; or stop the process and start it with the right URL, and they are asked for again";

/// The kind of deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RedisTopology {
    /// One server.
    Single,
    /// A cluster; the address is that of one node.
    Cluster,
}

pub(super) struct RedisLink {
    address: RedisAddress,
    topology: RedisTopology,
    /// The permissions of its user, for errors.
    needed: String,
    /// Whether the server has accepted the user. A later refusal means that the server's configuration was
    /// changed.
    was_let_in: AtomicBool,
    current: Mutex<Dialled>,
}

/// A connection that is being made, has been made, or failed. Its awaiting callers drive it.
#[derive(Clone)]
struct Dialled {
    number: u64,
    connection: Shared<BoxFuture<'static, Result<Connection, RedisError>>>,
}

#[derive(Clone)]
enum Connection {
    Single(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl RedisLink {
    /// Connects at the first call.
    pub(super) fn new(address: RedisAddress, topology: RedisTopology, needed: String) -> RedisLink {
        let current = Mutex::new(Dialled {
            number: 0,
            connection: dial(address.clone(), topology),
        });
        RedisLink {
            address,
            topology,
            needed,
            was_let_in: AtomicBool::new(false),
            current,
        }
    }

    pub(super) fn address(&self) -> &RedisAddress {
        &self.address
    }

    /// From now on a refusal is a change on the server that can be undone, and no longer a wrong URL.
    pub(super) fn is_let_in(&self) {
        self.was_let_in.store(true, Ordering::Relaxed);
    }

    /// Runs a script.
    pub(super) async fn run(&self, call: ScriptCall<'_>) -> Result<Value, StoreError> {
        self.run_or(&call, &call).await
    }

    /// Runs a script; `first` in its place if the server does not know it, as after a restart.
    pub(super) async fn run_or(
        &self,
        call: &ScriptCall<'_>,
        first: &ScriptCall<'_>,
    ) -> Result<Value, StoreError> {
        let mut answer = self.send(&call.by_digest()).await;
        if answer.as_ref().is_err_and(RedisFault::is_unknown_script) {
            answer = self.send(&first.in_full()).await;
        }
        answer.map_err(|fault| self.error(&fault))
    }

    /// Runs a script both ways: the user needs permission for both.
    pub(super) async fn try_out(&self, call: ScriptCall<'_>) -> Result<(), StoreError> {
        for command in [call.in_full(), call.by_digest()] {
            match self.send(&command).await {
                // The server evicted the script already, but permitted the command.
                Err(fault) if !fault.is_unknown_script() => return Err(self.error(&fault)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Runs a command.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, StoreError> {
        self.send(command).await.map_err(|fault| self.error(&fault))
    }

    async fn send(&self, command: &Cmd) -> Result<Value, RedisFault> {
        let Dialled { number, connection } = self.current();
        let answer = async {
            match connection.await? {
                Connection::Single(mut connection) => command.query_async(&mut connection).await,
                Connection::Cluster(mut connection) => command.query_async(&mut connection).await,
            }
        };
        let answer = match tokio::time::timeout(CALL_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(RedisFault::Redis),
            Err(_) => Err(RedisFault::Silent(CALL_TIMEOUT)),
        };
        if answer.as_ref().is_err_and(RedisFault::wants_new_connection) {
            self.redial(number);
        }
        answer
    }

    fn error(&self, fault: &RedisFault) -> StoreError {
        match fault.at(&self.address, &self.needed) {
            StoreError::Refused { place, message } if self.was_let_in.load(Ordering::Relaxed) => {
                let message = format!("{message}; {LET_IN_AGAIN}");
                StoreError::LockedOut { place, message }
            }
            error => error,
        }
    }

    fn current(&self) -> Dialled {
        lock(&self.current).clone()
    }

    /// Replaces the connection, unless another call has done so.
    fn redial(&self, broken: u64) {
        let mut current = lock(&self.current);
        if current.number == broken {
            *current = Dialled {
                number: broken + 1,
                connection: dial(self.address.clone(), self.topology),
            };
        }
    }
}

fn dial(
    address: RedisAddress,
    topology: RedisTopology,
) -> Shared<BoxFuture<'static, Result<Connection, RedisError>>> {
    let made = async move {
        match topology {
            RedisTopology::Single => {
                // `send` applies the timeout.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None)
                    .set_pipeline_buffer_size(BUFFERED);
                let client = Client::open(address.info)?;
                let connection = client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?;
                Ok(Connection::Single(connection))
            }
            RedisTopology::Cluster => {
                let client = ClusterClient::builder([address.info])
                    .connection_timeout(CONNECT_TIMEOUT)
                    .response_timeout(CALL_TIMEOUT)
                    .build()?;
                Ok(Connection::Cluster(client.get_async_connection().await?))
            }
        }
    };
    let in_time = async {
        let late = |_| RedisError::from((ErrorKind::Io, "connecting took too long"));
        // The time starts with the first call that needs the connection.
        tokio::time::timeout(CONNECT_TIMEOUT, made).await.map_err(late)?
    };
    in_time.boxed().shared()
}
