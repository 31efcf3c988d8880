//! Stops a hopeless run: most of the examples that ended lately failed, or the metric keeps none of them.
//!
//! Both guards look at the outcomes of this process only, so that the same command goes on with a fresh window after the cause was mended.

use super::error::RunError;
use super::outcome_drain::EndedTask;
use super::outcome_log::OutcomeLog;
use super::task_plan::TaskPlan;
use crate::http::shorten;
use crate::run_dir::RunDir;
use serde_json::Value as Json;
use std::collections::VecDeque;

/// The fewest outcomes that are judged.
const MIN_WINDOW: usize = 50;

/// After so many traces without a kept one the run stops.
const NONE_KEPT: usize = 200;

/// A `max_failure_rate` that switches both guards off.
const OFF: f64 = 1.0;

/// Why a run is hopeless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hopeless {
    /// So many of the last outcomes are failures.
    Failing { failed: usize, ended: usize },
    /// So many traces, and none was kept. One of their tasks is the example to show.
    NoneKept { traces: usize, task: usize },
}

impl Hopeless {
    /// The error that ends the run.
    pub(super) fn error(self, tasks: &TaskPlan, log: &OutcomeLog, dir: &RunDir) -> RunError {
        match self {
            Hopeless::Failing { failed, ended } => RunError::TooManyFailures {
                failed,
                ended,
                allowed: tasks.job.max_failure_rate,
                dir: dir.clone(),
            },
            Hopeless::NoneKept { traces, task } => RunError::NoneKept {
                metric: metric(tasks),
                traces,
                example: prediction_and_label(tasks, log, task),
            },
        }
    }
}

/// The metric as the job file has it.
fn metric(tasks: &TaskPlan) -> String {
    let Some(metric) = &tasks.job.spec.metric else {
        return String::new();
    };
    let kind = serde_json::to_value(metric.kind).unwrap_or_default();
    format!("{} = \"{}\"", kind.as_str().unwrap_or_default(), metric.field)
}

/// What the metric compared on a task's example.
fn prediction_and_label(tasks: &TaskPlan, log: &OutcomeLog, task: usize) -> String {
    let (_, example) = tasks.teacher_and_example(task);
    let field = tasks
        .job
        .spec
        .metric
        .as_ref()
        .map_or("", |metric| metric.field.as_str());
    let value = |object: Option<&Json>| {
        let value = object.and_then(|object| object.get(field));
        value.map_or_else(|| "nothing".to_owned(), |value| shorten(&value.to_string()))
    };
    let line: Json = log
        .trace_line(task)
        .ok()
        .and_then(|line| serde_json::from_str(&line).ok())
        .unwrap_or_default();
    let row = tasks.job.trainset.json(example as usize);
    let row: Json = row
        .ok()
        .and_then(|row| serde_json::from_str(&row).ok())
        .unwrap_or_default();
    format!(
        "of example {example} the prediction has {field} = {}, the trainset {}",
        value(line.get("prediction")),
        value(Some(&row))
    )
}

/// Judges outcomes in the order of their arrival.
pub(super) struct FailureGuard {
    allowed: f64,
    /// Whether each of the last outcomes is a failure.
    lately: VecDeque<bool>,
    failed: usize,
    /// `None` once a trace was kept.
    dropped: Option<usize>,
    last_dropped: usize,
}

impl FailureGuard {
    /// `has_kept`: whether an earlier process of the run has kept traces.
    pub(super) fn new(allowed: f64, has_kept: bool) -> FailureGuard {
        FailureGuard {
            allowed,
            lately: VecDeque::new(),
            failed: 0,
            dropped: (!has_kept).then_some(0),
            last_dropped: 0,
        }
    }

    /// Enters an outcome.
    pub(super) fn enter(&mut self, ended: &EndedTask) {
        let has_failed = ended.failure.is_some();
        self.lately.push_back(has_failed);
        self.failed += usize::from(has_failed);
        if ended.is_kept {
            self.dropped = None;
        } else if let Some(dropped) = &mut self.dropped
            && !has_failed
        {
            *dropped += 1;
            self.last_dropped = ended.task;
        }
    }

    /// Judges the last outcomes. The window is twice the calls in flight, at least [`MIN_WINDOW`]: examples that fail at once overtake
    /// those that take long. If a share below one half fails at once, fewer failures than calls in flight come before the first success.
    pub(super) fn judge(&mut self, in_flight: usize) -> Option<Hopeless> {
        if self.allowed >= OFF {
            return None;
        }
        let window = MIN_WINDOW.max(2 * in_flight);
        while self.lately.len() > window {
            self.failed -= usize::from(self.lately.pop_front() == Some(true));
        }
        let ended = self.lately.len();
        if ended == window && self.failed as f64 > self.allowed * ended as f64 {
            return Some(Hopeless::Failing {
                failed: self.failed,
                ended,
            });
        }
        let traces = self.dropped.filter(|dropped| *dropped >= NONE_KEPT)?;
        Some(Hopeless::NoneKept {
            traces,
            task: self.last_dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::outcome_drain::tests::{dropped, failed, kept};

    fn judged(guard: &mut FailureGuard, outcomes: impl IntoIterator<Item = EndedTask>) -> Option<Hopeless> {
        outcomes.into_iter().for_each(|ended| guard.enter(&ended));
        guard.judge(4)
    }

    #[test]
    fn failures_count_among_the_last_outcomes_only() {
        let mut guard = FailureGuard::new(0.5, false);
        assert_eq!(judged(&mut guard, (0..49).map(failed)), None);
        assert_eq!(judged(&mut guard, (0..25).map(kept)), None);
        assert_eq!(judged(&mut guard, (0..10_000).map(kept)), None);
        assert_eq!(judged(&mut guard, (0..25).map(failed)), None);
        let expected = Hopeless::Failing {
            failed: 26,
            ended: 50,
        };
        assert_eq!(judged(&mut guard, [failed(0)]), Some(expected));
    }

    #[test]
    fn window_follows_the_calls_in_flight() {
        let mut guard = FailureGuard::new(0.5, false);
        (0..127).for_each(|task| guard.enter(&failed(task)));
        assert_eq!(guard.judge(64), None);
        guard.enter(&failed(127));
        assert!(guard.judge(64).is_some());
    }

    #[test]
    fn no_kept_trace_among_200_is_hopeless() {
        let mut guard = FailureGuard::new(0.5, false);
        assert_eq!(judged(&mut guard, (0..199).map(dropped)), None);
        let expected = Hopeless::NoneKept {
            traces: 200,
            task: 199,
        };
        assert_eq!(judged(&mut guard, [dropped(199)]), Some(expected));
    }

    #[test]
    fn one_kept_trace_of_this_or_an_earlier_process_gives_hope() {
        let mut guard = FailureGuard::new(0.5, false);
        guard.enter(&kept(0));
        assert_eq!(judged(&mut guard, (1..1000).map(dropped)), None);
        let mut resumed = FailureGuard::new(0.5, true);
        assert_eq!(judged(&mut resumed, (1..1000).map(dropped)), None);
    }

    #[test]
    fn rate_of_1_switches_both_guards_off() {
        let mut guard = FailureGuard::new(1.0, false);
        assert_eq!(judged(&mut guard, (0..1000).map(failed)), None);
        assert_eq!(judged(&mut guard, (0..1000).map(dropped)), None);
    }
}
