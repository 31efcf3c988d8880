//! The gate's side of the shared state: what it reports of its calls, and what it takes from the answer.

use super::Gate;
use crate::account::lock;
use crate::account::shared_accounts::{GateReport, SlotGrant};
use crate::account::shared_slots::SlotDemand;
use std::sync::atomic::Ordering::Relaxed;
use tokio::time::Instant;

/// When a gate looks at the shared state again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::account) enum ReportDue {
    At(Instant),
    /// When a call wants a slot.
    OnDemand,
}

impl Gate {
    /// When the next report is due.
    pub(in crate::account) fn report_due(&self) -> ReportDue {
        let now = Instant::now();
        let demand = self.slot_demand(now);
        let state = lock(&self.state);
        let due = state.slots.as_ref().and_then(|slots| {
            if state.is_paced_by_slots() {
                slots.due(demand, now)
            } else {
                None
            }
        });
        due.map_or(ReportDue::OnDemand, ReportDue::At)
    }

    /// What there is to report now; `None` if the gate shares nothing.
    pub(in crate::account) fn take_report(&self) -> Option<GateReport> {
        let now = Instant::now();
        let demand = self.slot_demand(now);
        let mut state = lock(&self.state);
        let (limits, tokens) = (state.declared_limits().unwrap_or_default(), state.mean_tokens());
        let report = state.slots.as_mut()?.report(demand, tokens, now);
        Some(GateReport { limits, ..report })
    }

    /// Takes over the answer to a report that was made at `asked`, and wakes the calls that wait for it.
    pub(in crate::account) fn granted(&self, report: &GateReport, grant: &SlotGrant, asked: Instant) {
        self.change(|state, now| {
            if let Some(slots) = &mut state.slots {
                slots.granted(report, grant, asked, now);
            }
        });
    }

    /// A report was not answered.
    pub(in crate::account) fn not_reported(&self, report: &GateReport) {
        self.change(|state, now| {
            if let Some(slots) = &mut state.slots {
                slots.not_reported(report, now);
            }
        });
    }

    /// Returns when a call has wanted a slot since the last time.
    pub(in crate::account) async fn slots_wanted(&self) {
        self.slots_wanted.notified().await;
    }

    /// The head of the queue found no slot, and so many permits for calls.
    pub(super) fn want_slots(&self, permits: usize) {
        self.free_permits.store(permits as u64, Relaxed);
        self.slots_wanted.notify_one();
    }

    fn slot_demand(&self, now: Instant) -> SlotDemand {
        let (counts, at) = (&self.counts, self.since_made(now));
        SlotDemand {
            waiting: counts.waiting.load(Relaxed).min(self.free_permits.load(Relaxed)),
            in_flight: counts.in_flight.load(Relaxed),
            sent_per_sec: counts.sent_per_sec(at),
        }
    }
}
