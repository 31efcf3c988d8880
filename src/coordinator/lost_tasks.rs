//! Detects lost tasks: their message is gone, because a broker was wiped, a message was dead-lettered, or a host died.
//!
//! A task without a lease and without an outcome either waits in the queue or is lost. Time decides: a message that left the queue leads
//! to a lease within moments, so a task without a lease whose message left the queue long ago is lost.

use super::error::RunError;
use crate::store::Store;
use crate::task::{RunId, TaskId};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// The longest patience. Tasks that are republished and that no worker takes add as many messages to the queue each time.
const MAX_PATIENCE: Duration = Duration::from_secs(600);

/// Tracks since when each suspect has no lease.
pub(super) struct LostTaskDetector {
    since: HashMap<TaskId, Instant>,
    min_patience: Duration,
    patience: Duration,
}

impl LostTaskDetector {
    /// A task is lost after `patience` without a lease. Each detection doubles the patience.
    pub(super) fn new(patience: Duration) -> LostTaskDetector {
        LostTaskDetector {
            since: HashMap::new(),
            min_patience: patience,
            patience,
        }
    }

    /// Returns the suspects whose message is gone. Each call, every few seconds, must pass all suspects.
    pub(super) async fn find(
        &mut self,
        store: &dyn Store,
        run: &RunId,
        suspects: &[TaskId],
    ) -> Result<Vec<TaskId>, RunError> {
        let unclaimed: HashSet<TaskId> = if suspects.is_empty() {
            HashSet::new()
        } else {
            store.abandoned(run, suspects).await?.into_iter().collect()
        };
        Ok(self.update(&unclaimed, Instant::now()))
    }

    /// Restores the first patience: workers are making progress.
    pub(super) fn reset_patience(&mut self) {
        self.patience = self.min_patience;
    }

    fn update(&mut self, unclaimed: &HashSet<TaskId>, now: Instant) -> Vec<TaskId> {
        self.since.retain(|task, _| unclaimed.contains(task));
        for task in unclaimed {
            self.since.entry(*task).or_insert(now);
        }
        let patience = self.patience;
        let lost = self
            .since
            .extract_if(|_, since| now.duration_since(*since) >= patience);
        let lost: Vec<TaskId> = lost.map(|(task, _)| task).collect();
        if !lost.is_empty() {
            self.patience = MAX_PATIENCE.min(self.patience * 2);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(8);

    fn set(tasks: &[u8]) -> HashSet<TaskId> {
        tasks.iter().map(|task| TaskId([*task; 16])).collect()
    }

    #[test]
    fn unclaimed_task_is_lost_after_timeout_unless_claimed_meanwhile() {
        let (mut detector, start) = (LostTaskDetector::new(PATIENCE), Instant::now());
        assert_eq!(detector.update(&set(&[1, 2]), start), []);
        assert_eq!(detector.update(&set(&[1]), start + PATIENCE / 2), []);
        assert_eq!(
            detector.update(&set(&[1, 2]), start + PATIENCE),
            [TaskId([1; 16])]
        );
        assert_eq!(
            detector.update(&set(&[1, 2]), start + PATIENCE + PATIENCE / 2),
            []
        );
    }

    #[test]
    fn each_loss_doubles_patience_until_reset_patience() {
        let (mut detector, mut now) = (LostTaskDetector::new(PATIENCE), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            let since = now;
            while detector.update(&set(&[1]), now).is_empty() {
                now += PATIENCE;
            }
            waits.push((now - since) / PATIENCE.as_secs() as u32);
        }
        let seconds: Vec<u64> = waits.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds[..6], [1, 2, 4, 8, 16, 32]);
        assert!(seconds[6..].iter().all(|wait| *wait <= 75 + 1), "{seconds:?}");
        detector.reset_patience();
        assert!(detector.update(&set(&[1]), now).is_empty());
        assert!(!detector.update(&set(&[1]), now + PATIENCE).is_empty());
    }
}
