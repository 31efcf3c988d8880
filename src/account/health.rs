//! The health of a server and its account, as a gate knows it: open, away, suspected or closed. Rates are not part of it.

use crate::lm::{ClosedAccount, LmState};
use std::time::Duration;
use tokio::time::Instant;

/// Consecutive failures, over all calls, after which the server counts as away.
pub(super) const AWAY_AFTER: u32 = 5;

/// The same limit for a server that has never answered: its address may simply be wrong.
pub(super) const AWAY_AFTER_NO_ANSWER: u32 = 3;

/// The longest interval between two probes of a server that is away, in seconds. It bounds the delay until the full rate is back.
const LONGEST_AWAY_PROBE: u64 = 4;

/// The longest interval between two probes of a closed account, in seconds.
const LONGEST_CLOSED_PROBE: u64 = 30;

/// How long a refused call waits for other calls to confirm or refute the refusal.
pub(super) const CONFIRMED_BY_OTHERS: Duration = Duration::from_secs(1);

/// How long a suspicion waits for the reply to its probe before it sends another probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Refused probes that close an account, if the account was accepted before and the status may be due to the content of the example.
const AGREED_DESPITE_ANSWERS: u32 = 2;

#[derive(Debug)]
pub(super) enum ServerHealth {
    /// Requests are sent.
    Open,
    /// The server does not answer.
    Away {
        /// When the first of the failures occurred.
        since: Instant,
        probes: Probes,
    },
    /// One call got a refusal that may apply to the whole account. A probe shows whether it does.
    Suspect {
        since: Instant,
        next_probe: Instant,
        /// Probes that got the same refusal.
        agreed: u32,
        /// The value of `agreed` that closes the account.
        needed: u32,
    },
    /// The account is refused.
    Closed { account: ClosedAccount, probes: Probes },
}

/// The schedule of single requests that test whether the server or the account is back.
#[derive(Debug)]
pub(super) struct Probes {
    next: Instant,
    made: u32,
}

/// Whether the health of the server lets a request through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum HealthAdmission {
    Pass,
    /// The request passes as a probe.
    Probe,
    /// The request has to wait until this time.
    NotBefore(Instant),
    /// No request passes: the call is handed back.
    Shut,
}

impl ServerHealth {
    pub(super) fn away(since: Instant, now: Instant) -> ServerHealth {
        let next = now + jittered(1);
        ServerHealth::Away {
            since,
            probes: Probes { next, made: 0 },
        }
    }

    pub(super) fn suspect(refusal: &ClosedAccount, was_answered: bool, now: Instant) -> ServerHealth {
        let is_ambiguous = may_be_content(refusal) && was_answered;
        ServerHealth::Suspect {
            since: now,
            next_probe: now,
            agreed: 0,
            needed: if is_ambiguous { AGREED_DESPITE_ANSWERS } else { 1 },
        }
    }

    /// The state after another process found the account refused.
    pub(super) fn suspect_elsewhere(now: Instant) -> ServerHealth {
        ServerHealth::Suspect {
            since: now,
            next_probe: now,
            agreed: 0,
            needed: 1,
        }
    }

    pub(super) fn closed(account: ClosedAccount, now: Instant) -> ServerHealth {
        let next = now + Duration::from_secs(10);
        ServerHealth::Closed {
            account,
            probes: Probes { next, made: 0 },
        }
    }

    pub(super) fn admission(&self, now: Instant) -> HealthAdmission {
        let probe_at = |next: Instant| {
            if next <= now {
                HealthAdmission::Probe
            } else {
                HealthAdmission::NotBefore(next)
            }
        };
        match self {
            ServerHealth::Open => HealthAdmission::Pass,
            ServerHealth::Away { probes, .. } => probe_at(probes.next),
            ServerHealth::Suspect { next_probe, .. } => probe_at(*next_probe),
            ServerHealth::Closed { probes, .. } if probes.next <= now => HealthAdmission::Probe,
            ServerHealth::Closed { .. } => HealthAdmission::Shut,
        }
    }

    /// Records that a probe is sent, and schedules the next one. So a probe that hangs does not delay the next.
    pub(super) fn probed(&mut self, now: Instant) {
        match self {
            ServerHealth::Open => {}
            ServerHealth::Away { probes, .. } => {
                probes.made += 1;
                let secs = 1u64 << probes.made.min(8);
                probes.next = now + jittered(secs.min(LONGEST_AWAY_PROBE));
            }
            ServerHealth::Suspect { next_probe, .. } => *next_probe = now + PROBE_TIMEOUT,
            ServerHealth::Closed { probes, .. } => {
                probes.made += 1;
                let secs = 10 * u64::from(probes.made + 1);
                probes.next = now + Duration::from_secs(secs.min(LONGEST_CLOSED_PROBE));
            }
        }
    }

    /// Makes the next probe of a server that is away, or of a closed account, due now.
    pub(super) fn probe_now(&mut self, now: Instant) {
        if let ServerHealth::Away { probes, .. } | ServerHealth::Closed { probes, .. } = self {
            probes.next = now;
        }
    }

    /// Schedules another probe of a suspicion in `after`, because the last probe was inconclusive.
    pub(super) fn probe_again(&mut self, after: Duration, now: Instant) {
        if let ServerHealth::Suspect { next_probe, .. } = self {
            *next_probe = now + after;
        }
    }

    /// Counts a probe that got the same refusal as the call that raised the suspicion. Returns the account if these are enough to close it;
    /// `None` if not, or if there is no suspicion.
    pub(super) fn agree(&mut self, refusal: ClosedAccount, now: Instant) -> Option<ClosedAccount> {
        let ServerHealth::Suspect {
            agreed,
            needed,
            next_probe,
            ..
        } = self
        else {
            return None;
        };
        *agreed += 1;
        *next_probe = now;
        (*agreed >= *needed).then_some(refusal)
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self, ServerHealth::Open)
    }

    /// The state that [`LmStatus`](crate::lm::LmStatus) reports. A suspicion is reported as open, because it usually ends within a second.
    pub(super) fn state(&self, now: Instant) -> LmState {
        match self {
            ServerHealth::Open | ServerHealth::Suspect { .. } => LmState::Open,
            ServerHealth::Away { since, .. } => LmState::Away {
                secs: now.saturating_duration_since(*since).as_secs(),
            },
            ServerHealth::Closed { account, .. } => LmState::Closed(account.clone()),
        }
    }
}

/// Whether the refusal may be due to the content of the example (HTTP 400 or 403).
pub(super) fn may_be_content(refusal: &ClosedAccount) -> bool {
    matches!(refusal.status, 400 | 403)
}

/// A duration of 75 % to 100 % of `secs` seconds. The jitter keeps the processes of a cluster from probing at the same time.
fn jittered(secs: u64) -> Duration {
    Duration::from_secs(secs).mul_f64(1.0 - 0.25 * fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lm::ClosedCause;

    fn after(start: Instant, secs: f64) -> Instant {
        start + Duration::from_secs_f64(secs)
    }

    #[test]
    fn server_away_is_probed_after_1_2_and_then_every_4_seconds() {
        let start = Instant::now();
        let (mut health, mut now) = (ServerHealth::away(start, start), start);
        for most in [1.0, 2.0, 4.0, 4.0, 4.0] {
            let HealthAdmission::NotBefore(next) = health.admission(now) else {
                panic!("{health:?}")
            };
            let wait = (next - now).as_secs_f64();
            assert!(wait <= most && wait >= most * 0.75, "{wait} of {most}");
            now = next;
            assert_eq!(health.admission(now), HealthAdmission::Probe);
            health.probed(now);
        }
    }

    #[test]
    fn closed_account_is_probed_after_10_20_and_then_every_30_seconds() {
        let account = ClosedAccount {
            cause: ClosedCause::Key,
            status: 401,
            message: "no".to_owned(),
            reset_secs: None,
        };
        let start = Instant::now();
        let mut health = ServerHealth::closed(account, start);
        let mut due = 0.0;
        for wait in [10.0, 20.0, 30.0, 30.0] {
            due += wait;
            assert_eq!(health.admission(after(start, due - 0.1)), HealthAdmission::Shut);
            assert_eq!(health.admission(after(start, due)), HealthAdmission::Probe);
            health.probed(after(start, due));
        }
    }
}
