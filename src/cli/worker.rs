//! `worker` and `bsft-worker`: executes tasks from RabbitMQ until it is stopped.

use super::check::warn_of_trust;
use super::exit::Exit;
use super::flags::{QueueName, WorkerArgs};
use super::keys::{self, JobsOf};
use super::metrics_server::Monitor;
use super::open_files::{Openers, fit};
use super::runtime::block_on;
use super::service_urls::Services;
use super::{signals, trainers, ui};
use crate::account::Accounts;
use crate::finetune::{Providers, Trainers};
use crate::key_ring::KeyRing;
use crate::metrics::{Need, Service};
use crate::shutdown::Shutdown;
use crate::store::redis::StoreUser;
use crate::worker::{self, TaskQueues, Worker};
use std::sync::Arc;
use std::time::Duration;
use tracing::info;

/// `bsft-worker`.
pub(super) fn work(flags: &WorkerArgs) -> Exit {
    let services = match Services::required(&flags.services) {
        Ok(services) => services,
        Err(exit) => return exit,
    };
    let trainers = match trainers::read(flags.trainers.as_deref()) {
        Ok(trainers) => trainers.map(Arc::new),
        Err(exit) => return exit,
    };
    let keys = match keys::read(flags.keys.as_deref(), JobsOf::Others) {
        Ok(keys) => Arc::new(keys),
        Err(exit) => return exit,
    };
    trainers::warn_of_any_model(trainers.as_deref());
    warn_of_trust();
    let openers = Openers {
        workers: 1,
        // How many LM servers the jobs have is not known yet.
        servers: usize::from(flags.lanes.contains(&QueueName::Bootstrap)),
        monitor: &flags.monitor,
    };
    let concurrency = match fit(flags.concurrency, &openers) {
        Ok(concurrency) => concurrency,
        Err(exit) => return exit,
    };
    let flags = &WorkerArgs {
        concurrency,
        ..flags.clone()
    };
    let monitor = match Monitor::bind(&flags.monitor) {
        Ok(monitor) => monitor,
        Err(exit) => return exit,
    };
    let work = connected(&services, flags, trainers, keys, monitor);
    block_on(work).unwrap_or_else(|exit| exit)
}

/// What a worker needs before it is ready.
const NEEDS: [Need; 3] = [
    Need::Service(Service::RabbitMq),
    Need::Service(Service::Redis),
    Need::Worker,
];

async fn connected(
    services: &Services,
    flags: &WorkerArgs,
    trainers: Option<Arc<Trainers>>,
    keys: Arc<KeyRing>,
    mut monitor: Monitor,
) -> Exit {
    let shutdown = Shutdown::new();
    if let Err(exit) = monitor.serve(&shutdown, &NEEDS) {
        return exit;
    }
    let connected = match services.connect(StoreUser::Worker).await {
        Ok(connected) => connected,
        Err(exit) => return exit,
    };
    monitor.watch(&connected);
    let metrics = &monitor.metrics;
    let queues = TaskQueues {
        bootstrap: flags.lanes.contains(&QueueName::Bootstrap),
        finetune: flags.lanes.contains(&QueueName::Finetune),
    };
    let providers = Providers::new(trainers, Arc::clone(&keys));
    let names = keys.names().unwrap_or_default().join(",");
    let worker = Worker {
        broker: connected.retrying_broker(&shutdown, metrics),
        store: connected.retrying_store(&shutdown, metrics),
        coordination: Arc::clone(&connected.store) as _,
        artifacts: connected.retrying_artifacts(&shutdown, metrics),
        providers: providers.clone(),
        keys,
        calls_in_flight: None,
        accounts: Arc::new(Accounts::shared(Arc::clone(&connected.store) as _)),
        queues,
        concurrency: flags.concurrency,
        drain: Duration::from_secs(flags.drain),
        metrics: Arc::clone(metrics),
    };
    info!(
        lanes = queues.names().join(","),
        concurrency = flags.concurrency,
        trainers = providers.trainers().join(","),
        keys = names,
        namespace = services.namespace(),
        store = connected.store.place(),
        "ready for tasks"
    );
    let ended = tokio::select! {
        ended = worker::run(worker, shutdown.clone()) => ended,
        ended = signals::listen(shutdown.clone()) => {
            let error = ended.err().unwrap_or_else(|| std::io::Error::other("the signal stream ended"));
            ui::error(format_args!("signals: {error}"));
            return Exit::Failed;
        }
    };
    // Flushes the acks that were written before.
    connected.broker.close().await;
    match ended {
        Ok(()) => {
            info!("stopped");
            Exit::Done
        }
        Err(error) => {
            ui::error(error);
            Exit::Unavailable
        }
    }
}
