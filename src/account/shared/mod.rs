//! The state of an account that the workers of a cluster share. The trait is implemented by the store on Redis.
//!
//! A process alone needs no shared state: its own pacers see all requests.

mod gate;
mod learnt;
mod slots;

pub(super) use gate::{HealthHint, SharedGate};
pub use learnt::{LearntGrant, LearntReport, RateGrant};
pub(super) use slots::SlotDemand;

use crate::hex::hex;
use crate::lm::AccountLimits;
use crate::store_error::StoreError;
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::time::Duration;

/// The state of accounts that the gates of all workers share.
#[async_trait]
pub trait SharedAccounts: fmt::Debug + Send + Sync {
    /// Reports the requests of a gate since its last report, and reserves slots for it.
    ///
    /// After an error it is unknown whether the report was counted. Slots that it reserved are lost.
    async fn sync(&self, key: &SharedKey, report: &GateReport) -> Result<GateGrant, StoreError>;
}

/// How long a process may use [`GateGrant::in_flight`], counted from sending the report. The shared state keeps the grant for longer.
pub(super) const IN_FLIGHT_VALID: Duration = Duration::from_secs(3);

/// The key of a gate's shared state. It consists of digests, so it contains no secret and no address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedKey {
    /// A digest of the account. All its models share the declared limits.
    pub account: String,
    /// A digest of one model at one address within the account.
    pub gate: String,
}

impl SharedKey {
    pub(super) fn new(account: &[&str], gate: &[&str]) -> SharedKey {
        SharedKey {
            account: digest(account),
            gate: digest(gate),
        }
    }
}

/// The report of a gate, with its request for slots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateReport {
    /// The declared limits of the account.
    pub limits: AccountLimits,
    /// The [`GateGrant::epoch`] of the gate's last reservation.
    pub epoch: u64,
    /// The number of slots to reserve; 0 if the gate only reports.
    pub wanted: u64,
    /// Tokens to reserve for each slot.
    pub tokens_each: u64,
    /// Tokens that requests used beyond those reserved for them; negative if they used fewer.
    pub token_debt: i64,
    /// A change of the gate's health since its last report.
    pub turn: Option<HealthTurn>,
    /// Whether the gate asks for the right to probe a server that is away.
    pub wants_probe: bool,
    /// Reserved slots that were not used.
    pub lapsed: u64,
    /// The calls of the whole process to the account.
    pub process: ProcessCalls,
    pub learnt: LearntReport,
}

/// The calls of a process to an account that limits the requests in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCalls {
    /// Identifies the process.
    pub id: u64,
    pub in_flight: u64,
    /// Requests that the process would have in flight without the limit.
    pub wanted: u64,
}

/// A change of health that a gate found by its own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthTurn {
    /// The account is closed.
    Closed,
    /// A server that was away, or an account that was closed, answers again.
    Opened,
}

/// The reply to a report: slots for requests, and changes that other gates reported. The first slot is at `start`, each further one `step`
/// later.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateGrant {
    pub slots: u64,
    /// Counted from the moment at which the state was asked.
    pub start: Duration,
    pub step: Duration,
    /// If no slots were free: the shortest time until the next request for some.
    pub ask_after: Duration,
    /// Gates that wait for the same slots spread their requests over this time after `ask_after`.
    pub ask_within: Duration,
    /// The number of the period in which the gates that reserve slots were counted.
    pub epoch: u64,
    /// The number of gates that reserve slots.
    pub gates: u64,
    /// Counts the changes of health that gates have reported.
    pub version: u64,
    /// Whether the last such change closed the account.
    pub is_closed: bool,
    /// Whether the gate may send one request to a server that is away.
    pub may_probe: bool,
    /// The shortest time until the next request for a probe; zero if the gate may probe.
    pub probe_after: Duration,
    /// The time until the next day if the requests of this day are used up; zero if not.
    pub day_reset: Duration,
    /// The most requests that the process may have in flight, for the next three seconds.
    pub in_flight: u64,
    pub learnt: LearntGrant,
}

impl GateReport {
    /// The arguments of the script that holds the shared state, in the script's order.
    pub fn arguments(&self) -> Vec<i64> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let limit = |limit: Option<u64>| limit.map_or(0, |limit| number(limit.max(1)));
        let mut arguments = vec![
            number(self.epoch),
            number(self.wanted),
            number(self.tokens_each),
            self.token_debt,
            limit(self.limits.rpm),
            limit(self.limits.tpm),
            match self.turn {
                None => 0,
                Some(HealthTurn::Closed) => 1,
                Some(HealthTurn::Opened) => 2,
            },
            self.wants_probe.into(),
            limit(self.limits.rpd),
            number(self.lapsed),
            limit(self.limits.concurrent),
            number(self.process.id),
            number(self.process.in_flight),
            number(self.process.wanted),
        ];
        arguments.extend(self.learnt.arguments());
        arguments
    }
}

impl GateGrant {
    /// Parses the reply of the script. `None` if it has another form.
    pub fn from_reply(numbers: &[i64]) -> Option<GateGrant> {
        let [
            epoch,
            gates,
            start,
            step,
            slots,
            after,
            within,
            version,
            is_closed,
            probe_after,
            day_reset,
            in_flight,
            ref learnt @ ..,
        ] = *numbers
        else {
            return None;
        };
        let micros = |micros: i64| u64::try_from(micros).ok().map(Duration::from_micros);
        Some(GateGrant {
            slots: slots.try_into().ok()?,
            start: micros(start)?,
            step: micros(step)?,
            ask_after: micros(after)?,
            ask_within: micros(within)?,
            epoch: epoch.try_into().ok()?,
            gates: gates.try_into().ok()?,
            version: version.try_into().ok()?,
            is_closed: is_closed == 1,
            may_probe: probe_after == 0,
            probe_after: micros(probe_after)?,
            day_reset: micros(day_reset)?,
            in_flight: in_flight.try_into().ok()?,
            learnt: LearntGrant::from_reply(learnt.try_into().ok()?)?,
        })
    }
}

/// A digest of the parts. Their lengths are included, so that no two lists have the same digest.
fn digest(parts: &[&str]) -> String {
    let mut sha256 = Sha256::new();
    for part in parts {
        sha256.update((part.len() as u64).to_be_bytes());
        sha256.update(part);
    }
    hex(&sha256.finalize()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_key_differs_with_every_part() {
        let keys = [
            SharedKey::new(&["a", "bc"], &["m"]),
            SharedKey::new(&["ab", "c"], &["m"]),
            SharedKey::new(&["a", "bc"], &["n"]),
            SharedKey::new(&["a", "bc", ""], &["m"]),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
    }
}
