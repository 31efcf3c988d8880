//! One connection to the broker, from the handshake until somebody finds that it is of no use any more.

use super::fault::{ANSWER, AmqpFault, NOT_ALLOWED, REFUSED, reply_code};
use super::url::AmqpAddress;
use crate::tls;
use lapin::tcp::AMQPUriTcpExt as _;
use lapin::types::ShortString;
use lapin::uri::AMQPScheme;
use lapin::{Channel, Connection, ConnectionProperties};
use std::collections::HashSet;
use std::io;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often a connection is looked at that may be blocked.
const LOOK: Duration = Duration::from_millis(100);

/// What a connection is for. A broker that is short of memory or disk blocks connections that publish; acks must not wait
/// behind that.
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

/// A connection, and what was declared over it.
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
                // The attempt ends with the wait for it: an unanswered one would otherwise keep its thread for minutes.
                let stream = timeout(ANSWER, async { uri.connect_async(&runtime).await });
                match stream.await {
                    Ok(stream) => Ok(stream?),
                    Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                }
            },
            properties,
        );
        let connection = match timeout(ANSWER * 2, connecting).await {
            Ok(connection) => connection.map_err(|e| explain(address, &e))?,
            Err(_) => {
                return Err(AmqpFault::Unreachable(format!(
                    "failed to log in: it accepts connections but did not answer in {:?}; it may be starting, or not be \
                     an AMQP server",
                    ANSWER * 2
                )));
            }
        };
        Ok(LiveConnection {
            connection,
            condemned: CancellationToken::new(),
            declared: Mutex::default(),
        })
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<Channel, AmqpFault> {
        let opened = self.answer(self.connection.create_channel()).await?;
        opened.map_err(|e| {
            self.condemn();
            AmqpFault::new("open a channel", &e)
        })
    }

    /// Returns when the broker takes nothing from this connection, being short of memory or disk.
    pub(super) async fn until_blocked(&self) {
        while !self.blocked() {
            sleep(LOOK).await;
        }
    }

    /// The answer to a request made over this connection. When none comes in [`ANSWER`] the connection is condemned, unless it
    /// is blocked: then nothing leaves it, and the wait goes on.
    pub(super) async fn answer<T>(
        &self,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<lapin::Result<T>, AmqpFault> {
        let mut request = pin!(request);
        loop {
            match timeout(ANSWER, &mut request).await {
                Ok(answer) => return Ok(answer),
                Err(_) if self.blocked() => {}
                Err(_) => {
                    self.condemn();
                    return Err(AmqpFault::Unreachable(format!(
                        "rabbitmq did not answer in {ANSWER:?}"
                    )));
                }
            }
        }
    }

    /// The same, with a word on what it is for, where no error needs to be told from another.
    pub(super) async fn done<T>(
        &self,
        doing: &str,
        request: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, AmqpFault> {
        self.answer(request).await?.map_err(|e| AmqpFault::new(doing, &e))
    }

    /// Marks it as useless, for its supervisor to replace.
    pub(super) fn condemn(&self) {
        self.condemned.cancel();
    }

    /// Waits until somebody condemns it.
    pub(super) async fn condemned(&self) {
        self.condemned.cancelled().await;
    }

    /// Whether it can be used, as far as is known.
    pub(super) fn usable(&self) -> bool {
        self.connection.status().connected() && !self.condemned.is_cancelled()
    }

    /// Whether the broker takes no messages just now, for want of memory or disk.
    pub(super) fn blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Whether the queue was declared over this connection.
    pub(super) fn has_declared(&self, queue: &ShortString) -> bool {
        self.declared().contains(queue)
    }

    /// Remembers that the queue was declared.
    pub(super) fn remember(&self, queue: ShortString) {
        self.declared().insert(queue);
    }

    /// Forgets it, since it turned out to be gone.
    pub(super) fn forget(&self, queue: &ShortString) {
        self.declared().remove(queue);
    }

    fn declared(&self) -> std::sync::MutexGuard<'_, HashSet<ShortString>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an AMQP server answers there. lapin has no end for a login that is never answered, and a thread for each, so that a
/// broker that hangs must not be tried with it again and again. Over TLS the handshake, which has an end, shows the same.
pub(super) async fn greets(address: &AmqpAddress) -> Result<(), AmqpFault> {
    if address.uri().scheme == AMQPScheme::AMQPS {
        return Ok(());
    }
    let authority = &address.uri().authority;
    let greeting = async {
        let mut stream = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
        stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
        stream.read_u8().await
    };
    match timeout(ANSWER, greeting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(e)) => Err(explain(address, &e.into())),
        Err(_) => Err(AmqpFault::Unreachable(format!(
            "failed to connect: no answer in {ANSWER:?}"
        ))),
    }
}

fn explain(address: &AmqpAddress, error: &lapin::Error) -> AmqpFault {
    let fault = AmqpFault::new("connect", error);
    let user = address.user();
    match reply_code(error) {
        Some(REFUSED) => fault.hint(&format!(
            "check the user {user:?} and its password in the URL (the user guest may log in from the broker's own host only)"
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
                "check that RabbitMQ runs there, that the port is its AMQP port (5672, with TLS 5671) and that nothing \
                 between blocks it{}",
                match address.uri().scheme {
                    AMQPScheme::AMQP => "; a port that wants TLS needs amqps://",
                    AMQPScheme::AMQPS => "; if SSL_CERT_FILE is set, check that it can be read",
                }
            )),
        },
    }
}

/// What to check when TLS cannot be spoken.
fn advice(error: &lapin::Error) -> Option<&'static str> {
    match error.kind() {
        lapin::ErrorKind::IOError(error) => tls::advice(error),
        _ => None,
    }
}
