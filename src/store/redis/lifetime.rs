//! How long Redis keeps what nobody asks for any more.

use crate::task::RunId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a run's keys outlive the last call about the run: an interrupted run goes on after a long weekend, and what an ended
/// or forgotten one leaves goes away by itself.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How often a process that works on a run puts off the end of its keys: a hundred times in the time that they have, at no cost.
const PUT_OFF_EVERY: Duration = Duration::from_secs(3600);

/// When this process last put off the end of a run's keys.
#[derive(Default)]
pub(super) struct Lifetimes {
    put_off: Mutex<HashMap<RunId, Instant>>,
}

impl Lifetimes {
    pub(super) fn is_due(&self, run: &RunId) -> bool {
        let runs = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
        runs.get(run).is_none_or(|at| at.elapsed() >= PUT_OFF_EVERY)
    }

    /// The keys have [`KEPT`] from now. Runs that nobody has worked on for so long are forgotten here too.
    pub(super) fn put_off(&self, run: &RunId) {
        let mut runs = self.put_off.lock().unwrap_or_else(PoisonError::into_inner);
        runs.retain(|_, at| at.elapsed() < KEPT);
        runs.insert(run.clone(), Instant::now());
    }
}
