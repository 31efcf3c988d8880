//! Tasks that were published and have no outcome in the log yet.

use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// A younger message may be on its way to a worker.
const YOUNG: Duration = Duration::from_secs(5);

/// Queues deliver roughly in order: a message that was published this much before one whose task has ended has left the queue.
const OVERTAKEN: Duration = Duration::from_secs(60);

/// When each outstanding task was published, by task number, and how long its row is.
#[derive(Default)]
pub(super) struct OutstandingTasks {
    published: HashMap<usize, (Instant, usize)>,
    /// The bytes of the rows of all of them.
    bytes: usize,
    /// The latest publishing time of a task that has an outcome.
    youngest_done: Option<Instant>,
}

impl OutstandingTasks {
    /// How many tasks are outstanding.
    pub(super) fn len(&self) -> usize {
        self.published.len()
    }

    /// The bytes of their rows.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the task is outstanding.
    pub(super) fn has(&self, task: usize) -> bool {
        self.published.contains_key(&task)
    }

    /// Enters a task that was published, or republished, with a row of that many bytes.
    pub(super) fn published(&mut self, task: usize, row: usize, now: Instant) {
        if self.published.insert(task, (now, row)).is_none() {
            self.bytes += row;
        }
    }

    /// Removes a task that has an outcome.
    pub(super) fn done(&mut self, task: usize) {
        if let Some((at, row)) = self.published.remove(&task) {
            self.bytes -= row;
            self.youngest_done = self.youngest_done.max(Some(at));
        }
    }

    /// The tasks whose message has left the queue: if the queue is empty, all but the youngest; otherwise those that later tasks have
    /// overtaken.
    pub(super) fn not_in_queue(&self, is_queue_empty: bool, now: Instant) -> impl Iterator<Item = usize> {
        let youngest_done = self.youngest_done;
        let is_suspect = move |at: Instant| {
            if is_queue_empty {
                now.duration_since(at) >= YOUNG
            } else {
                youngest_done.is_some_and(|done| done.duration_since(at) >= OVERTAKEN)
            }
        };
        let suspects = self.published.iter().filter(move |(_, (at, _))| is_suspect(*at));
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
    fn not_in_queue_returns_all_but_young_tasks_if_queue_is_empty() {
        let (mut tasks, start) = (OutstandingTasks::default(), Instant::now());
        tasks.published(1, 10, start);
        tasks.published(2, 20, start + YOUNG);
        tasks.published(3, 30, start);
        tasks.done(3);
        assert_eq!(tasks.bytes(), 30);
        assert_eq!(suspects(&tasks, true, start + YOUNG), [1]);
        assert_eq!(suspects(&tasks, false, start + 2 * OVERTAKEN), NONE);
        tasks.published(1, 10, start + YOUNG);
        assert_eq!(tasks.bytes(), 30);
        assert_eq!(suspects(&tasks, true, start + YOUNG), NONE);
    }

    #[test]
    fn not_in_queue_returns_overtaken_tasks_if_queue_has_messages() {
        let (mut tasks, start) = (OutstandingTasks::default(), Instant::now());
        for (task, seconds) in [(1, 0), (2, 1), (3, 61)] {
            tasks.published(task, 1, start + Duration::from_secs(seconds));
        }
        tasks.done(2);
        assert_eq!(suspects(&tasks, false, start + OVERTAKEN * 9), NONE);
        tasks.done(3);
        assert_eq!(suspects(&tasks, false, start + OVERTAKEN * 9), [1]);
    }
}
