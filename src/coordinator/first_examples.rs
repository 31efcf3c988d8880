//! The first question: one example of each teacher runs before the others, so that a wrong key, address or model costs one request.

use super::error::RunError;
use super::outcome_drain::EndedTask;
use super::outcome_log::OutcomeLog;
use super::task_plan::TaskPlan;
use crate::trace::FailureKind;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// The number of examples that may fail for lack of an answer: the first one may be bad.
const MAX_TRIES: usize = 3;

/// After this time without an outcome the other examples are published, too: the request of the first may hang, and no answer has shown yet
/// how long to wait for one.
const LONE: Duration = Duration::from_secs(30);

/// Each teacher's first examples.
pub(super) struct FirstExamples {
    teachers: Vec<FirstExample>,
}

/// What is known of a teacher's LMs.
struct FirstExample {
    /// Names of the LMs that it calls.
    lms: HashSet<String>,
    /// Whether all of them have answered in this run.
    is_answered: bool,
    /// Examples that were published for it.
    published: usize,
    /// When the first of them was; `None` before.
    since: Option<Instant>,
    /// Examples that ended without an answer.
    failed: usize,
    /// The last failure.
    message: String,
}

impl FirstExamples {
    /// A teacher with outcomes in the log was asked before.
    pub(super) fn new(tasks: &TaskPlan, log: &OutcomeLog) -> FirstExamples {
        let teachers = tasks.job.spec.teachers.iter().enumerate();
        let teachers = teachers.map(|(teacher, program)| FirstExample {
            lms: (program.predictors.iter())
                .map(|predictor| predictor.lm.clone())
                .collect(),
            is_answered: tasks.of_teacher(teacher).any(|task| log.has_trace(task)),
            published: 0,
            since: None,
            failed: 0,
            message: String::new(),
        });
        FirstExamples {
            teachers: teachers.collect(),
        }
    }

    /// Whether all other examples may be published.
    pub(super) fn are_answered(&self) -> bool {
        self.teachers.iter().all(|teacher| teacher.is_answered)
    }

    /// How many more examples of each teacher to publish: the first, and all further ones once it failed or has taken long.
    pub(super) fn due(&self, now: Instant) -> impl Iterator<Item = (usize, usize)> {
        let teachers = self.teachers.iter().enumerate();
        teachers.filter_map(move |(teacher, first)| {
            let is_late = first.since.is_some_and(|since| now >= since + LONE);
            let wanted = if first.failed == 0 && !is_late {
                1
            } else {
                MAX_TRIES
            };
            let due = wanted.saturating_sub(first.published);
            (due > 0 && !first.is_answered).then_some((teacher, due))
        })
    }

    /// Enters examples of a teacher that were published for it. With fewer than were due it has no others, and is not waited for.
    pub(super) fn published(&mut self, teacher: usize, examples: usize, due: usize, now: Instant) {
        let first = &mut self.teachers[teacher];
        first.published += examples;
        first.since.get_or_insert(now);
        first.is_answered |= examples < due;
    }

    /// Enters an outcome.
    pub(super) fn enter(&mut self, teacher: u32, ended: &EndedTask) {
        let Some(first) = self.teachers.get_mut(teacher as usize) else {
            return;
        };
        match &ended.failure {
            Some(failure) if failure.kind == FailureKind::Lm => {
                first.failed += 1;
                first.message.clone_from(&failure.message);
            }
            _ => first.is_answered = true,
        }
    }

    /// Enters the names of LMs that have answered in this run.
    pub(super) fn enter_answered(&mut self, lms: &HashSet<&str>) {
        for first in &mut self.teachers {
            first.is_answered |= first.lms.iter().all(|lm| lms.contains(lm.as_str()));
        }
    }

    /// Why the run stops, if a teacher's first examples all failed.
    pub(super) fn verdict(&self) -> Option<RunError> {
        let mut teachers = self.teachers.iter();
        let hopeless = teachers.find(|first| !first.is_answered && first.failed >= MAX_TRIES)?;
        Some(RunError::FirstExamples {
            examples: hopeless.failed,
            message: hopeless.message.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::outcome_drain::tests::{dropped, failed, failed_by};

    fn first(lms: &[&[&str]]) -> FirstExamples {
        let teachers = lms.iter().map(|lms| FirstExample {
            lms: lms.iter().map(|lm| (*lm).to_owned()).collect(),
            is_answered: false,
            published: 0,
            since: None,
            failed: 0,
            message: String::new(),
        });
        FirstExamples {
            teachers: teachers.collect(),
        }
    }

    fn due(first: &FirstExamples, now: Instant) -> Vec<(usize, usize)> {
        first.due(now).collect()
    }

    #[test]
    fn each_teacher_has_one_first_example() {
        let now = Instant::now();
        let mut first = first(&[&["a"], &["b"]]);
        assert_eq!(due(&first, now), [(0, 1), (1, 1)]);
        first.published(0, 1, 1, now);
        first.published(1, 1, 1, now);
        assert_eq!(due(&first, now), []);
        first.enter(0, &dropped(0));
        assert!(!first.are_answered());
        first.enter(1, &failed_by(FailureKind::Parse, 9));
        assert!(first.are_answered());
    }

    #[test]
    fn three_examples_without_an_answer_stop_the_run() {
        let now = Instant::now();
        let mut first = first(&[&["a"]]);
        first.published(0, 1, 1, now);
        first.enter(0, &failed(0));
        assert_eq!(due(&first, now), [(0, 2)]);
        first.published(0, 2, 2, now);
        first.enter(0, &failed(1));
        assert!(first.verdict().is_none());
        first.enter(0, &failed(2));
        let stopped = first.verdict().expect("three failures").to_string();
        assert_eq!(
            stopped,
            "the first 3 examples failed, the last one with: HTTP 400: too long"
        );
    }

    #[test]
    fn answer_after_a_failure_opens_the_window() {
        let now = Instant::now();
        let mut first = first(&[&["a"]]);
        first.published(0, 1, 1, now);
        first.enter(0, &failed(0));
        first.published(0, 2, 2, now);
        first.enter(0, &dropped(1));
        assert!(first.are_answered() && first.verdict().is_none());
        first.enter(0, &failed(2));
        assert!(first.are_answered() && first.verdict().is_none());
    }

    #[test]
    fn teacher_without_further_examples_is_not_waited_for() {
        let now = Instant::now();
        let mut first = first(&[&["a"]]);
        first.published(0, 1, 1, now);
        first.enter(0, &failed(0));
        first.published(0, 0, 2, now);
        assert!(first.are_answered());
    }

    #[test]
    fn answers_of_all_lms_of_a_teacher_open_the_window() {
        let mut first = first(&[&["a", "b"]]);
        first.enter_answered(&HashSet::from(["a"]));
        assert!(!first.are_answered());
        first.enter_answered(&HashSet::from(["a", "b"]));
        assert!(first.are_answered());
    }

    #[test]
    fn first_example_that_hangs_holds_the_others_for_half_a_minute() {
        let now = Instant::now();
        let mut first = first(&[&["a"]]);
        first.published(0, 1, 1, now);
        assert_eq!(due(&first, now + LONE / 2), []);
        assert_eq!(due(&first, now + LONE), [(0, 2)]);
        first.published(0, 2, 2, now + LONE);
        assert_eq!(due(&first, now + 2 * LONE), []);
        first.enter(0, &dropped(1));
        assert!(first.are_answered());
    }
}
