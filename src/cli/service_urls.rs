//! The two URLs: with neither, everything runs in one process; with both, on RabbitMQ and Redis.

use super::exit::Exit;
use super::flags::ServiceFlags;
use super::ui;
use crate::artifacts::ArtifactStore;
use crate::broker::rabbitmq::RabbitMqBroker;
use crate::broker::{Broker, BrokerError};
use crate::command_name::command_name;
use crate::metrics::{Metrics, Service};
use crate::retry::{RetryingArtifacts, RetryingBroker, RetryingStore};
use crate::secret::Secret;
use crate::service_url::ServiceUrl;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::store::redis::{RedisStore, StoreUser};
use crate::store::signed::{SIGNING_KEY, SignedStore};
use std::fmt::Display;
use std::sync::Arc;

/// The least length of a signing key in characters.
const SHORTEST_SIGNING_KEY: usize = 16;

/// The variable of RabbitMQ's URL. With `_FILE` it names a file, as for every secret.
pub(super) const AMQP_URL: &str = "BSFT_AMQP_URL";

/// The variable of Redis' URL.
pub(super) const REDIS_URL: &str = "BSFT_REDIS_URL";

/// RabbitMQ and Redis, not yet connected.
#[derive(Clone, Debug)]
pub(super) struct Services {
    amqp_url: Secret,
    redis_url: Secret,
    namespace: String,
    /// Signs what the store holds; `None` if nothing is signed.
    signing_key: Option<Secret>,
}

/// Connections to both.
pub(super) struct Connected {
    signing_key: Option<Secret>,
    pub(super) broker: RabbitMqBroker,
    pub(super) store: Arc<RedisStore>,
}

impl Services {
    /// Checks the flags; `None` if neither URL is given. An error has been printed.
    pub(super) fn from_flags(flags: &ServiceFlags) -> Result<Option<Services>, Exit> {
        let amqp_url = url(flags.amqp_url.as_deref(), AMQP_URL);
        let redis_url = url(flags.redis_url.as_deref(), REDIS_URL);
        let (amqp_url, redis_url) = match (amqp_url?, redis_url?) {
            (None, None) => return Ok(None),
            (Some(amqp_url), Some(redis_url)) => (amqp_url, redis_url),
            (Some(_), None) => {
                ui::error("--amqp-url needs --redis-url (or BSFT_REDIS_URL) as well");
                return Err(Exit::Usage);
            }
            (None, Some(_)) => {
                ui::error("--redis-url needs --amqp-url (or BSFT_AMQP_URL) as well");
                return Err(Exit::Usage);
            }
        };
        let services = Services {
            amqp_url,
            redis_url,
            namespace: flags.namespace.clone(),
            signing_key: signing_key()?,
        };
        if !is_name(&services.namespace) {
            ui::error(format_args!(
                "--namespace {:?} cannot be part of the names of queues and keys: use 1 to 100 letters, digits, '-', '_' or '.'",
                services.namespace
            ));
            return Err(Exit::Usage);
        }
        let amqp = RabbitMqBroker::check(services.amqp_url.reveal(), &services.namespace);
        let amqp = checked("--amqp-url", "amqps", amqp);
        let redis = RedisStore::check(services.redis_url.reveal(), &services.redis_namespace());
        let redis = checked("--redis-url", "rediss", redis);
        amqp.and(redis)?;
        Ok(Some(services))
    }

    /// The same for a worker, which needs both.
    pub(super) fn required(flags: &ServiceFlags) -> Result<Services, Exit> {
        Services::from_flags(flags)?.ok_or_else(|| {
            ui::error(format_args!(
                "a worker needs --amqp-url and --redis-url (or BSFT_AMQP_URL and BSFT_REDIS_URL); without them \
                 `{} compile` runs its own workers",
                command_name()
            ));
            Exit::Usage
        })
    }

    /// Connects to both, with the permissions of this user. All errors have been printed when this fails.
    pub(super) async fn connect(&self, user: StoreUser) -> Result<Connected, Exit> {
        let namespace = self.redis_namespace();
        let (broker, store) = tokio::join!(
            RabbitMqBroker::connect(self.amqp_url.reveal(), &self.namespace),
            RedisStore::connect_as(user, self.redis_url.reveal(), &namespace),
        );
        match (broker, store) {
            (Ok(broker), Ok(store)) => Ok(Connected {
                broker,
                store: Arc::new(store),
                signing_key: self.signing_key.clone(),
            }),
            (broker, store) => {
                if let Err(error) = broker {
                    ui::error(error);
                }
                if let Err(error) = store {
                    ui::error(error);
                }
                Err(Exit::Unavailable)
            }
        }
    }

    /// Connects to the broker only.
    pub(super) async fn broker(&self) -> Result<RabbitMqBroker, BrokerError> {
        RabbitMqBroker::connect(self.amqp_url.reveal(), &self.namespace).await
    }

    /// Connects to the store only, with the permissions of a coordinator.
    pub(super) async fn store(&self) -> Result<RedisStore, Exit> {
        RedisStore::connect_as(
            StoreUser::Coordinator,
            self.redis_url.reveal(),
            &self.redis_namespace(),
        )
        .await
        .map_err(|error| {
            ui::error(error);
            Exit::Unavailable
        })
    }

    /// The prefix that separates environments on the same services.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn redis_namespace(&self) -> String {
        format!("bsft:{}", self.namespace)
    }
}

/// The key of [`SIGNING_KEY`], if it is set. An error has been printed.
fn signing_key() -> Result<Option<Secret>, Exit> {
    let key = Secret::read(SIGNING_KEY).map_err(|error| {
        ui::error(error);
        Exit::Usage
    })?;
    match key {
        Some(key) if key.reveal().len() < SHORTEST_SIGNING_KEY => {
            ui::error(format_args!(
                "{SIGNING_KEY} has fewer than {SHORTEST_SIGNING_KEY} characters; make one with `openssl rand -hex 32`, and give the \
                 same one to all coordinators and workers"
            ));
            Err(Exit::Usage)
        }
        key => Ok(key),
    }
}

/// The URL of the flag, otherwise that of the variable or its file. An empty one counts as unset. An error has been printed.
fn url(flag: Option<&str>, variable: &str) -> Result<Option<Secret>, Exit> {
    match flag {
        Some(url) => Ok(Secret::new(url)),
        None => Secret::read(variable).map_err(|error| {
            ui::error(error);
            Exit::Usage
        }),
    }
}

/// Prints what is wrong with the URL of a flag, or warns of a password that others can read on its way.
fn checked<E: Display>(flag: &str, encrypted: &str, url: Result<ServiceUrl, E>) -> Result<(), Exit> {
    let url = url.map_err(|error| {
        ui::error(format_args!("{flag}: {error}"));
        Exit::Usage
    })?;
    if let Some(host) = url.clear_text_to {
        ui::warn(format_args!(
            "{flag}: the password goes to {host} in clear text, for anyone in the network to read; use {encrypted}://"
        ));
    }
    Ok(())
}

fn is_name(namespace: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (1..=100).contains(&namespace.len()) && namespace.bytes().all(plain)
}

impl Connected {
    /// The broker, which retries until `shutdown` aborts.
    pub(super) fn retrying_broker(&self, shutdown: &Shutdown, metrics: &Metrics) -> Arc<dyn Broker> {
        let waits = metrics.waits(Service::RabbitMq);
        Arc::new(RetryingBroker::new(
            Arc::new(self.broker.clone()),
            shutdown.clone(),
            waits,
        ))
    }

    /// The artifact store, which retries likewise.
    pub(super) fn retrying_artifacts(
        &self,
        shutdown: &Shutdown,
        metrics: &Metrics,
    ) -> Arc<dyn ArtifactStore> {
        let waits = metrics.waits(Service::Redis);
        Arc::new(RetryingArtifacts::new(
            Arc::clone(&self.store) as _,
            shutdown.clone(),
            waits,
        ))
    }

    /// The store, which retries likewise.
    pub(super) fn retrying_store(&self, shutdown: &Shutdown, metrics: &Metrics) -> Arc<dyn Store> {
        let waits = metrics.waits(Service::Redis);
        let store = SignedStore::new(
            Arc::clone(&self.store) as _,
            self.store.place(),
            self.signing_key.as_ref(),
        );
        Arc::new(RetryingStore::new(Arc::new(store), shutdown.clone(), waits))
    }
}
