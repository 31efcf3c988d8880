//! A gate's part of the shared state: its slots, and hints about the server from other workers.
//!
//! A hint decides nothing, because another worker may have another key or another route to the server. It makes the gate send one request,
//! whose result decides.

use super::slots::{SharedSlots, SlotDemand};
use super::{GateGrant, GateReport, HealthTurn, LearntReport};
use std::time::Duration;
use tokio::time::Instant;

/// The longest interval between two reports of a gate in use.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A gate whose report is overdue by this time had no calls meanwhile. It may have lost its part in what the gates have learnt.
const JOINS_AFTER: Duration = Duration::from_secs(2);

/// The shortest interval from a report to a request for more requests in flight.
const IN_FLIGHT_AGAIN: Duration = Duration::from_millis(500);

/// The pause after a report that got no reply.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// How long a granted right to probe is valid.
const PROBE_KEPT: Duration = Duration::from_secs(1);

/// The time over which gates whose probe was refused spread their next requests for it.
const PROBE_WITHIN: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(in crate::account) struct SharedGate {
    pub(in crate::account) slots: SharedSlots,
    /// Whether a report was answered. Before, nothing is known of the account.
    is_known: bool,
    /// Identifies the gate among those of all processes.
    member: u64,
    /// Whether the gate has to join the others that are in use.
    joins: bool,
    next_report: Instant,
    /// The time before which no report is sent.
    not_before: Instant,
    /// A change of the gate's health that is not reported yet.
    turn: Option<HealthTurn>,
    /// The version of the shared health that the gate has applied.
    version: u64,
    /// Whether the account was closed in that version.
    is_closed: bool,
    probe: ProbeRight,
    /// The number of gates that share the slots.
    gates: u64,
    /// When to ask again for more requests in flight; `None` if no call waits for them.
    in_flight_from: Option<Instant>,
}

/// The right to probe a server that is away. Few workers have it at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum ProbeRight {
    /// No call needs it.
    Unwanted,
    /// To be requested at this time.
    Wanted(Instant),
    /// Valid until this time.
    Granted(Instant),
}

/// A hint from another worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account) enum HealthHint {
    /// The account is closed.
    Closed,
    /// The server answers.
    Open,
}

impl SharedGate {
    pub(in crate::account) fn new(now: Instant) -> SharedGate {
        SharedGate {
            slots: SharedSlots::new(now),
            is_known: false,
            member: fastrand::u64(..1 << 53),
            joins: true,
            next_report: now,
            not_before: now,
            turn: None,
            version: 0,
            is_closed: false,
            probe: ProbeRight::Unwanted,
            gates: 1,
            in_flight_from: None,
        }
    }

    pub(in crate::account) fn is_known(&self) -> bool {
        self.is_known
    }

    /// The number of gates that share the slots.
    pub(in crate::account) fn gates(&self) -> u64 {
        self.gates
    }

    /// Stores a change of the gate's health for the next report.
    pub(in crate::account) fn turned(&mut self, turn: HealthTurn) {
        self.turn = Some(turn);
    }

    /// Whether the shared state has the account as closed. A gate whose request was accepted contradicts this.
    pub(in crate::account) fn is_contradicted(&self) -> bool {
        self.is_closed
    }

    /// Whether a call may probe the server now. If not, requests the right to do so.
    pub(in crate::account) fn may_probe(&mut self, now: Instant) -> bool {
        match self.probe {
            ProbeRight::Granted(until) if now <= until => return true,
            ProbeRight::Unwanted | ProbeRight::Granted(_) => self.probe = ProbeRight::Wanted(now),
            ProbeRight::Wanted(_) => {}
        }
        false
    }

    /// Requests more requests in flight for this process, because a call waits for them.
    pub(in crate::account) fn want_in_flight(&mut self, now: Instant) {
        let last_report = self.next_report.checked_sub(REPORT_EVERY).unwrap_or(now);
        self.in_flight_from.get_or_insert(last_report + IN_FLIGHT_AGAIN);
    }

    pub(in crate::account) fn probed(&mut self) {
        self.probe = ProbeRight::Unwanted;
    }

    /// When the next report is due; `None` if there is nothing to report. `has_slots`: requests need slots. `is_in_use`: the gate has
    /// calls, or its health is not open.
    pub(in crate::account) fn due(
        &self,
        demand: SlotDemand,
        has_slots: bool,
        is_in_use: bool,
        now: Instant,
    ) -> Option<Instant> {
        let slots = if has_slots {
            self.slots.due(demand, now)
        } else {
            None
        };
        let probe = match self.probe {
            ProbeRight::Wanted(from) => Some(from),
            ProbeRight::Unwanted | ProbeRight::Granted(_) => None,
        };
        let is_urgent = self.turn.is_some() || (!self.is_known && demand.waiting > 0);
        let regular = (is_in_use || self.slots.has_debt()).then_some(self.next_report);
        let due = [
            slots,
            probe,
            self.in_flight_from,
            is_urgent.then_some(now),
            regular,
        ];
        let due = due.into_iter().flatten().min();
        due.map(|due| due.max(self.not_before))
    }

    /// Takes the report that is due. Its content is not reported again.
    pub(in crate::account) fn report(
        &mut self,
        demand: SlotDemand,
        has_slots: bool,
        tokens_each: f64,
        now: Instant,
    ) -> GateReport {
        self.joins |= now >= self.next_report + JOINS_AFTER;
        self.next_report = now + REPORT_EVERY;
        self.in_flight_from = None;
        let slots = self.slots.report(demand, has_slots, tokens_each, now);
        GateReport {
            turn: self.turn.take(),
            wants_probe: matches!(self.probe, ProbeRight::Wanted(from) if from <= now),
            learnt: LearntReport {
                member: self.member,
                joins: self.joins,
                ..LearntReport::default()
            },
            ..slots
        }
    }

    /// Applies the reply to a report that was sent at `asked`. Returns a hint if another worker has changed the shared health since the
    /// last reply.
    pub(in crate::account) fn granted(
        &mut self,
        report: &GateReport,
        grant: &GateGrant,
        asked: Instant,
        now: Instant,
    ) -> Option<HealthHint> {
        self.slots.granted(report, grant, asked, now);
        self.gates = grant.gates.max(1);
        self.joins = false;
        if report.wants_probe {
            self.probe = if grant.may_probe {
                ProbeRight::Granted(now + PROBE_KEPT)
            } else {
                ProbeRight::Wanted(now + grant.probe_after + PROBE_WITHIN.mul_f64(fastrand::f64()))
            };
        }
        let is_first = !std::mem::replace(&mut self.is_known, true);
        let is_news = grant.version != self.version;
        (self.version, self.is_closed) = (grant.version, grant.is_closed);
        if !is_news || report.turn.is_some() {
            return None;
        }
        if grant.is_closed {
            return Some(HealthHint::Closed);
        }
        if is_first {
            return None;
        }
        // The server is back: every worker may probe at once.
        self.probe = ProbeRight::Granted(now + PROBE_KEPT);
        Some(HealthHint::Open)
    }

    /// Keeps the content of a report that got no reply.
    pub(in crate::account) fn not_reported(&mut self, report: &GateReport, now: Instant) {
        self.slots.not_reported(report);
        self.turn = self.turn.or(report.turn);
        self.not_before = now + AFTER_ERROR;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: SlotDemand = SlotDemand {
        waiting: 0,
        sent_per_sec: 0.0,
    };

    fn known(now: Instant) -> SharedGate {
        let mut shared = SharedGate::new(now);
        exchange(&mut shared, GateGrant::default(), now);
        shared
    }

    fn exchange(shared: &mut SharedGate, grant: GateGrant, now: Instant) -> Option<HealthHint> {
        let report = shared.report(IDLE, false, 0.0, now);
        shared.granted(&report, &grant, now, now)
    }

    fn version(version: u64, is_closed: bool) -> GateGrant {
        GateGrant {
            version,
            is_closed,
            ..GateGrant::default()
        }
    }

    #[test]
    fn new_gate_gets_a_hint_of_a_closed_account_but_not_of_an_open_one() {
        let now = Instant::now();
        let mut joins = SharedGate::new(now);
        assert_eq!(
            exchange(&mut joins, version(3, true), now),
            Some(HealthHint::Closed)
        );
        let mut joins = SharedGate::new(now);
        assert_eq!(exchange(&mut joins, version(4, false), now), None);
        assert_eq!(exchange(&mut joins, version(4, false), now), None);
        assert_eq!(
            exchange(&mut joins, version(5, true), now),
            Some(HealthHint::Closed)
        );
        assert_eq!(
            exchange(&mut joins, version(6, false), now),
            Some(HealthHint::Open)
        );
    }

    #[test]
    fn own_health_turn_gives_no_hint_and_is_repeated_after_an_error() {
        let now = Instant::now();
        let mut shared = known(now);
        shared.turned(HealthTurn::Closed);
        assert_eq!(shared.due(IDLE, false, false, now), Some(now));
        let report = shared.report(IDLE, false, 0.0, now);
        assert_eq!(report.turn, Some(HealthTurn::Closed));
        shared.not_reported(&report, now);
        assert_eq!(shared.due(IDLE, false, false, now), Some(now + AFTER_ERROR));
        assert_eq!(exchange(&mut shared, version(1, true), now), None);
        assert_eq!(shared.due(IDLE, false, false, now), None);
    }

    #[test]
    fn gate_joins_at_first_and_after_a_pause_without_reports() {
        let now = Instant::now();
        let mut shared = SharedGate::new(now);
        let joins = |shared: &mut SharedGate, at| shared.report(IDLE, false, 0.0, at).learnt.joins;
        assert!(joins(&mut shared, now));
        assert!(joins(&mut shared, now), "the first report got no reply");
        exchange(&mut shared, GateGrant::default(), now);
        assert!(!joins(&mut shared, now + REPORT_EVERY));
        let paused = now + REPORT_EVERY * 2 + JOINS_AFTER;
        assert!(joins(&mut shared, paused));
        exchange(&mut shared, GateGrant::default(), paused);
        assert!(!joins(&mut shared, paused));
    }

    #[test]
    fn probe_needs_a_requested_right_and_uses_it_up() {
        let now = Instant::now();
        let mut shared = known(now);
        assert!(!shared.may_probe(now));
        assert_eq!(shared.due(IDLE, false, false, now), Some(now));
        let refused = GateGrant {
            probe_after: Duration::from_secs(1),
            ..GateGrant::default()
        };
        exchange(&mut shared, refused, now);
        let due = shared.due(IDLE, false, false, now).unwrap();
        assert!(due >= now + Duration::from_secs(1), "{:?}", due - now);
        let granted = GateGrant {
            may_probe: true,
            ..GateGrant::default()
        };
        exchange(&mut shared, granted, due);
        assert!(shared.may_probe(due));
        shared.probed();
        assert!(!shared.may_probe(due));
    }
}
