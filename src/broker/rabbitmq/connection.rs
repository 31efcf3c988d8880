//! One connection to RabbitMQ, from the handshake until it is found unusable.

use super::error_conversion::{ANSWER_TIMEOUT, AmqpFault, NOT_ALLOWED, REFUSED, reply_code};
use super::url::AmqpAddress;
use crate::lock::lock;
use crate::{system_error, tls};
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::types::ShortString;
use lapin::uri::AMQPScheme;
use lapin::{Channel, Connection, ConnectionProperties};
use std::collections::HashSet;
use std::io;
use std::pin::pin;
use std::sync::Mutex;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Poll interval of [`LiveConnection::until_blocked`].
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A broker that is short of memory or disk blocks publishing connections. Acks must not wait behind that.
#[derive(Clone, Copy, Debug)]
pub(super) enum ConnectionRole {
    Publish,
    Consume,
}

impl ConnectionRole {
    pub(super) fn name(self) -> &'static str {
        match self {
            ConnectionRole::Publish => "publish",
            ConnectionRole::Consume => "consume",
        }
    }
}

/// A connection and the queues that were declared over it.
pub(super) struct LiveConnection {
    pub(super) connection: Connection,
    condemned: CancellationToken,
    declared: Mutex<HashSet<ShortString>>,
}

impl LiveConnection {
    /// Connects and logs in.
    pub(super) async fn open(
        address: &AmqpAddress,
        role: ConnectionRole,
    ) -> Result<LiveConnection, AmqpFault> {
        let properties =
            ConnectionProperties::default().with_connection_name(format!("bsft {}", role.name()).into());
        let runtime = lapin::runtime::default_runtime().map_err(|e| AmqpFault::new("start", &e))?;
        let connecting = Connection::connector(
            address.uri().clone(),
            runtime,
            async |uri, runtime| {
                // Without this timeout an unanswered attempt would keep its thread for minutes.
                let stream = timeout(ANSWER_TIMEOUT, async { uri.connect_async(&runtime).await });
                match stream.await {
                    Ok(stream) => Ok(stream?),
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                }
            },
            properties,
        );
        let connection = match timeout(ANSWER_TIMEOUT * 2, connecting).await {
            Ok(connection) => connection.map_err(|e| explain(address, &e))?,
            Err(_) => {
                return Err(AmqpFault::Unreachable(format!(
                    "failed to log in: it accepts connections but did not answer in {:?}; it may be starting, or not be \
                     an AMQP server",
                    ANSWER_TIMEOUT * 2
                )));
            }
        };
        Ok(LiveConnection {
            connection,
            condemned: CancellationToken::new(),
            declared: Mutex::default(),
        })
    }

    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, AmqpFault> {
        let opened = self.answer(self.connection.create_channel()).await?;
        opened.map_err(|e| {
            self.condemn();
            AmqpFault::new("open a channel", &e)
        })
    }

    /// Returns when the broker blocks this connection for lack of memory or disk.
    pub(super) async fn until_blocked(&self) {
        while !self.blocked() {
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Awaits the answer to a request. Without one in [`ANSWER_TIMEOUT`] the connection is condemned, unless it is
    /// blocked: then no request leaves it, and the wait goes on.
    pub(super) async fn answer<T>(
        &self,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<lapin::Result<T>, AmqpFault> {
        let mut request = pin!(request);
        loop {
            match timeout(ANSWER_TIMEOUT, &mut request).await {
                Ok(answer) => return Ok(answer),
                Err(_) if self.blocked() => {}
                Err(_) => {
                    self.condemn();
                    return Err(AmqpFault::Unreachable(format!(
                        "rabbitmq did not answer in {ANSWER_TIMEOUT:?}"
                    )));
                }
            }
        }
    }

    /// Like [`Self::answer`], for requests whose errors all become a fault; `doing` completes "failed to
    /// …".
    pub(super) async fn done<T>(
        &self,
        doing: &str,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, AmqpFault> {
        self.answer(request).await?.map_err(|e| AmqpFault::new(doing, &e))
    }

    /// Marks the connection as unusable, so that its supervisor replaces it.
    pub(super) fn condemn(&self) {
        self.condemned.cancel();
    }

    pub(super) async fn condemned(&self) {
        self.condemned.cancelled().await;
    }

    pub(super) fn usable(&self) -> bool {
        self.connection.status().connected() && !self.condemned.is_cancelled()
    }

    /// Whether the broker blocks publishing now, for lack of memory or disk.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub(super) fn has_declared(&self, queue: &ShortString) -> bool {
        self.declared().contains(queue)
    }

    pub(super) fn remember(&self, queue: ShortString) {
        self.declared().insert(queue);
    }

    /// The queue turned out to be missing.
    pub(super) fn forget(&self, queue: &ShortString) {
        self.declared().remove(queue);
    }

    fn declared(&self) -> std::sync::MutexGuard<'_, HashSet<ShortString>> {
        lock(&self.declared)
    }
}

/// Checks that an AMQP server answers. A login that is never answered blocks one of lapin's threads
/// forever, so it must not be retried against a hanging broker. The TLS handshake has a timeout and serves
/// the same purpose.
pub(super) async fn check_greeting(address: &AmqpAddress) -> Result<(), AmqpFault> {
    if address.uri().scheme == AMQPScheme::AMQPS {
        return Ok(());
    }
    let authority = &address.uri().authority;
    let greeting = async {
        let mut stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await
    };
    match timeout(ANSWER_TIMEOUT, greeting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(explain(address, &e.into())),
        Err(_) => Err(AmqpFault::Unreachable(format!(
            "failed to connect: no answer in {ANSWER_TIMEOUT:?}"
        ))),
    }
}

fn explain(address: &AmqpAddress, error: &lapin::Error) -> AmqpFault {
    let fault = AmqpFault::new("connect", error);
    if let Some(remedy) = lack_of_files(error) {
        return fault.hint(remedy);
    }
    let user = address.user();
    match reply_code(error) {
        Some(REFUSED) => fault.hint(&format!(
            "check the user {user:?} and its password in the URL (RabbitMQ lets the user guest log in from its own host only)"
        )),
        Some(NOT_ALLOWED) => fault.hint(&format!(
            "check that the vhost {vhost:?} exists (rabbitmqctl list_vhosts; / is written %2f) and that the user {user:?} \
             may use it (rabbitmqctl set_permissions -p {vhost} {user} '.*' '.*' '.*')",
            vhost = address.vhost()
        )),
        Some(_) => fault,
        None => match advice(error) {
            Some(advice) => AmqpFault::Refused(fault.message().to_owned())
                .hint(&format!("{advice}; RabbitMQ's port for TLS is 5671, its plain one 5672")),
            None => fault.hint(&format!(
                "check that RabbitMQ runs there, that the port is its AMQP port (5672, with TLS 5671) and that no \
                 firewall blocks it{}",
                match address.uri().scheme {
                    AMQPScheme::AMQP => "; a TLS port needs amqps://",
                    AMQPScheme::AMQPS => "; if SSL_CERT_FILE is set, check that it can be read",
                }
            )),
        },
    }
}

/// What to do if this process has too few open files for the connection.
fn lack_of_files(error: &lapin::Error) -> Option<&'static str> {
    match error.kind() {
        lapin::ErrorKind::IOError(error) => system_error::remedy_of_lack(error),
        _ => None,
    }
}

/// Advice for a failed TLS handshake.
fn advice(error: &lapin::Error) -> Option<String> {
    match error.kind() {
        lapin::ErrorKind::IOError(error) => tls::advice(error),
        _ => None,
    }
}
