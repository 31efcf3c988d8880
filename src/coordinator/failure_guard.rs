//! Stops a run whose latest examples mostly failed, or of whose traces the metric keeps none.
//!
//! Both limits count the outcomes of this process only. So the same command resumes with a fresh count after the cause was removed.

use super::error::RunError;
use super::outcome_drain::EndedTask;
use super::outcome_log::OutcomeLog;
use super::task_plan::TaskPlan;
use crate::http::shorten;
use crate::run_dir::RunDir;
use serde_json::Value as Json;
use std::collections::VecDeque;

/// The least number of outcomes before the failure rate is compared with its limit.
const MIN_RECENT: usize = 50;

/// The number of dropped traces, without a kept one, that stops the run.
const NONE_KEPT: usize = 200;

/// The value of `max_failure_rate` that switches both limits off.
const OFF: f64 = 1.0;

/// The limit that stops a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FailureLimit {
    /// `failed` of the last `ended` outcomes are failures.
    Failing { failed: usize, ended: usize },
    /// None of `traces` traces was kept. `task` is the task of the last one, for the message.
    NoneKept { traces: usize, task: usize },
}

impl FailureLimit {
    /// The error that ends the run.
    pub(super) fn error(self, tasks: &TaskPlan, log: &OutcomeLog, dir: &RunDir) -> RunError {
        match self {
            FailureLimit::Failing { failed, ended } => RunError::TooManyFailures {
                failed,
                ended,
                allowed: tasks.job.max_failure_rate,
                dir: dir.clone(),
            },
            FailureLimit::NoneKept { traces, task } => RunError::NoneKept {
                metric: metric(tasks),
                traces,
                example: prediction_and_label(tasks, log, task),
            },
        }
    }
}

/// The metric in the job file's notation: its kind and its field.
fn metric(tasks: &TaskPlan) -> String {
    let Some(metric) = &tasks.job.spec.metric else {
        return String::new();
    };
    let kind = serde_json::to_value(metric.kind).unwrap_or_default();
    format!("{} = \"{}\"", kind.as_str().unwrap_or_default(), metric.field)
}

/// The text with the two values that the metric compared for a task's example.
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

/// Counts outcomes in the order of their arrival.
pub(super) struct FailureGuard {
    allowed: f64,
    /// Whether each of the last outcomes is a failure.
    recent: VecDeque<bool>,
    failed: usize,
    /// Dropped traces; `None` once a trace was kept.
    dropped: Option<usize>,
    last_dropped: usize,
}

impl FailureGuard {
    /// `has_kept`: whether an earlier process of the run has kept traces.
    pub(super) fn new(allowed: f64, has_kept: bool) -> FailureGuard {
        FailureGuard {
            allowed,
            recent: VecDeque::new(),
            failed: 0,
            dropped: (!has_kept).then_some(0),
            last_dropped: 0,
        }
    }

    /// Counts an outcome.
    pub(super) fn enter(&mut self, ended: &EndedTask) {
        let has_failed = ended.failure.is_some();
        self.recent.push_back(has_failed);
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

    /// Returns the limit that the latest outcomes have passed; `None` if the run may continue.
    ///
    /// The failure rate is that of the last `2 * in_flight` outcomes, at least [`MIN_RECENT`]: examples that fail at once overtake those
    /// that take long. If less than half of the examples fail at once, fewer failures than calls in flight precede the first success.
    pub(super) fn judge(&mut self, in_flight: usize) -> Option<FailureLimit> {
        if self.allowed >= OFF {
            return None;
        }
        let recent = MIN_RECENT.max(2 * in_flight);
        while self.recent.len() > recent {
            self.failed -= usize::from(self.recent.pop_front() == Some(true));
        }
        let ended = self.recent.len();
        if ended == recent && self.failed as f64 > self.allowed * ended as f64 {
            return Some(FailureLimit::Failing {
                failed: self.failed,
                ended,
            });
        }
        let traces = self.dropped.filter(|dropped| *dropped >= NONE_KEPT)?;
        Some(FailureLimit::NoneKept {
            traces,
            task: self.last_dropped,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::outcome_drain::tests::{dropped, failed, kept};

    fn judged(
        guard: &mut FailureGuard,
        outcomes: impl IntoIterator<Item = EndedTask>,
    ) -> Option<FailureLimit> {
        outcomes.into_iter().for_each(|ended| guard.enter(&ended));
        guard.judge(4)
    }

    #[test]
    fn max_failure_rate_applies_to_the_latest_outcomes() {
        let mut guard = FailureGuard::new(0.5, false);
        assert_eq!(judged(&mut guard, (0..49).map(failed)), None);
        assert_eq!(judged(&mut guard, (0..25).map(kept)), None);
        assert_eq!(judged(&mut guard, (0..10_000).map(kept)), None);
        assert_eq!(judged(&mut guard, (0..25).map(failed)), None);
        let expected = FailureLimit::Failing {
            failed: 26,
            ended: 50,
        };
        assert_eq!(judged(&mut guard, [failed(0)]), Some(expected));
    }

    #[test]
    fn failure_rate_counts_twice_the_calls_in_flight() {
        let mut guard = FailureGuard::new(0.5, false);
        (0..127).for_each(|task| guard.enter(&failed(task)));
        assert_eq!(guard.judge(64), None);
        guard.enter(&failed(127));
        assert!(guard.judge(64).is_some());
    }

    #[test]
    fn none_kept_of_200_traces_is_a_failure_limit() {
        let mut guard = FailureGuard::new(0.5, false);
        assert_eq!(judged(&mut guard, (0..199).map(dropped)), None);
        let expected = FailureLimit::NoneKept {
            traces: 200,
            task: 199,
        };
        assert_eq!(judged(&mut guard, [dropped(199)]), Some(expected));
    }

    #[test]
    fn kept_trace_of_this_or_an_earlier_process_lifts_the_limit() {
        let mut guard = FailureGuard::new(0.5, false);
        guard.enter(&kept(0));
        assert_eq!(judged(&mut guard, (1..1000).map(dropped)), None);
        let mut resumed = FailureGuard::new(0.5, true);
        assert_eq!(judged(&mut resumed, (1..1000).map(dropped)), None);
    }

    #[test]
    fn max_failure_rate_of_1_switches_both_limits_off() {
        let mut guard = FailureGuard::new(1.0, false);
        assert_eq!(judged(&mut guard, (0..1000).map(failed)), None);
        assert_eq!(judged(&mut guard, (0..1000).map(dropped)), None);
    }
}
