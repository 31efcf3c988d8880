//! The worker's loop: receives deliveries, executes each in a task of its own, and drains them at the end.

use super::elastic_subscription::ElasticSubscription;
use super::{FINETUNE_PREFETCH, Worker, WorkerContext, WorkerError, bootstrap, finetune, resolve};
use crate::broker::{BrokerError, Consumer, Delivery, Disposition, LONGEST_MESSAGE, Queue};
use crate::metrics::TaskEnd;
use crate::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;
use tracing::{error, warn};

/// How long tasks may take to release what they hold when the process aborts.
const ABORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the subscription to the bootstrap queue adapts to the tasks that wait for accounts.
const ADAPT_EVERY: Duration = Duration::from_secs(1);

/// The worker's subscriptions, to the queues that it consumes. Dropping them requeues their undelivered messages for other workers.
pub(super) struct Consumers {
    bootstrap: Option<ElasticSubscription>,
    finetune: Option<Box<dyn Consumer>>,
}

impl Consumers {
    pub(super) async fn subscribe(worker: &Worker) -> Result<Consumers, BrokerError> {
        let broker = &worker.broker;
        let mut consumers = Consumers {
            bootstrap: None,
            finetune: None,
        };
        if worker.queues.bootstrap {
            let subscription = ElasticSubscription::open(Arc::clone(broker), worker.prefetch());
            consumers.bootstrap = Some(subscription.await?);
        }
        if worker.queues.finetune {
            consumers.finetune = Some(broker.consume(&Queue::Finetune, FINETUNE_PREFETCH).await?);
        }
        Ok(consumers)
    }

    /// Executes deliveries until a drain is requested, the broker is closed or the worker failed.
    pub(super) async fn run(
        &mut self,
        context: &Arc<WorkerContext>,
        in_flight: &mut JoinSet<()>,
    ) -> Result<(), WorkerError> {
        let mut adapt = tokio::time::interval(ADAPT_EVERY);
        adapt.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = context.shutdown.draining() => return Ok(()),
                () = context.failed() => return Ok(()),
                _ = adapt.tick() => if let Some(bootstrap) = &mut self.bootstrap {
                    bootstrap.adapt_to(context.waiting_tasks());
                },
                delivery = next_finetune(&mut self.finetune) => match delivery? {
                    Some(long) if long.body.len() > LONGEST_MESSAGE => refuse(context, &Queue::Finetune, long).await,
                    Some(delivery) => { in_flight.spawn(finetune::execute(Arc::clone(context), delivery)); }
                    None => return Ok(()),
                },
                delivery = next_bootstrap(&mut self.bootstrap) => match delivery? {
                    Some(long) if long.body.len() > LONGEST_MESSAGE => refuse(context, &Queue::Bootstrap, long).await,
                    Some(delivery) => { in_flight.spawn(bootstrap::execute(Arc::clone(context), delivery)); }
                    None => return Ok(()),
                },
                Some(ended) = in_flight.join_next() => log_panic(ended),
            }
        }
    }
}

/// Sends a message to the dead letters that is too long for a task of bsft.
async fn refuse(context: &WorkerContext, queue: &Queue, delivery: Delivery) {
    let why = format!(
        "it has {} bytes, and no task has more than {LONGEST_MESSAGE}",
        delivery.body.len()
    );
    context.log.refused(queue, &why);
    let worker = context.metrics.worker();
    let metrics = match queue {
        Queue::Bootstrap => &worker.bootstrap,
        Queue::Finetune | Queue::Completions(_) => &worker.finetune,
    };
    metrics.task().ended(TaskEnd::Refused);
    resolve(delivery, Disposition::Reject).await;
}

/// Never returns without a subscription. Cancel safe, as [`Consumer::next`] is.
async fn next_finetune(consumer: &mut Option<Box<dyn Consumer>>) -> Result<Option<Delivery>, BrokerError> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

/// Never returns without a subscription. Cancel safe.
async fn next_bootstrap(
    subscription: &mut Option<ElasticSubscription>,
) -> Result<Option<Delivery>, BrokerError> {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
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
