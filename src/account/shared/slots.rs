//! The slots that a gate has reserved in the shared state of its account. A slot lets one request through, at its time or shortly after it.

use super::{GateGrant, GateReport};
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// How long after its time a slot can be used. With the latency of the request to the server this stays below what the shared state allows.
const VALID: Duration = Duration::from_millis(750);

/// The next slots are reserved when the last one is due within this time.
const AHEAD: Duration = Duration::from_millis(100);

/// The time span for which slots are reserved at once, as in the shared state.
const BLOCK: Duration = Duration::from_millis(700);

/// The slots of one gate, and what it has to report about them.
#[derive(Debug)]
pub(in crate::account) struct SharedSlots {
    blocks: VecDeque<SlotBlock>,
    epoch: u64,
    /// The time before which no slots are requested.
    ask_from: Instant,
    /// Tokens used beyond those reserved, not reported yet.
    token_debt: f64,
    /// Slots that were not used, not reported yet.
    lapsed: u64,
}

/// Slots at equal intervals.
#[derive(Debug)]
struct SlotBlock {
    left: u64,
    /// The time of the first slot that is left.
    next: Instant,
    step: Duration,
    /// How long after its time each slot is valid.
    valid: Duration,
    /// Tokens reserved for each slot.
    tokens: f64,
}

/// The demand for slots.
#[derive(Clone, Copy, Debug)]
pub(in crate::account) struct SlotDemand {
    /// Waiting calls that get a permit as soon as they are released.
    pub(in crate::account) waiting: u64,
    /// Requests sent per second, over the last one or two seconds.
    pub(in crate::account) sent_per_sec: f64,
}

impl SharedSlots {
    pub(in crate::account) fn new(now: Instant) -> SharedSlots {
        SharedSlots {
            blocks: VecDeque::new(),
            epoch: 0,
            ask_from: now,
            token_debt: 0.0,
            lapsed: 0,
        }
    }

    /// The earliest time at which the next request may be sent; `None` without a slot.
    pub(in crate::account) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        self.drop_lapsed(now);
        self.blocks.front().map(|block| block.next.max(now))
    }

    /// Uses a slot for a request with `tokens` tokens. Without a slot, as after a change of the limits, the tokens are only counted as a
    /// debt.
    pub(in crate::account) fn take(&mut self, tokens: f64) {
        let Some(block) = self.blocks.front_mut() else {
            self.token_debt += tokens;
            return;
        };
        self.token_debt += tokens - block.tokens;
        block.pass();
        if block.left == 0 {
            self.blocks.pop_front();
        }
    }

    /// Returns tokens that a request had reserved and did not use. A negative number was used in addition.
    pub(in crate::account) fn give_back(&mut self, tokens: f64) {
        self.token_debt -= tokens;
    }

    /// When to reserve slots again; `None` while no call needs one.
    pub(in crate::account) fn due(&self, demand: SlotDemand, now: Instant) -> Option<Instant> {
        self.wanted(demand)?;
        let last = self.blocks.back().map(SlotBlock::last);
        let near = last.map_or(now, |last| last.checked_sub(AHEAD).unwrap_or(now));
        Some(self.ask_from.max(near))
    }

    /// Whether there are tokens to report.
    pub(in crate::account) fn has_debt(&self) -> bool {
        self.token_debt.abs() >= 1.0
    }

    /// Takes the report that is due, with a reservation of `tokens_each` tokens per request. It asks for slots only if `are_needed`.
    pub(in crate::account) fn report(
        &mut self,
        demand: SlotDemand,
        are_needed: bool,
        tokens_each: f64,
        now: Instant,
    ) -> GateReport {
        self.drop_lapsed(now);
        let token_debt = self.token_debt.round();
        self.token_debt -= token_debt;
        let last = self.blocks.back().map(SlotBlock::last);
        let is_near = last.is_none_or(|last| last <= now + AHEAD);
        let wanted = self
            .wanted(demand)
            .filter(|_| are_needed && is_near && self.ask_from <= now);
        GateReport {
            epoch: self.epoch,
            wanted: wanted.unwrap_or(0),
            tokens_each: tokens_each.round() as u64,
            token_debt: token_debt as i64,
            lapsed: std::mem::take(&mut self.lapsed),
            ..GateReport::default()
        }
    }

    /// Applies the reply to a report that was sent at `asked`.
    pub(in crate::account) fn granted(
        &mut self,
        report: &GateReport,
        grant: &GateGrant,
        asked: Instant,
        now: Instant,
    ) {
        self.epoch = grant.epoch;
        if report.wanted > 0 && grant.slots == 0 {
            self.ask_from = now + grant.ask_after + grant.ask_within.mul_f64(fastrand::f64());
        }
        // The shared clock was read between `asked` and `now`. So no slot starts early, and none is valid for too long.
        let Some(valid) = VALID.checked_sub(now.saturating_duration_since(asked)) else {
            self.token_debt -= (grant.slots * report.tokens_each) as f64;
            self.lapsed += grant.slots;
            return;
        };
        if grant.slots > 0 {
            self.blocks.push_back(SlotBlock {
                left: grant.slots,
                next: now + grant.start,
                step: grant.step,
                valid,
                tokens: report.tokens_each as f64,
            });
        }
    }

    /// Keeps the content of a report that got no reply. It may have been counted, so only a positive debt is reported again.
    pub(in crate::account) fn not_reported(&mut self, report: &GateReport) {
        self.token_debt += report.token_debt.max(0) as f64;
    }

    /// The number of slots for the requests until about the next report, beyond those that are left. `None` while no call waits.
    fn wanted(&self, demand: SlotDemand) -> Option<u64> {
        if demand.waiting == 0 {
            return None;
        }
        let coming = (demand.sent_per_sec * BLOCK.as_secs_f64()).ceil() as u64;
        let reserved: u64 = self.blocks.iter().map(|block| block.left).sum();
        (demand.waiting + coming)
            .checked_sub(reserved)
            .filter(|wanted| *wanted > 0)
    }

    fn drop_lapsed(&mut self, now: Instant) {
        while let Some(block) = self.blocks.front_mut() {
            while block.left > 0 && block.next + block.valid < now {
                // Gives back the tokens of a slot whose time has passed: no request was sent.
                self.token_debt -= block.tokens;
                self.lapsed += 1;
                block.pass();
            }
            if block.left > 0 {
                return;
            }
            self.blocks.pop_front();
        }
    }
}

impl SlotBlock {
    fn pass(&mut self) {
        self.left -= 1;
        self.next += self.step;
    }

    fn last(&self) -> Instant {
        let steps = u32::try_from(self.left.saturating_sub(1)).unwrap_or(u32::MAX);
        self.next + self.step.saturating_mul(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    const WITH_CALLS: SlotDemand = SlotDemand {
        waiting: 5,
        sent_per_sec: 0.0,
    };

    /// Three slots, 10 ms apart, the first in 20 ms.
    fn three_slots(now: Instant) -> SharedSlots {
        let mut slots = SharedSlots::new(now);
        let report = slots.report(WITH_CALLS, true, 100.0, now);
        assert_eq!((report.wanted, report.tokens_each), (5, 100));
        let grant = GateGrant {
            slots: 3,
            start: 20 * MS,
            step: 10 * MS,
            ..GateGrant::default()
        };
        slots.granted(&report, &grant, now, now);
        slots
    }

    #[test]
    fn slots_are_used_in_time_and_the_next_reserved_near_the_last() {
        let now = Instant::now();
        let mut slots = three_slots(now);
        for ms in [20, 30, 40] {
            assert_eq!(slots.ready_at(now), Some(now + ms * MS));
            slots.take(100.0);
        }
        assert_eq!(slots.ready_at(now), None);
        let slots = three_slots(now);
        assert!(slots.due(WITH_CALLS, now).unwrap() <= now);
    }

    #[test]
    fn lapsed_slot_gives_its_tokens_back() {
        let now = Instant::now();
        let mut slots = three_slots(now);
        assert_eq!(slots.ready_at(now + 785 * MS), Some(now + 785 * MS));
        // Two slots have lapsed.
        let report = slots.report(WITH_CALLS, true, 100.0, now + 785 * MS);
        assert_eq!(report.token_debt, -200);
        assert_eq!(slots.ready_at(now + 1000 * MS), None);
    }

    #[test]
    fn token_debt_is_reported_once_and_again_only_after_an_error() {
        let now = Instant::now();
        let mut slots = three_slots(now);
        slots.take(250.0);
        slots.give_back(-30.0);
        let report = slots.report(WITH_CALLS, true, 100.0, now);
        assert_eq!(report.token_debt, 180);
        slots.not_reported(&report);
        assert_eq!(slots.report(WITH_CALLS, true, 100.0, now).token_debt, 180);
        assert_eq!(slots.report(WITH_CALLS, true, 100.0, now).token_debt, 0);
        slots.give_back(40.0);
        let report = slots.report(WITH_CALLS, true, 100.0, now);
        assert_eq!(report.token_debt, -40);
        slots.not_reported(&report);
        assert_eq!(slots.report(WITH_CALLS, true, 100.0, now).token_debt, 0);
    }

    #[test]
    fn slots_granted_too_late_are_not_used() {
        let now = Instant::now();
        let mut slots = SharedSlots::new(now);
        let report = slots.report(WITH_CALLS, true, 0.0, now);
        let grant = GateGrant {
            slots: 3,
            ..GateGrant::default()
        };
        slots.granted(&report, &grant, now, now + 800 * MS);
        assert_eq!(slots.ready_at(now + 800 * MS), None);
    }

    #[test]
    fn gate_without_calls_reserves_no_slots() {
        let now = Instant::now();
        let idle = SlotDemand {
            waiting: 0,
            ..WITH_CALLS
        };
        assert_eq!(SharedSlots::new(now).due(idle, now), None);
    }
}
