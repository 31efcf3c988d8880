//! The subscription to the bootstrap queue. It takes more tasks while many wait for an account, so that tasks whose LM can be called
//! do not stay in the queue behind them.

use crate::broker::{Broker, BrokerError, Consumer, Delivery, Queue};
use futures_util::future::select_all;
use std::cmp::Ordering;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio::task::JoinSet;
use tracing::debug;

/// The most tasks that a worker holds because others wait. More than the window of a run whose LM is away, so that other runs go on.
/// A waiting task takes some tens of kilobytes.
const MOST_TASKS: usize = 8192;

/// One consumer, and further ones while tasks wait.
pub(super) struct ElasticSubscription {
    broker: Arc<dyn Broker>,
    /// Tasks of the first consumer.
    prefetch: NonZeroUsize,
    /// At least one. Each further one holds as many tasks as all before it.
    consumers: Vec<Box<dyn Consumer>>,
    opening: JoinSet<Result<Box<dyn Consumer>, BrokerError>>,
}

impl ElasticSubscription {
    /// `prefetch`: tasks that the worker holds while none waits.
    pub(super) async fn open(
        broker: Arc<dyn Broker>,
        prefetch: NonZeroUsize,
    ) -> Result<ElasticSubscription, BrokerError> {
        let first = broker.consume(&Queue::Bootstrap, prefetch).await?;
        Ok(ElasticSubscription {
            broker,
            prefetch,
            consumers: vec![first],
            opening: JoinSet::new(),
        })
    }

    /// Returns the next delivery of any consumer, or `None` when the broker was closed. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        loop {
            let delivery = async {
                match &mut *self.consumers {
                    [only] => only.next().await,
                    several => {
                        select_all(several.iter_mut().map(|consumer| consumer.next()))
                            .await
                            .0
                    }
                }
            };
            tokio::select! {
                biased;
                delivery = delivery => return delivery,
                Some(opened) = self.opening.join_next() => match opened {
                    Ok(Ok(consumer)) => self.consumers.push(consumer),
                    // The broker is away; another attempt follows while tasks wait.
                    Ok(Err(error)) => debug!(%error, "no further consumer"),
                    Err(panicked) => debug!(%panicked, "no further consumer"),
                },
            }
        }
    }

    /// Opens or closes a consumer for this number of tasks that wait for an account. To be called about once a second.
    pub(super) fn adapt_to(&mut self, waiting_tasks: usize) {
        if !self.opening.is_empty() {
            return;
        }
        let (open, prefetch) = (self.consumers.len(), self.prefetch.get());
        match fitting_consumers(open, waiting_tasks, prefetch).cmp(&open) {
            Ordering::Less => drop(self.consumers.pop()),
            Ordering::Equal => return,
            Ordering::Greater => {
                let broker = Arc::clone(&self.broker);
                let further = NonZeroUsize::new(held_tasks(open, prefetch)).unwrap_or(self.prefetch);
                self.opening
                    .spawn(async move { broker.consume(&Queue::Bootstrap, further).await });
            }
        }
        debug!(consumers = open, waiting_tasks, "bootstrap consumers adapted");
    }
}

/// The number of consumers with which at least half a prefetch of tasks does not wait: one more or one less than are open. One less only
/// if half of the rest would do, so that the number does not alternate.
fn fitting_consumers(open: usize, waiting_tasks: usize, prefetch: usize) -> usize {
    let needed = waiting_tasks + prefetch / 2;
    if needed > held_tasks(open, prefetch) && held_tasks(open + 1, prefetch) <= MOST_TASKS {
        open + 1
    } else if open > 1 && needed <= held_tasks(open - 1, prefetch) / 2 {
        open - 1
    } else {
        open
    }
}

/// The tasks that this number of consumers holds. Each consumer after the first doubles them.
fn held_tasks(consumers: usize, prefetch: usize) -> usize {
    prefetch.saturating_mul(2_usize.saturating_pow(consumers as u32 - 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::embedded::EmbeddedBroker;
    use std::collections::BTreeSet;

    #[test]
    fn consumers_follow_the_tasks_that_wait() {
        // 80 tasks each for the first two, 160 for the third.
        assert_eq!(fitting_consumers(1, 0, 80), 1);
        assert_eq!(fitting_consumers(1, 40, 80), 1);
        assert_eq!(fitting_consumers(1, 41, 80), 2);
        assert_eq!(fitting_consumers(2, 121, 80), 3);
        assert_eq!(fitting_consumers(3, 200, 80), 3);
        // 5,120 tasks are more than a window of 4,096, and twice as many too many.
        assert_eq!(fitting_consumers(6, 4096, 80), 7);
        assert_eq!(fitting_consumers(7, 10_000, 80), 7);
        assert_eq!(fitting_consumers(1, 10_000, 10_000), 1);
        // The last consumer goes when three quarters of all tasks are gone.
        assert_eq!(fitting_consumers(3, 41, 80), 3);
        assert_eq!(fitting_consumers(3, 40, 80), 2);
        assert_eq!(fitting_consumers(2, 0, 80), 1);
    }

    #[tokio::test]
    async fn tasks_behind_waiting_ones_are_delivered() {
        let broker = EmbeddedBroker::new();
        let bodies = (0..40_u8).map(|task| vec![task]).collect();
        broker.publish(&Queue::Bootstrap, bodies).await.unwrap();
        let prefetch = NonZeroUsize::new(4).unwrap();
        let mut subscription = ElasticSubscription::open(Arc::new(broker), prefetch)
            .await
            .unwrap();
        let mut waiting = Vec::new();
        while waiting.len() < 40 {
            subscription.adapt_to(waiting.len());
            waiting.push(subscription.next().await.unwrap().unwrap());
        }
        let tasks: BTreeSet<u8> = waiting.iter().map(|delivery| delivery.body[0]).collect();
        assert_eq!(tasks.len(), 40);
        for _ in 0..subscription.consumers.len() {
            subscription.adapt_to(0);
        }
        assert_eq!(subscription.consumers.len(), 1);
        for delivery in waiting {
            delivery.ack().await.unwrap();
        }
        assert_eq!(subscription.broker.depth(&Queue::Bootstrap).await.unwrap(), 0);
    }
}
