//! The state of an LM over all workers of a run, from the status that each worker reports.

use crate::lm::{ClosedAccount, LmState, LmStatus};

/// The most seconds by which the sum of two times in whole seconds is too low.
const ROUNDED_SECS: u64 = 2;

/// The status of an LM in one heartbeat.
#[derive(Clone, Copy, Debug)]
pub(super) struct LmReport<'a> {
    pub(super) status: &'a LmStatus,
    /// Seconds since the heartbeat.
    pub(super) age_secs: u64,
}

/// The state of an LM over all workers of the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum OverallLmState {
    /// No worker of this run has called it.
    Uncalled,
    /// At least one worker sends requests.
    Open {
        /// The most requests per minute that all workers together release; `None` if nothing holds calls back.
        limit_per_min: Option<u64>,
        /// The most requests that all workers together have in flight, because more would saturate the server. `None` if this holds no call
        /// back.
        in_flight_limit: Option<u64>,
        /// The number of workers whose account is closed, and the reason of the first.
        closed: Option<(usize, ClosedAccount)>,
    },
    /// No worker gets an answer, and at least one waits for the server.
    Away {
        /// Seconds since the last answer, at most those of this run.
        secs: u64,
        /// The last error of a worker.
        error: String,
        /// Whether that error names the remedy.
        names_remedy: bool,
    },
    /// The account is closed on every worker.
    Closed(ClosedAccount),
}

impl OverallLmState {
    /// Whether no worker gets answers.
    pub(super) fn is_out(&self) -> bool {
        match self {
            OverallLmState::Away { .. } | OverallLmState::Closed(_) => true,
            OverallLmState::Uncalled | OverallLmState::Open { .. } => false,
        }
    }

    /// Whether the LM cannot take more calls than it gets.
    pub(super) fn is_limited(&self) -> bool {
        match self {
            OverallLmState::Uncalled => false,
            OverallLmState::Open { limit_per_min, .. } => limit_per_min.is_some(),
            OverallLmState::Away { .. } | OverallLmState::Closed(_) => true,
        }
    }

    /// Combines the reports of all workers. `run_secs` is the number of seconds for which the workers may have served this run. What
    /// happened on a worker before that does not count.
    pub(super) fn from_reports(reports: &[LmReport<'_>], run_secs: u64) -> OverallLmState {
        let (mut open, mut closed) = (Vec::new(), Vec::new());
        let mut away: Option<(u64, &LmReport<'_>)> = None;
        for report in reports {
            match &report.status.state {
                LmState::Open => open.push(report),
                LmState::Away { secs } => {
                    let secs = (secs + report.age_secs).min(run_secs);
                    if away.is_none_or(|(shortest, _)| secs < shortest) {
                        away = Some((secs, report));
                    }
                }
                LmState::Closed(account) if is_of_this_run(report, run_secs) => closed.push(account),
                LmState::Closed(_) => {}
            }
        }
        match (open.is_empty(), away, closed.first()) {
            (true, Some((secs, report)), _) => OverallLmState::Away {
                secs,
                error: report
                    .status
                    .last_error
                    .clone()
                    .unwrap_or_else(|| "no answer".to_owned()),
                names_remedy: report.status.last_error_names_remedy,
            },
            (true, None, Some(account)) => OverallLmState::Closed((*account).clone()),
            (true, None, None) => OverallLmState::Uncalled,
            (_, _, first) => OverallLmState::Open {
                limit_per_min: sum(&open, |status| status.limit_per_min),
                in_flight_limit: sum(&open, |status| status.in_flight_limit),
                closed: first.map(|account| (closed.len(), (*account).clone())),
            },
        }
    }
}

/// Whether the account was refused during this run. The gate of a worker without calls stays closed after an earlier run.
fn is_of_this_run(report: &LmReport<'_>, run_secs: u64) -> bool {
    let error_secs = report.status.last_error_secs;
    error_secs.is_none_or(|secs| secs + report.age_secs + ROUNDED_SECS <= run_secs)
}

/// The sum of a limit over the workers. `None` if a worker does not have it, or if no call waits.
fn sum(open: &[&LmReport<'_>], limit: fn(&LmStatus) -> Option<u64>) -> Option<u64> {
    let is_held_back = open.iter().any(|report| report.status.waiting > 0);
    total(open.iter().map(|report| report.status), limit).filter(|_| is_held_back)
}

/// The most requests per minute that workers with these statuses release together. `None` if one of them has no limit.
pub(in crate::coordinator) fn total_limit<'a>(statuses: impl Iterator<Item = &'a LmStatus>) -> Option<u64> {
    total(statuses, |status| status.limit_per_min)
}

fn total<'a>(
    statuses: impl Iterator<Item = &'a LmStatus>,
    limit: fn(&LmStatus) -> Option<u64>,
) -> Option<u64> {
    statuses.map(limit).sum()
}
