//! One endpoint of a watched LM, with its state from the workers' heartbeats.

use super::overall_state::{LmReport, OverallLmState};
use crate::coordination::Heartbeat;
use crate::coordinator::workers::Workers;
use crate::lm::{LmSettings, LmStatus};
use crate::report::LastMinute;
use std::collections::{HashMap, HashSet};
use tokio::time::Instant;

/// An endpoint and its state.
pub(super) struct WatchedEndpoint {
    /// The LM's settings, with this endpoint only.
    pub(super) settings: LmSettings,
    /// The endpoint's name among those of its LM, for messages.
    pub(super) label: String,
    /// Answers of a process before this run, by host and pid.
    before: HashMap<(String, u32), u64>,
    /// Answers in this run, as the heartbeats report them.
    pub(super) answers: u64,
    pub(super) state: OverallLmState,
    throttled: LastMinute,
    answered: LastMinute,
}

/// How long the workers may have served this run.
#[derive(Clone, Copy)]
pub(super) struct ServedRun {
    /// The most seconds for which a worker may have served this run.
    pub(super) run_secs: u64,
    pub(super) workers: Workers,
}

impl WatchedEndpoint {
    /// The endpoints of an LM.
    pub(super) fn all(lm: &LmSettings, now: Instant) -> Vec<WatchedEndpoint> {
        let watched = |(settings, label): (LmSettings, String)| WatchedEndpoint {
            settings,
            label,
            before: HashMap::new(),
            answers: 0,
            state: OverallLmState::Uncalled,
            throttled: LastMinute::new(0, now),
            answered: LastMinute::new(0, now),
        };
        let endpoints = lm.endpoints().into_iter().zip(lm.endpoint_labels());
        endpoints.map(watched).collect()
    }

    /// Applies the present heartbeats. Returns the previous state.
    pub(super) fn update(
        &mut self,
        heartbeats: &[Heartbeat],
        served: ServedRun,
        now: Instant,
    ) -> OverallLmState {
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
            let mut statuses = heartbeat.worker.lms.iter();
            let Some(status) = statuses.find(|status| self.is_of(status)) else {
                self.before.entry(process).or_insert(0);
                continue;
            };
            // All answers of a process that started with the run belong to it.
            let first = if served.workers.may_be_elsewhere() {
                status.answered
            } else {
                0
            };
            let before = *self.before.entry(process).or_insert(first);
            answers += status.answered.saturating_sub(before);
            reports.push(LmReport {
                status,
                age_secs: heartbeat.age_secs,
            });
        }
        self.answers = self.answers.max(answers);
        let total = |count: fn(&LmStatus) -> u64| reports.iter().map(|report| count(report.status)).sum();
        self.throttled.enter(total(|status| status.throttled), now);
        self.answered.enter(total(|status| status.answered), now);
        let state = OverallLmState::from_reports(&reports, served.run_secs);
        std::mem::replace(&mut self.state, state)
    }

    /// Requests of the last minute: those refused for the rate, and the sum of these and the answered ones.
    pub(super) fn last_minute(&self) -> (u64, u64) {
        let refused = self.throttled.growth();
        (refused, refused + self.answered.growth())
    }

    pub(super) fn address(&self) -> String {
        self.settings.shown_address()
    }

    /// Whether the status belongs to this endpoint: its model, address and key variable.
    pub(super) fn is_of(&self, status: &LmStatus) -> bool {
        status.model == self.settings.model
            && status.address == self.settings.shown_address()
            && status.key_variable.as_deref() == self.settings.key_variable()
    }
}
