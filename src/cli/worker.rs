//! `worker` and `bsft-worker`: executes tasks from RabbitMQ until it is stopped.

use super::exit::Exit;
use super::flags::{QueueName, WorkerArgs};
use super::metrics_server::Monitor;
use super::runtime::block_on;
use super::service_urls::Services;
use super::{signals, trainers, ui};
use crate::account::Accounts;
use crate::finetune::Providers;
use crate::metrics::{Need, Service};
use crate::shutdown::Shutdown;
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
    let monitor = match Monitor::bind(flags.monitor.metrics_addr.as_deref()) {
        Ok(monitor) => monitor,
        Err(exit) => return exit,
    };
    let work = connected(&services, flags, Providers::new(trainers), monitor);
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
    providers: Providers,
    mut monitor: Monitor,
) -> Exit {
    let shutdown = Shutdown::new();
    if let Err(exit) = monitor.serve(&shutdown, &NEEDS) {
        return exit;
    }
    let connected = match services.connect().await {
        Ok(connected) => connected,
        Err(exit) => return exit,
    };
    monitor.watch(&connected);
    let metrics = &monitor.metrics;
    let queues = TaskQueues {
        bootstrap: flags.lanes.contains(&QueueName::Bootstrap),
        finetune: flags.lanes.contains(&QueueName::Finetune),
    };
    let worker = Worker {
        broker: connected.retrying_broker(&shutdown, metrics),
        store: connected.retrying_store(&shutdown, metrics),
        coordination: Arc::clone(&connected.store) as _,
        artifacts: connected.retrying_artifacts(&shutdown, metrics),
        providers: providers.clone(),
        calls_in_flight: None,
        accounts: Arc::new(Accounts::shared(Arc::clone(&connected.store) as _)),
        queues,
        concurrency: flags.concurrency,
        drain: Duration::from_secs(flags.drain),
        memory: flags.memory.budget(),
        metrics: Arc::clone(metrics),
    };
    info!(
        lanes = queues.names().join(","),
        concurrency = flags.concurrency,
        trainers = providers.trainers().join(","),
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
