//! Log lines of a worker that many tasks may cause for the same reason: each reason is logged once per interval.

use super::put_off::PutOff;
use super::{RETURN_AFTER, resolve};
use crate::broker::{Delivery, Disposition, Queue};
use crate::lock::lock;
use crate::metrics::Metrics;
use crate::task::{RunId, TaskId};
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tracing::{error, warn};

/// How soon the same reason is logged again.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// How often a message is postponed before it goes to the dead letters: for about two hours.
const MOST_POSTPONED: u32 = 20;

/// The longest time for which a message is postponed at once.
const LONGEST_POSTPONED: Duration = Duration::from_secs(600);

/// Remembers when each reason was logged last, and counts the deliveries that are put off.
pub(super) struct RateLimitedLog {
    logged: Mutex<HashMap<String, Instant>>,
    metrics: Arc<Metrics>,
}

impl RateLimitedLog {
    pub(super) fn new(metrics: Arc<Metrics>) -> RateLimitedLog {
        RateLimitedLog {
            logged: Mutex::default(),
            metrics,
        }
    }

    /// Requeues a delivery that this worker cannot execute now, logs the reason and counts it.
    pub(super) async fn hand_back(&self, delivery: Delivery, why: &impl PutOff) {
        self.metrics.worker().put_off(why.reason());
        self.postponed(why);
        resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await;
    }

    /// Postpones a delivery that no worker of this version can execute, each time for longer, logs the reason and counts it. After
    /// [`MOST_POSTPONED`] times it goes to the dead letters: a coordinator that is at work publishes its task again.
    pub(super) async fn postpone(&self, delivery: Delivery, why: &impl PutOff) {
        let times = delivery.postponed;
        if times >= MOST_POSTPONED {
            let why = why.to_string();
            if self.is_due(&format!("dead letter: {why}")) {
                warn!(
                    why,
                    "message moved to the dead letters; no worker could execute it for hours"
                );
            }
            return resolve(delivery, Disposition::Reject).await;
        }
        self.metrics.worker().put_off(why.reason());
        self.postponed(why);
        let after = RETURN_AFTER
            .saturating_mul(1 << times.min(16))
            .min(LONGEST_POSTPONED);
        resolve(delivery, Disposition::Postpone { after }).await;
    }

    /// Logs why work is postponed.
    pub(super) fn postponed(&self, why: &(dyn Display + Sync)) {
        let why = why.to_string();
        if self.is_due(&why) {
            warn!(why, "task postponed");
        }
    }

    /// Logs why a message goes to the dead letters.
    pub(super) fn refused(&self, queue: &Queue, why: &(dyn Display + Sync)) {
        if self.is_due(&format!("{queue}: {why}")) {
            warn!(%queue, %why, "message rejected to the dead letters");
        }
    }

    /// Logs the panic of a task, once for all tasks of its run: a bug that one example triggers, many trigger.
    pub(super) fn panicked(&self, run: &RunId, task: TaskId) {
        if self.is_due(&format!("bug in {run}")) {
            error!(%run, %task, "bug: the task panicked; please report it");
        }
    }

    fn is_due(&self, reason: &str) -> bool {
        let mut logged = lock(&self.logged);
        logged.retain(|_, at| at.elapsed() < LOG_INTERVAL);
        !logged.contains_key(reason) && logged.insert(reason.to_owned(), Instant::now()).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker as _;
    use crate::broker::embedded::EmbeddedBroker;
    use crate::worker::built_jobs::JobError;
    use std::num::NonZeroUsize;

    #[tokio::test(start_paused = true)]
    async fn message_that_no_worker_can_use_becomes_a_dead_letter_after_an_hour() {
        let broker = EmbeddedBroker::new();
        let queue = Queue::Bootstrap;
        broker.publish(&queue, vec![b"task".to_vec()]).await.unwrap();
        let mut consumer = broker.consume(&queue, NonZeroUsize::MIN).await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let log = RateLimitedLog::new(Arc::clone(&metrics));
        let began = tokio::time::Instant::now();
        while broker.dead_letter_count(&queue).await.unwrap() == 0 {
            let delivery = consumer.next().await.unwrap().unwrap();
            let why = JobError::Unknown(RunId("r".to_owned()));
            log.postpone(delivery, &why).await;
        }
        let hours = began.elapsed().as_secs_f64() / 3600.0;
        assert!((1.0..3.0).contains(&hours), "{hours} h");
        assert_eq!(broker.depth(&queue).await.unwrap(), 0);
        let counted = format!("bsft_worker_put_off_total{{reason=\"unknown_run\"}} {MOST_POSTPONED}");
        let text = metrics.text().unwrap();
        assert!(text.lines().any(|line| line == counted), "{text}");
    }
}
