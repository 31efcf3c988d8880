//! What the workers of a cluster share of an account: the seam, implemented by the store on Redis.
//!
//! One process alone needs none of it: its own pacers know all requests.

mod gate;
mod slots;

pub(super) use gate::{HealthHint, SharedGate};
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
    /// Reports what a gate has done since its last call, and reserves slots for it.
    ///
    /// After an error the report may have been taken into account or not; slots that were reserved are lost.
    async fn sync(&self, key: &SharedKey, report: &GateReport) -> Result<GateGrant, StoreError>;
}

/// How long a process may use [`GateGrant::in_flight`] from its question on; less than the shared state keeps it for the process.
pub(super) const IN_FLIGHT_VALID: Duration = Duration::from_secs(3);

/// Names the shared state of a gate by digests: no secret and no address is in it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedKey {
    /// Of the account, whose declared limits all its models share.
    pub account: String,
    /// Of one model at one address, within the account.
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

/// What a gate reports and asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateReport {
    /// The declared limits of the account.
    pub limits: AccountLimits,
    /// The [`GateGrant::epoch`] of the gate's last reservation.
    pub epoch: u64,
    /// Requests that it wants to send; 0 if it only reports.
    pub wanted: u64,
    /// Tokens to reserve for each.
    pub tokens_each: u64,
    /// Tokens that requests used in addition to what was reserved for them; negative if they used less.
    pub token_debt: i64,
    /// What the gate has found out of the server since its last report.
    pub turn: Option<HealthTurn>,
    /// Whether it wants to send one request to a server that is away.
    pub wants_probe: bool,
    /// Slots that were reserved and not used.
    pub lapsed: u64,
    /// The calls of the whole process to the account.
    pub process: ProcessCalls,
}

/// The calls of a process to an account, where the requests in flight are limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessCalls {
    /// Tells the processes apart.
    pub id: u64,
    pub in_flight: u64,
    /// Requests that would be in flight without the limit.
    pub wanted: u64,
}

/// What a gate has found out by its own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthTurn {
    /// The account is closed.
    Closed,
    /// A server that was away, or an account that was closed, answers again.
    Opened,
}

/// The answer to a report: slots for requests, the first at `start`, each `step` after the one before; and what other gates have found
/// out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GateGrant {
    pub slots: u64,
    /// From the moment at which the state was asked.
    pub start: Duration,
    pub step: Duration,
    /// When to ask for more at the earliest, where none were free.
    pub ask_after: Duration,
    /// Gates that wait for the same slots ask at different times within this.
    pub ask_within: Duration,
    /// The period in which gates that reserve slots were counted.
    pub epoch: u64,
    /// So many gates do so.
    pub gates: u64,
    /// Counts the turns that gates have reported.
    pub version: u64,
    /// Whether the last of them closed the account.
    pub is_closed: bool,
    /// Whether the gate may send one request to a server that is away.
    pub may_probe: bool,
    /// If not, when to ask again at the earliest.
    pub probe_after: Duration,
    /// How long until the next day, if the requests of this one are used up; else 0.
    pub day_reset: Duration,
    /// Requests that the process may have in flight, for three seconds.
    pub in_flight: u64,
}

impl GateReport {
    /// The arguments of the script that holds the shared state, in its order.
    pub fn arguments(&self) -> Vec<i64> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let limit = |limit: Option<u64>| limit.map_or(0, |limit| number(limit.max(1)));
        vec![
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
        ]
    }
}

impl GateGrant {
    /// Reads the script's reply; `None` if it has another form.
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
        })
    }
}

/// A digest of parts that may contain anything.
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
    fn shared_keys_differ_with_every_part() {
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
