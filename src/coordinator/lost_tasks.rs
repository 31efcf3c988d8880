//! Tasks whose message is gone: a broker that was wiped, a message in the dead letters, a worker that vanished with its host.
//!
//! What nobody holds, and what has no outcome, waits for a worker, or waits in vain. The two are told apart by time: a lane that
//! is empty has given its messages away, and what was taken is held a moment later.

use super::{Coordinator, RunError};
use crate::task::{RunId, TaskId};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// The longest that an abandoned task is left alone. Tasks that are published again and again, and that no worker takes,
/// are as many more messages each time.
const LONGEST: Duration = Duration::from_secs(600);

/// Since when each suspect is abandoned.
pub(super) struct LostTaskDetector {
    since: HashMap<TaskId, Instant>,
    shortest: Duration,
    patience: Duration,
}

impl LostTaskDetector {
    /// Takes for lost what is abandoned for so long.
    pub(super) fn new(patience: Duration) -> LostTaskDetector {
        LostTaskDetector {
            since: HashMap::new(),
            shortest: patience,
            patience,
        }
    }

    /// Those of the suspects that are lost. To be called every few seconds, with all suspects each time.
    pub(super) async fn lost(
        &mut self,
        coordinator: &Coordinator,
        run: &RunId,
        suspects: &[TaskId],
    ) -> Result<Vec<TaskId>, RunError> {
        let abandoned: HashSet<TaskId> = match suspects {
            [] => HashSet::new(),
            suspects => coordinator
                .store
                .abandoned(run, suspects)
                .await?
                .into_iter()
                .collect(),
        };
        Ok(self.look(&abandoned, Instant::now()))
    }

    /// Work goes on: the next loss is noticed as soon as the first.
    pub(super) fn encourage(&mut self) {
        self.patience = self.shortest;
    }

    fn look(&mut self, abandoned: &HashSet<TaskId>, now: Instant) -> Vec<TaskId> {
        self.since.retain(|task, _| abandoned.contains(task));
        for task in abandoned {
            self.since.entry(*task).or_insert(now);
        }
        let patience = self.patience;
        let lost = self
            .since
            .extract_if(|_, since| now.duration_since(*since) >= patience);
        let lost: Vec<TaskId> = lost.map(|(task, _)| task).collect();
        if !lost.is_empty() {
            self.patience = LONGEST.min(self.patience * 2);
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
    fn what_is_abandoned_for_long_is_lost_and_what_was_held_meanwhile_is_not() {
        let (mut watch, start) = (LostTaskDetector::new(PATIENCE), Instant::now());
        assert_eq!(watch.look(&set(&[1, 2]), start), []);
        assert_eq!(watch.look(&set(&[1]), start + PATIENCE / 2), []);
        assert_eq!(watch.look(&set(&[1, 2]), start + PATIENCE), [TaskId([1; 16])]);
        assert_eq!(watch.look(&set(&[1, 2]), start + PATIENCE + PATIENCE / 2), []);
    }

    #[test]
    fn each_loss_doubles_the_patience_until_work_goes_on() {
        let (mut watch, mut now) = (LostTaskDetector::new(PATIENCE), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            let since = now;
            while watch.look(&set(&[1]), now).is_empty() {
                now += PATIENCE;
            }
            waits.push((now - since) / PATIENCE.as_secs() as u32);
        }
        let seconds: Vec<u64> = waits.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds[..6], [1, 2, 4, 8, 16, 32]);
        assert!(seconds[6..].iter().all(|wait| *wait <= 75 + 1), "{seconds:?}");
        watch.encourage();
        assert!(watch.look(&set(&[1]), now).is_empty());
        assert!(!watch.look(&set(&[1]), now + PATIENCE).is_empty());
    }
}
