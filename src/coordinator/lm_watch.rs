//! Watches the LMs that the bootstrap calls, and stops the run if they cannot be used. The workers' heartbeats carry their status.
//!
//! - An account that every worker reports as closed stops the run: no example can be answered before a person corrects the cause.
//! - A run whose LMs no worker can connect to, because of a key that is missing or not allowed, is stopped with the workers' reasons.
//! - The run waits for an LM that is away on every worker, for up to `patience`. If the LM has not answered in this run, it waits only for
//!   some seconds, unless `--wait` was given.

mod endpoint;
mod overall_state;
mod status_text;

pub(super) use overall_state::total_limit;

use super::error::RunError;
use super::lm_stopped::{self, AwayLm, ClosedLm, RefusedByWorkers};
use super::workers::Workers;
use crate::coordination::Heartbeat;
use crate::job::Job;
use crate::lm::{LmSettings, LmStatus};
use crate::report::OutcomeCounts;
use endpoint::{ServedRun, WatchedEndpoint};
use overall_state::OverallLmState;
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;

/// How long, in seconds, an LM may be away that has not answered in this run. With the rounding to whole seconds, and the interval of the
/// heartbeats, the run stops after 7 s.
const FIRST_ANSWER_SECS: u64 = 5;

/// How long the run waits for an LM that is away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// The longest wait for an LM that has answered in this run.
    pub(super) patience: Duration,
    /// Whether `patience` also applies to an LM that has not answered in this run.
    pub(super) for_first_answer: bool,
}

/// The LMs that the bootstrap calls, and their state.
pub(super) struct LmWatch {
    /// Digest of the job as the store has it.
    job: String,
    lms: Vec<WatchedLm>,
    waiting: Waiting,
    started: Instant,
    workers: Workers,
    /// Why the workers cannot connect to the LMs, if none of them can.
    refusal: Option<RefusedByWorkers>,
}

/// An LM and its endpoints.
struct WatchedLm {
    settings: LmSettings,
    endpoints: Vec<WatchedEndpoint>,
    /// Answers in this run: the maximum of those in the heartbeats and those in the outcome log.
    answers: u64,
}

impl LmWatch {
    /// `digest` is that of the job as the store has it.
    pub(super) fn new(job: &Job, digest: &str, waiting: Waiting, workers: Workers, now: Instant) -> LmWatch {
        let teachers = job.spec.teachers.iter().flat_map(|teacher| &teacher.predictors);
        let called: HashSet<&str> = teachers.map(|predictor| predictor.lm.as_str()).collect();
        let settings = job.spec.lms.values();
        let settings = settings.filter(|lm| called.contains(lm.name.as_str()));
        LmWatch {
            job: digest.to_owned(),
            ..LmWatch::from_settings(settings.cloned(), waiting, workers, now)
        }
    }

    fn from_settings(
        lms: impl IntoIterator<Item = LmSettings>,
        waiting: Waiting,
        workers: Workers,
        now: Instant,
    ) -> LmWatch {
        let lms = lms.into_iter().map(|settings| WatchedLm {
            endpoints: WatchedEndpoint::all(&settings, now),
            settings,
            answers: 0,
        });
        LmWatch {
            job: String::new(),
            lms: lms.collect(),
            waiting,
            started: now,
            workers,
            refusal: None,
        }
    }

    /// Applies the present heartbeats and the counts of the outcomes. Returns a log line for each LM or endpoint whose state has changed.
    pub(super) fn update(
        &mut self,
        heartbeats: &[Heartbeat],
        counts: &OutcomeCounts,
        now: Instant,
    ) -> Vec<String> {
        let run_secs = now.duration_since(self.started).as_secs();
        self.refusal = RefusedByWorkers::from_heartbeats(heartbeats, &self.job, run_secs);
        let served = ServedRun {
            workers: self.workers,
            run_secs: if self.workers.may_be_elsewhere() {
                run_secs
            } else {
                u64::MAX
            },
        };
        let lms = self.lms.iter_mut();
        lms.flat_map(|lm| lm.update(heartbeats, counts, served, now))
            .collect()
    }

    /// The error that stops the run; `None` if it may continue or wait.
    pub(super) fn verdict(&self) -> Option<RunError> {
        let refusal = self.refusal.clone().map(RunError::RefusedByWorkers);
        refusal.or_else(|| self.lms.iter().find_map(|lm| lm.verdict(self.waiting)))
    }

    /// The limits that hold the run back, one text for each LM or endpoint.
    pub(super) fn limits(&self) -> Vec<String> {
        self.lms.iter().flat_map(WatchedLm::limits).collect()
    }

    /// Whether the status belongs to a watched LM. A worker may serve other runs, too.
    pub(super) fn watches(&self, status: &LmStatus) -> bool {
        self.lms
            .iter()
            .flat_map(|lm| &lm.endpoints)
            .any(|endpoint| endpoint.is_of(status))
    }

    /// The names of the LMs that have answered in this run.
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
        served: ServedRun,
        now: Instant,
    ) -> Vec<String> {
        let was_out = self.is_out();
        let endpoints = self.endpoints.iter_mut();
        let before: Vec<OverallLmState> = endpoints
            .map(|endpoint| endpoint.update(heartbeats, served, now))
            .collect();
        let reported = self.endpoints.iter().map(|endpoint| endpoint.answers).sum();
        let in_log = counts.lms.get(&self.settings.name);
        let in_log = in_log.map_or(0, |totals| totals.answers);
        self.answers = self.answers.max(reported).max(in_log);
        let name = &self.settings.name;
        if let ([endpoint], [before]) = (&*self.endpoints, &*before) {
            let change = status_text::change(name, &endpoint.address(), before, &endpoint.state);
            return change.into_iter().collect();
        }
        let pairs = self.endpoints.iter().zip(&before);
        let changes = pairs.filter_map(|(endpoint, before)| {
            let (label, state) = (&endpoint.label, &endpoint.state);
            status_text::endpoint_change(name, label, &endpoint.address(), before, state)
        });
        let mut changes: Vec<String> = changes.collect();
        if self.is_out() && !was_out {
            changes.push(status_text::all_out(name));
        }
        changes
    }

    /// Whether no endpoint takes calls.
    fn is_out(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.state.is_out())
    }

    /// The error that stops the run because of this LM. Endpoints that are out do not stop it while another one takes the calls.
    fn verdict(&self, waiting: Waiting) -> Option<RunError> {
        if !self.is_out() {
            return None;
        }
        self.closed().or_else(|| self.away(waiting))
    }

    /// The error if the account of every endpoint is closed; `None` if not.
    fn closed(&self) -> Option<RunError> {
        let closed = self.endpoints.iter().map(|endpoint| match &endpoint.state {
            OverallLmState::Closed(account) => Some((endpoint, account)),
            _ => None,
        });
        let closed: Vec<_> = closed.collect::<Option<_>>()?;
        // An account that reopens by itself decides, because the run can continue then.
        let (first, account) = (closed.iter().find(|(_, account)| lm_stopped::reopens(account)))
            .or(closed.first())
            .copied()?;
        let others = closed
            .iter()
            .filter(|(endpoint, _)| endpoint.label != first.label);
        Some(RunError::AccountClosed(Box::new(ClosedLm {
            lm: self.settings.name.clone(),
            model: self.settings.model.clone(),
            address: first.address(),
            key_variable: first.settings.key_variable().map(str::to_owned),
            account: account.clone(),
            answers: self.answers,
            others: others
                .map(|(endpoint, account)| status_text::left_out(&endpoint.label, account))
                .collect(),
        })))
    }

    /// The error if the servers have been away for too long, apart from endpoints whose account is closed.
    fn away(&self, waiting: Waiting) -> Option<RunError> {
        let away = self
            .endpoints
            .iter()
            .filter_map(|endpoint| match &endpoint.state {
                OverallLmState::Away {
                    secs,
                    error,
                    names_remedy,
                } => Some((endpoint, *secs, (error, *names_remedy))),
                _ => None,
            });
        let away: Vec<_> = away.collect();
        let (last, secs, (error, names_remedy)) = away.iter().min_by_key(|(_, secs, _)| *secs).copied()?;
        let has_answered = self.answers > 0;
        let longest = if has_answered || waiting.for_first_answer {
            waiting.patience.as_secs()
        } else {
            FIRST_ANSWER_SECS.min(waiting.patience.as_secs())
        };
        let addresses: Vec<String> = away.iter().map(|(endpoint, ..)| endpoint.address()).collect();
        (secs >= longest).then(|| {
            RunError::LmAway(Box::new(AwayLm {
                lm: self.settings.name.clone(),
                error: status_text::cause(&last.address(), error).to_owned(),
                names_remedy,
                addresses,
                secs,
                has_answered,
            }))
        })
    }

    /// The limit of a single endpoint counts only if every endpoint in use is limited.
    fn limits(&self) -> Vec<String> {
        let name = &self.settings.name;
        let has_several = self.endpoints.len() > 1;
        let are_limited = self.endpoints.iter().all(|endpoint| endpoint.state.is_limited());
        let limit = |endpoint: &WatchedEndpoint| {
            let (refused, all) = endpoint.last_minute();
            let account = endpoint.settings.account.as_deref();
            if !has_several {
                return status_text::limit(name, account, &endpoint.address(), &endpoint.state, refused, all);
            }
            if endpoint.state.is_out() {
                return status_text::endpoint_out(
                    name,
                    &endpoint.label,
                    &endpoint.address(),
                    &endpoint.state,
                );
            }
            let name = format!("{name} at {}", endpoint.label);
            let limit =
                status_text::limit(&name, account, &endpoint.address(), &endpoint.state, refused, all);
            limit.filter(|_| are_limited)
        };
        self.endpoints.iter().filter_map(limit).collect()
    }
}

#[cfg(test)]
mod tests;
