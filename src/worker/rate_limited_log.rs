//! Log lines of a worker that many tasks may cause for the same reason: each reason is logged once per interval.

use super::{RETURN_AFTER, resolve};
use crate::broker::{Delivery, Disposition, Queue};
use crate::lock::lock;
use crate::message::Refusal;
use crate::task::{RunId, TaskId};
use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tracing::{error, warn};

/// How soon the same reason is logged again.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// Remembers when each reason was logged last.
#[derive(Default)]
pub(super) struct RateLimitedLog {
    logged: Mutex<HashMap<String, Instant>>,
}

impl RateLimitedLog {
    /// Requeues a delivery that cannot be executed now, and logs the reason.
    pub(super) async fn hand_back(&self, delivery: Delivery, why: &(dyn Display + Sync)) {
        self.postponed(why);
        resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await;
    }

    /// Logs why work is postponed.
    pub(super) fn postponed(&self, why: &(dyn Display + Sync)) {
        let why = why.to_string();
        if self.is_due(&why) {
            warn!(why, "task postponed");
        }
    }

    /// Logs why a message goes to the dead letters.
    pub(super) fn refused(&self, queue: &Queue, why: &Refusal) {
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
