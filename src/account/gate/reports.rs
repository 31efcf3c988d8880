//! The reports of a gate to the shared state of its account, and the grants in reply.

use super::Gate;
use crate::account::gate_state::{GateState, Learnt};
use crate::account::learnt_rate::LearntRate;
use crate::account::shared::{
    GateGrant, GateReport, IN_FLIGHT_VALID, LearntGrant, LearntReport, RateGrant, SlotDemand,
};
use crate::lock::lock;
use std::sync::atomic::Ordering::Relaxed;
use tokio::time::Instant;

impl Gate {
    /// When the next report is due; `None` while there is nothing to report.
    pub(in crate::account) fn report_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let demand = self.slot_demand(now);
        let counts = &self.counts;
        let has_calls = counts.in_flight.load(Relaxed) + counts.waiting.load(Relaxed) > 0;
        let state = lock(&self.state);
        let is_in_use = has_calls || !state.health.is_open();
        let shared = state.shared.as_ref()?;
        shared.due(demand, state.is_paced_by_slots(), is_in_use, now)
    }

    /// Takes the report that is due now; `None` if the gate is not shared.
    pub(in crate::account) fn take_report(&self) -> Option<GateReport> {
        let now = Instant::now();
        let demand = self.slot_demand(now);
        let mut state = lock(&self.state);
        let (limits, tokens) = (state.declared_limits().unwrap_or_default(), state.mean_tokens());
        let has_slots = state.is_paced_by_slots();
        let declared = state.declared.as_ref();
        let process = declared.and_then(|declared| declared.process_calls(demand.waiting));
        let (rate, in_flight) = (state.learnt_rate(), state.saturated_at());
        let shared = state.shared.as_mut()?;
        let report = shared.report(demand, has_slots, tokens, now);
        Some(GateReport {
            limits,
            process: process.unwrap_or_default(),
            learnt: LearntReport {
                rate,
                in_flight,
                ..report.learnt
            },
            ..report
        })
    }

    /// Applies the reply to a report that was sent at `asked`, and wakes the calls that wait for it.
    pub(in crate::account) fn granted(&self, report: &GateReport, grant: &GateGrant, asked: Instant) {
        self.change(|state, now| {
            let shared = state.shared.as_mut();
            let hint = shared.and_then(|shared| shared.granted(report, grant, asked, now));
            if let Some(hint) = hint {
                state.hint(hint, now);
            }
            if !grant.day_reset.is_zero() {
                state.use_up_day(grant.day_reset, now);
            }
            state.share_learnt(&grant.learnt, now);
            if let Some(declared) = &state.declared {
                declared.grant(grant.in_flight, asked + IN_FLIGHT_VALID);
            }
        });
    }

    /// Keeps the content of a report that got no reply for the next one.
    pub(in crate::account) fn not_reported(&self, report: &GateReport) {
        self.change(|state, now| {
            if let Some(shared) = &mut state.shared {
                shared.not_reported(report, now);
            }
        });
    }

    /// Returns when a report may have become due.
    pub(in crate::account) async fn report_wanted(&self) {
        self.report_wanted.notified().await;
    }

    /// Requests a report for the head of the queue, which waits for the shared state. `permits` is the number of free permits.
    pub(super) fn want_report(&self, permits: usize) {
        self.free_permits.store(permits as u64, Relaxed);
        self.report_wanted.notify_one();
    }

    fn slot_demand(&self, now: Instant) -> SlotDemand {
        let (counts, permits) = (&self.counts, self.free_permits.load(Relaxed));
        SlotDemand {
            waiting: counts.waiting.load(Relaxed).min(permits),
            sent_per_sec: counts.sent_per_sec(self.since_made(now)),
        }
    }
}

impl GateState {
    /// Applies what the gates of other processes have learnt.
    fn share_learnt(&mut self, grant: &LearntGrant, now: Instant) {
        self.hinted.share_with(grant.others, now);
        match (grant.rate, &mut self.learnt) {
            (RateGrant::Scaled(factor), Learnt::Rate(rate)) => rate.scale(factor, now),
            (RateGrant::Start(per_sec), Learnt::Rate(rate)) => rate.scale(per_sec / rate.per_sec(), now),
            (RateGrant::Start(per_sec), Learnt::Unlimited | Learnt::Starts(_)) => {
                self.learnt = Learnt::Rate(LearntRate::joining(per_sec, now));
            }
            (RateGrant::Unchanged, _) | (RateGrant::Scaled(_), Learnt::Unlimited | Learnt::Starts(_)) => {}
        }
        if let (Some(in_flight), Some(concurrency)) = (grant.in_flight, &mut self.concurrency) {
            concurrency.join(in_flight, now);
        }
    }
}
