//! The worker's loop: receives deliveries, executes each in a task of its own, and drains them at the end.

use super::{FINETUNE_PREFETCH, Worker, WorkerContext, WorkerError, bootstrap, finetune};
use crate::broker::{BrokerError, Consumer, Delivery, Queue};
use crate::shutdown::Shutdown;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tracing::{error, warn};

/// How long tasks may take to release what they hold when the process aborts.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// The worker's subscriptions. Dropping them requeues their undelivered messages for other workers.
pub(super) struct Consumers {
    bootstrap: OptionalConsumer,
    finetune: OptionalConsumer,
}

impl Consumers {
    pub(super) async fn subscribe(worker: &Worker) -> Result<Consumers, BrokerError> {
        let (queues, prefetch) = (worker.queues, worker.prefetch());
        let bootstrap = OptionalConsumer::new(worker, queues.bootstrap, &Queue::Bootstrap, prefetch);
        let bootstrap = bootstrap.await?;
        let finetune = OptionalConsumer::new(worker, queues.finetune, &Queue::Finetune, FINETUNE_PREFETCH);
        let finetune = finetune.await?;
        Ok(Consumers { bootstrap, finetune })
    }

    /// Executes deliveries until a drain is requested, the broker is closed or the worker failed.
    pub(super) async fn run(
        &mut self,
        context: &Arc<WorkerContext>,
        in_flight: &mut JoinSet<()>,
    ) -> Result<(), WorkerError> {
        loop {
            tokio::select! {
                biased;
                () = context.shutdown.draining() => return Ok(()),
                () = context.failed() => return Ok(()),
                delivery = self.finetune.next() => match delivery? {
                    Some(delivery) => { in_flight.spawn(finetune::execute(Arc::clone(context), delivery)); }
                    None => return Ok(()),
                },
                delivery = self.bootstrap.next() => match delivery? {
                    Some(delivery) => { in_flight.spawn(bootstrap::execute(Arc::clone(context), delivery)); }
                    None => return Ok(()),
                },
                Some(ended) = in_flight.join_next() => log_panic(ended),
            }
        }
    }
}

/// A subscription that exists if the worker consumes its queue.
struct OptionalConsumer(Option<Box<dyn Consumer>>);

impl OptionalConsumer {
    async fn new(
        worker: &Worker,
        is_consumed: bool,
        queue: &Queue,
        prefetch: NonZeroUsize,
    ) -> Result<OptionalConsumer, BrokerError> {
        if !is_consumed {
            return Ok(OptionalConsumer(None));
        }
        let consumer = worker.broker.consume(queue, prefetch).await?;
        Ok(OptionalConsumer(Some(consumer)))
    }

    /// Never returns without a subscription. Cancel safe, as [`Consumer::next`] is.
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        match &mut self.0 {
            Some(consumer) => consumer.next().await,
            None => std::future::pending().await,
        }
    }
}

/// Waits for the tasks in flight. After `timeout` or an abort they are asked to release their work.
pub(super) async fn drain(mut in_flight: JoinSet<()>, timeout: Duration, shutdown: &Shutdown) {
    let all = async |in_flight: &mut JoinSet<()>| {
        while let Some(ended) = in_flight.join_next().await {
            log_panic(ended);
        }
    };
    tokio::select! {
        () = all(&mut in_flight) => return,
        () = tokio::time::sleep(timeout) => {}
        () = shutdown.aborting() => {}
    }
    shutdown.abort();
    if tokio::time::timeout(ABORT_TIMEOUT, all(&mut in_flight))
        .await
        .is_err()
    {
        warn!(
            tasks = in_flight.len(),
            "tasks not released in time; they are redelivered"
        );
    }
}

fn log_panic(ended: Result<(), JoinError>) {
    if let Err(panicked) = ended {
        error!(%panicked, "task panicked; it will be redelivered");
    }
}
