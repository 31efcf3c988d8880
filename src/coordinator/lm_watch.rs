//! Watches the LMs that the bootstrap calls, by the heartbeats of the workers, and decides when the run cannot go on.
//!
//! - An account that every worker reports as closed stops the run: no example can be answered before a person mends it.
//! - An LM that is away on every worker is waited for, up to `patience`; one that never answered in this run only for some seconds,
//!   unless `--wait` was given.

mod stand;
mod texts;

use super::error::RunError;
use super::lm_stopped::{AwayLm, ClosedLm};
use crate::coordination::Heartbeat;
use crate::job::Job;
use crate::lm::{LmSettings, LmStatus};
use crate::report::{LastMinute, OutcomeCounts};
use stand::{LmReport, LmStand};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long, in seconds, an LM may be away that has never answered in this run. With the time in which a gate notices it, the run
/// stops within 10 s.
const FIRST_ANSWER_SECS: u64 = 8;

/// How long the run waits for an LM that is away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// For one that has answered in this run.
    pub(super) patience: Duration,
    /// Whether that holds for one that has never answered, too.
    pub(super) for_first_answer: bool,
}

/// The LMs that the bootstrap calls.
pub(super) struct LmWatch {
    lms: Vec<WatchedLm>,
    waiting: Waiting,
    started: Instant,
    /// Whether every worker started with this process, so that all its answers are of this run.
    is_alone: bool,
}

/// An LM and what the workers have reported of it.
struct WatchedLm {
    settings: LmSettings,
    /// Answers that a process had before this run, by host and pid.
    before: HashMap<(String, u32), u64>,
    /// Answers in this run, as far as workers have reported them or outcomes show them.
    answers: u64,
    stand: LmStand,
    throttled: LastMinute,
    answered: LastMinute,
}

impl LmWatch {
    pub(super) fn new(job: &Job, waiting: Waiting, is_alone: bool, now: Instant) -> LmWatch {
        let teachers = job.spec.teachers.iter().flat_map(|teacher| &teacher.predictors);
        let called: HashSet<&str> = teachers.map(|predictor| predictor.lm.as_str()).collect();
        let settings = job.spec.lms.values();
        let settings = settings.filter(|lm| called.contains(lm.name.as_str()));
        LmWatch::of(settings.cloned(), waiting, is_alone, now)
    }

    fn of(
        lms: impl IntoIterator<Item = LmSettings>,
        waiting: Waiting,
        is_alone: bool,
        now: Instant,
    ) -> LmWatch {
        let lms = lms.into_iter().map(|settings| WatchedLm {
            settings,
            before: HashMap::new(),
            answers: 0,
            stand: LmStand::Uncalled,
            throttled: LastMinute::new(0, now),
            answered: LastMinute::new(0, now),
        });
        LmWatch {
            lms: lms.collect(),
            waiting,
            started: now,
            is_alone,
        }
    }

    /// Takes the workers' present heartbeats and the counts of the outcomes. Returns a line for each LM whose state has changed.
    pub(super) fn update(
        &mut self,
        heartbeats: &[Heartbeat],
        counts: &OutcomeCounts,
        now: Instant,
    ) -> Vec<String> {
        let is_alone = self.is_alone;
        let run_secs = if is_alone {
            u64::MAX
        } else {
            now.duration_since(self.started).as_secs()
        };
        let lms = self.lms.iter_mut();
        lms.filter_map(|lm| lm.update(heartbeats, counts, run_secs, is_alone, now))
            .collect()
    }

    /// Why the run stops, if an LM cannot be waited for.
    pub(super) fn verdict(&self) -> Option<RunError> {
        self.lms.iter().find_map(|lm| lm.verdict(self.waiting))
    }

    /// What limits the run, one text for each LM that does.
    pub(super) fn limits(&self) -> Vec<String> {
        self.lms.iter().filter_map(WatchedLm::limit).collect()
    }

    /// Names of the LMs that have answered in this run.
    pub(super) fn answered(&self) -> HashSet<&str> {
        let answered = self.lms.iter().filter(|lm| lm.answers > 0);
        answered.map(|lm| lm.settings.name.as_str()).collect()
    }
}

impl WatchedLm {
    fn update(
        &mut self,
        heartbeats: &[Heartbeat],
        counts: &OutcomeCounts,
        run_secs: u64,
        is_alone: bool,
        now: Instant,
    ) -> Option<String> {
        let mut reports = Vec::new();
        let mut answers = 0;
        // The workers of a process share its gates.
        let mut processes = HashSet::new();
        for heartbeat in heartbeats {
            let process = &heartbeat.worker.process;
            let process = (process.host.clone(), process.pid);
            if !processes.insert(process.clone()) {
                continue;
            }
            let of_lm = heartbeat
                .worker
                .lms
                .iter()
                .find(|status| is_of(status, &self.settings));
            let Some(status) = of_lm else {
                self.before.entry(process).or_insert(0);
                continue;
            };
            let first = if is_alone { 0 } else { status.answered };
            let before = *self.before.entry(process).or_insert(first);
            answers += status.answered.saturating_sub(before);
            reports.push(LmReport {
                status,
                age_secs: heartbeat.age_secs,
            });
        }
        let in_log = counts
            .lms
            .get(&self.settings.name)
            .map_or(0, |totals| totals.answers);
        self.answers = self.answers.max(answers).max(in_log);
        let total = |count: fn(&LmStatus) -> u64| reports.iter().map(|report| count(report.status)).sum();
        self.throttled.enter(total(|status| status.throttled), now);
        self.answered.enter(total(|status| status.answered), now);
        let stand = LmStand::of(&reports, run_secs);
        let change = texts::change(&self.settings.name, &self.shown_address(), &self.stand, &stand);
        self.stand = stand;
        change
    }

    fn verdict(&self, waiting: Waiting) -> Option<RunError> {
        match &self.stand {
            LmStand::Uncalled | LmStand::Open { .. } => None,
            LmStand::Closed(account) => Some(RunError::AccountClosed(Box::new(ClosedLm {
                lm: self.settings.name.clone(),
                model: self.settings.model.clone(),
                address: self.shown_address(),
                key_variable: self.settings.key_variable().map(str::to_owned),
                account: account.clone(),
                answers: self.answers,
            }))),
            LmStand::Away { secs, error } => {
                let has_answered = self.answers > 0;
                let longest = if has_answered || waiting.for_first_answer {
                    waiting.patience.as_secs()
                } else {
                    FIRST_ANSWER_SECS.min(waiting.patience.as_secs())
                };
                (*secs >= longest).then(|| {
                    RunError::LmAway(Box::new(AwayLm {
                        lm: self.settings.name.clone(),
                        address: self.shown_address(),
                        error: texts::cause(&self.shown_address(), error).to_owned(),
                        secs: *secs,
                        has_answered,
                    }))
                })
            }
        }
    }

    fn limit(&self) -> Option<String> {
        let refused = self.throttled.growth();
        let all = refused + self.answered.growth();
        texts::limit(&self.settings, &self.shown_address(), &self.stand, refused, all)
    }

    fn shown_address(&self) -> String {
        self.settings.shown_address()
    }
}

/// Whether the status is of the account, model and address that the settings name.
fn is_of(status: &LmStatus, settings: &LmSettings) -> bool {
    status.model == settings.model
        && status.address == settings.shown_address()
        && status.key_variable.as_deref() == settings.key_variable()
}

#[cfg(test)]
mod tests;
