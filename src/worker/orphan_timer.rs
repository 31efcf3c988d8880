//! Measures how long a training on another machine has been unsupervised.

use crate::finetune::TrainingId;
use crate::lock::lock;
use crate::task::TaskId;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Trainings that belong to another machine, each with the time since when no worker has supervised it.
#[derive(Default)]
pub(super) struct OrphanTimer {
    seen: Mutex<HashMap<TaskId, (TrainingId, Instant)>>,
}

impl OrphanTimer {
    /// How long the training has been unsupervised. The first call starts the timer.
    pub(super) fn since(&self, task: TaskId, id: &TrainingId) -> Duration {
        let mut seen = lock(&self.seen);
        let (known, since) = seen.entry(task).or_insert_with(|| (id.clone(), Instant::now()));
        if known != id {
            (*known, *since) = (id.clone(), Instant::now());
        }
        since.elapsed()
    }

    /// Resets the timer: a worker supervises the training.
    pub(super) fn forget(&self, task: TaskId) {
        lock(&self.seen).remove(&task);
    }
}
