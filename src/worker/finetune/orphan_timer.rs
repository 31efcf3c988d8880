//! Trainings of other machines that nobody there looks after.

use crate::finetune::TrainingId;
use crate::task::TaskId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Trainings that should be looked after at another place, and since when nobody was seen to do so.
#[derive(Default)]
pub(in crate::worker) struct OrphanTimer {
    seen: Mutex<HashMap<TaskId, (TrainingId, Instant)>>,
}

impl OrphanTimer {
    /// For how long nobody has looked after the training.
    pub(super) fn since(&self, task: TaskId, id: &TrainingId) -> Duration {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (known, since) = seen.entry(task).or_insert_with(|| (id.clone(), Instant::now()));
        if known != id {
            (*known, *since) = (id.clone(), Instant::now());
        }
        since.elapsed()
    }

    /// Somebody looks after it.
    pub(super) fn forget(&self, task: TaskId) {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&task);
    }
}
