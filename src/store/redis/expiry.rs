//! How long Redis keeps the keys of an unused run.

use crate::lock::lock;
use crate::task::RunId;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long a run's keys outlive the last call about it. An interrupted run can resume after a long
/// weekend, and the keys of finished or forgotten runs expire.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often a process extends the keys of a run: a hundred times in their lifetime, at no cost.
const PUT_OFF_EVERY: Duration = Duration::from_secs(3600);

/// When this process last extended the keys of each run.
#[derive(Default)]
pub(super) struct Lifetimes {
    put_off: Mutex<HashMap<RunId, Instant>>,
}

impl Lifetimes {
    pub(super) fn is_due(&self, run: &RunId) -> bool {
        let runs = lock(&self.put_off);
        runs.get(run).is_none_or(|at| at.elapsed() >= PUT_OFF_EVERY)
    }

    /// The keys were extended to [`KEPT`] from now. Removes runs that were unused for that time.
    pub(super) fn put_off(&self, run: &RunId) {
        let mut runs = lock(&self.put_off);
        runs.retain(|_, at| at.elapsed() < KEPT);
        runs.insert(run.clone(), Instant::now());
    }
}
