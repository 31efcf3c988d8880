//! Tasks that are published and have no outcome in DIR yet.

use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A message that is younger may be on its way to a worker.
const YOUNG: Duration = Duration::from_secs(5);

/// TaskQueues give their messages in order, more or less: one that was published so much earlier than one whose task has ended is not in
/// the lane any more.
const OVERTAKEN: Duration = Duration::from_secs(60);

/// The tasks by number.
#[derive(Default)]
pub(super) struct OutstandingTasks {
    published: HashMap<usize, Instant>,
    /// When the youngest message was published whose task has an outcome.
    youngest_done: Option<Instant>,
}

impl OutstandingTasks {
    /// How many.
    pub(super) fn len(&self) -> usize {
        self.published.len()
    }

    /// The task's message is in the lane, maybe once more.
    pub(super) fn published(&mut self, task: usize, now: Instant) {
        self.published.insert(task, now);
    }

    /// The task has an outcome.
    pub(super) fn done(&mut self, task: usize) {
        if let Some(at) = self.published.remove(&task) {
            self.youngest_done = self.youngest_done.max(Some(at));
        }
    }

    /// The tasks whose message is not in the lane: all but the youngest when the lane is empty, those that others have overtaken when
    /// it is not.
    pub(super) fn not_in_queue(&self, is_empty: bool, now: Instant) -> impl Iterator<Item = usize> {
        let youngest_done = self.youngest_done;
        let is_suspect = move |at: Instant| match is_empty {
            true => now.duration_since(at) >= YOUNG,
            false => youngest_done.is_some_and(|done| done.duration_since(at) >= OVERTAKEN),
        };
        let suspects = self.published.iter().filter(move |(_, at)| is_suspect(**at));
        suspects.map(|(task, _)| *task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn suspects(tasks: &OutstandingTasks, is_empty: bool, now: Instant) -> Vec<usize> {
        let mut suspects: Vec<usize> = tasks.not_in_queue(is_empty, now).collect();
        suspects.sort_unstable();
        suspects
    }

    #[test]
    fn an_empty_lane_makes_every_task_a_suspect_that_is_not_young() {
        let (mut tasks, start) = (OutstandingTasks::default(), Instant::now());
        tasks.published(1, start);
        tasks.published(2, start + YOUNG);
        tasks.published(3, start);
        tasks.done(3);
        assert_eq!(suspects(&tasks, true, start + YOUNG), [1]);
        assert_eq!(suspects(&tasks, false, start + 2 * OVERTAKEN), NONE);
        tasks.published(1, start + YOUNG);
        assert_eq!(suspects(&tasks, true, start + YOUNG), NONE);
    }

    #[test]
    fn a_task_that_later_ones_have_overtaken_is_a_suspect_while_the_lane_has_messages() {
        let (mut tasks, start) = (OutstandingTasks::default(), Instant::now());
        for (task, seconds) in [(1, 0), (2, 1), (3, 61)] {
            tasks.published(task, start + Duration::from_secs(seconds));
        }
        tasks.done(2);
        assert_eq!(suspects(&tasks, false, start + OVERTAKEN * 9), NONE);
        tasks.done(3);
        assert_eq!(suspects(&tasks, false, start + OVERTAKEN * 9), [1]);
    }
}
