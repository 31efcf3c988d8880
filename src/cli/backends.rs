//! The backends of a compile: embedded in this process, or RabbitMQ and Redis; and where its workers run.

use super::flags::WorkerFlags;
use super::service_urls::{Connected, Services};
use crate::account::Accounts;
use crate::artifacts::DirArtifacts;
use crate::broker::embedded::EmbeddedBroker;
use crate::broker::rabbitmq::RabbitMqBroker;
use crate::calls_in_flight::CallsInFlight;
use crate::coordination::SingleProcess;
use crate::coordinator::{Backends, Workers};
use crate::metrics::Metrics;
use crate::run_dir::RunDir;
use crate::shutdown::Shutdown;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Store, StoreError};
use crate::system_error::explained;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// The embedded store, relative to DIR, as messages and the next start name it.
const EMBEDDED: &str = "state.redb";

/// Where the run's workers are, according to the flags.
pub(super) fn workers(services: Option<&Services>, flags: &WorkerFlags) -> Workers {
    let in_flight = |workers: NonZeroUsize| workers.saturating_mul(flags.concurrency);
    match (services, flags.workers) {
        (None, workers) => Workers::InProcess {
            in_flight: in_flight(workers.unwrap_or(NonZeroUsize::MIN)),
        },
        (Some(_), None) => Workers::Elsewhere,
        (Some(_), Some(workers)) => Workers::Both {
            in_flight: in_flight(workers),
        },
    }
}

/// The backends, and what this process needs to close and to count.
pub(super) struct ConnectedBackends {
    pub(super) backends: Backends,
    /// For the workers of this process.
    pub(super) accounts: Arc<Accounts>,
    /// Closed at the end. `None` if the broker is in this process.
    pub(super) rabbitmq: Option<RabbitMqBroker>,
    pub(super) metrics: Arc<Metrics>,
}

impl ConnectedBackends {
    /// Everything in this process, durable in DIR.
    pub(super) fn embedded(dir: &RunDir, metrics: Arc<Metrics>) -> Result<ConnectedBackends, StoreError> {
        let path = dir.calls_in_flight();
        let calls_in_flight = CallsInFlight::open(&path).map_err(|error| StoreError::Failed {
            place: path.display().to_string(),
            message: explained(&error),
        })?;
        Ok(ConnectedBackends {
            backends: Backends {
                broker: Arc::new(EmbeddedBroker::new()),
                store: Arc::new(EmbeddedStore::open(&dir.store())?),
                coordination: Arc::new(SingleProcess::default()),
                artifacts: Arc::new(DirArtifacts::new(dir.root().join("data"))),
                calls_in_flight: Some(Arc::new(calls_in_flight)),
                store_location: EMBEDDED.to_owned(),
                previous_store: None,
            },
            accounts: Arc::default(),
            rabbitmq: None,
            metrics,
        })
    }

    /// RabbitMQ and Redis.
    pub(super) fn cluster(
        dir: &RunDir,
        connected: Connected,
        shutdown: &Shutdown,
        metrics: Arc<Metrics>,
    ) -> Result<ConnectedBackends, StoreError> {
        let previous_store: Option<Arc<dyn Store>> = if dir.store().exists() {
            Some(Arc::new(EmbeddedStore::open(&dir.store())?))
        } else {
            None
        };
        Ok(ConnectedBackends {
            backends: Backends {
                broker: connected.retrying_broker(shutdown, &metrics),
                store: connected.retrying_store(shutdown, &metrics),
                coordination: Arc::clone(&connected.store) as _,
                artifacts: connected.retrying_artifacts(shutdown, &metrics),
                calls_in_flight: None,
                store_location: connected.store.place().to_owned(),
                previous_store,
            },
            accounts: Arc::new(Accounts::shared(Arc::clone(&connected.store) as _)),
            rabbitmq: Some(connected.broker),
            metrics,
        })
    }
}
