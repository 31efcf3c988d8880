//! What a measurement leads to: more in flight, fewer, or as many.

use super::level::Level;
use super::{AFTER_TIMEOUT, BATCH, LearntConcurrency, NEAR_TIMEOUT, Search, TOO_NEAR_TIMEOUT, View};
use std::time::Duration;
use tokio::time::Instant;

/// Growth where latency is too short to matter even if it grows as much; while it is flat; and else.
const SHORT_STEP: f64 = 4.0;
const FLAT_STEP: f64 = 2.0;
const LONG_STEP: f64 = 1.5;

/// Growth that probes.
const UP_STEP: f64 = 1.25;

/// The largest and the smallest step down.
const LARGE_DOWN_STEP: f64 = 0.5;
const DOWN_STEP: f64 = 0.8;

/// The capacity may be where throughput stopped to follow: no step goes further beyond it.
const BEYOND_CAPACITY: f64 = 1.9;

/// Steps beyond this are large: after one, a little throughput does not show that the next step will bring any.
const LARGE: f64 = 1.35;

/// The elasticities below which a large and a small step have brought nothing, and from which on there is room for a flat step.
const LARGE_BROUGHT_NOTHING: f64 = 0.33;
const SMALL_BROUGHT_NOTHING: f64 = 0.13;
const HAS_ROOM: f64 = 0.85;

/// What is held of the requests of a level after a large step beyond it: some are on their way between client and server.
const ROOM: f64 = 1.125;

/// The elasticity below which a step down costs nothing.
const COSTS_NOTHING: f64 = 0.09;

/// The elasticity of a server on which latency does not depend on what is in flight.
const INDEPENDENT: f64 = 0.9;

/// How much longer than the least a flat latency may be.
const FLAT: f64 = 1.05;

/// The same, where a request may be timed out.
const UNLOADED: f64 = 1.2;

/// The longest latency in relation to the least: several workers that share a server each gain by growing, at the cost of the others.
const SLOWEST: f64 = 4.0;

/// A mean latency in seconds that does not matter: such calls harm no server, and their time is often the client's.
const SHORT: f64 = 0.1;

/// Changes of the latency by which another look is due: at the limit, and at the ceiling.
const SLOWER: f64 = 1.3;
const SLOWER_AT_CEILING: f64 = 1.5;
const FASTER: f64 = 0.77;

/// How much longer the latency at the ceiling may be after each look.
const FORGETTING: f64 = 1.05;

/// The least time between two probes, and the same as a multiple of what the last one took.
const PROBE_EVERY: Duration = Duration::from_secs(20);
const PROBE_REST: u32 = 5;

impl LearntConcurrency {
    /// Goes on at once where it is clear that the server has room.
    pub(super) fn judge_early(&mut self, level: Level, view: View<'_>) {
        let Search::Grow { below } = self.search else {
            return;
        };
        let stays_short = |step: f64| level.latency * step < SHORT;
        let has_room = level.is_precise()
            && self.may_grow(&level, view.now)
            && (below.is_none() || self.is_flat(&level));
        if stays_short(SHORT_STEP) {
            self.grow(SHORT_STEP, level, view);
        } else if stays_short(FLAT_STEP) || has_room {
            self.grow(FLAT_STEP, level, view);
        }
    }

    pub(super) fn judge(&mut self, level: Level, answers: u64, is_last: bool, view: View<'_>) {
        match self.search {
            Search::Grow { below: None } if !level.is_rough() && !is_last => {}
            Search::Grow { below: None } if self.may_grow(&level, view.now) => {
                self.grow(FLAT_STEP, level, view);
            }
            Search::Grow { below: None } => self.steady(Some(level), view),
            Search::Grow { below: Some(below) } => self.judge_growth(below, level, is_last, view),
            Search::Steady { level: before } if is_last || answers >= BATCH.max(2 * level.in_flight) => {
                self.judge_steady(before, level, view);
            }
            Search::Steady { .. } => {}
            Search::Down { from, was_at_ceiling } => {
                self.judge_descent(from, was_at_ceiling, level, is_last, view);
            }
        }
    }

    fn judge_growth(&mut self, below: Level, level: Level, is_last: bool, view: View<'_>) {
        let Some(change) = level.elasticity(&below) else {
            return self.steady(Some(level), view);
        };
        let step = level.in_flight as f64 / below.in_flight as f64;
        let is_large = step > LARGE;
        if self.is_at_ceiling && !is_large {
            return self.steady(Some(level), view);
        }
        let bound = if is_large {
            LARGE_BROUGHT_NOTHING
        } else {
            SMALL_BROUGHT_NOTHING
        };
        // A step too far shows at the next level; a large one that is not made costs throughput.
        let is_worth = if is_large {
            change.is_above(bound, 0.5) || is_last && !change.is_below(bound, 1.0)
        } else {
            change.is_above(bound, if is_last { 0.0 } else { 1.5 })
        };
        if is_worth {
            self.probed(view.now);
            if !self.may_grow(&level, view.now) {
                return self.steady(Some(level), view);
            }
            let has_room = if level.is_precise() {
                self.is_flat(&level)
            } else {
                change.value >= HAS_ROOM
            };
            let next = if has_room {
                FLAT_STEP
            } else {
                let capacity = step.powf(change.value - 1.0);
                (BEYOND_CAPACITY * capacity).clamp(UP_STEP, LONG_STEP)
            };
            return self.grow(next, level, view);
        }
        if !is_last && !change.is_below(bound, if is_large { 2.0 } else { 1.0 }) {
            return;
        }
        self.probed(view.now);
        if level.latency < SHORT {
            self.steady(Some(level), view);
        } else if change.value < SMALL_BROUGHT_NOTHING {
            if !below.is_rough() {
                self.next_probe = view.now;
            }
            if is_large {
                self.set_limit(below.in_flight as f64 * ROOM);
                self.steady(None, view);
            } else {
                self.set_limit(below.in_flight as f64);
                self.steady(Some(below), view);
            }
        } else {
            // The capacity is between the two.
            self.go_down(level, view);
        }
    }

    fn judge_descent(
        &mut self,
        from: Level,
        was_at_ceiling: bool,
        level: Level,
        is_last: bool,
        view: View<'_>,
    ) {
        let Some(change) = level.elasticity(&from) else {
            return self.steady(Some(level), view);
        };
        let deviations = if is_last { 0.0 } else { 2.0 };
        if change.is_below(COSTS_NOTHING, deviations) {
            self.probed(view.now);
            self.go_down(level, view);
        } else if change.is_above(COSTS_NOTHING, deviations) || is_last {
            if change.value >= INDEPENDENT {
                self.least = Some(level.slowness);
            }
            self.probed(view.now);
            self.set_limit(from.in_flight as f64);
            self.is_at_ceiling = was_at_ceiling;
            self.steady(Some(from), view);
        }
    }

    fn judge_steady(&mut self, before: Option<Level>, level: Level, view: View<'_>) {
        let Some(before) = before else {
            return if self.is_changed {
                self.go_down(level, view)
            } else {
                self.steady(Some(level), view)
            };
        };
        let bound = if self.is_at_ceiling {
            SLOWER_AT_CEILING
        } else {
            SLOWER
        };
        if level.slowdown(before.slowness) > bound && level.latency >= SHORT {
            // The server has changed within this round: the next one measures it as it is now.
            self.steady(None, view);
            self.is_changed = true;
            return;
        }
        if self.is_at_ceiling {
            let slowness = level.slowness.min(before.slowness * FORGETTING);
            return self.steady(Some(Level { slowness, ..level }), view);
        }
        self.measured(&level);
        let may_grow = self.may_grow(&level, view.now);
        if level.latency > TOO_NEAR_TIMEOUT * self.timeout && !self.is_unloaded(&level) {
            self.set_limit(level.in_flight as f64 * AFTER_TIMEOUT);
            self.steady(None, view);
        } else if level.slowness < FASTER * before.slowness && may_grow {
            self.grow(UP_STEP, level, view);
        } else if view.now < self.next_probe {
            self.steady(Some(level), view);
        } else if may_grow && (self.is_next_up || level.latency < SHORT) {
            self.is_next_up = false;
            self.grow(UP_STEP, level, view);
        } else {
            self.is_next_up = true;
            self.go_down(level, view);
        }
    }

    fn grow(&mut self, step: f64, level: Level, view: View<'_>) {
        self.measured(&level);
        if self.is_at_ceiling {
            return self.steady(Some(level), view);
        }
        self.limit = ((self.limit as f64 * step) as u64).max(self.limit + 1);
        self.search = Search::Grow { below: Some(level) };
        self.begin_round(self.limit, view);
    }

    fn go_down(&mut self, from: Level, view: View<'_>) {
        self.measured(&from);
        if from.in_flight <= 1 || from.latency < SHORT {
            return self.steady(Some(from), view);
        }
        let was_at_ceiling = self.is_at_ceiling;
        // Near the throughput of now at the least latency.
        let queue_free = self.least.map_or(1.0, |least| 1.2 * least / from.slowness);
        let step = queue_free.clamp(LARGE_DOWN_STEP, DOWN_STEP);
        self.set_limit(from.in_flight as f64 * step);
        self.search = Search::Down { from, was_at_ceiling };
        self.begin_round(self.limit, view);
    }

    pub(super) fn steady(&mut self, level: Option<Level>, view: View<'_>) {
        if let Some(level) = &level {
            self.measured(level);
        }
        self.search = Search::Steady { level };
        self.is_changed = false;
        self.is_saturated = !self.is_at_ceiling;
        let in_flight = if self.is_at_ceiling {
            view.in_flight
        } else {
            self.limit
        };
        self.begin_round(in_flight, view);
    }

    /// The next probe is due after a rest.
    fn probed(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.round.began);
        self.next_probe = now + (took * PROBE_REST).max(PROBE_EVERY);
    }

    fn measured(&mut self, level: &Level) {
        if level.is_precise() && self.least.is_none_or(|least| level.slowness < least) {
            self.least = Some(level.slowness);
        }
    }

    fn may_grow(&self, level: &Level, now: Instant) -> bool {
        self.grows_after.is_none_or(|after| now >= after)
            && (level.latency <= NEAR_TIMEOUT * self.timeout || self.is_unloaded(level))
            && self.least.is_none_or(|least| level.slowness <= SLOWEST * least)
    }

    /// Whether fewer in flight would not be answered sooner.
    fn is_unloaded(&self, level: &Level) -> bool {
        self.least.is_none_or(|least| level.slowness <= UNLOADED * least)
    }

    fn is_flat(&self, level: &Level) -> bool {
        self.least.is_some_and(|least| level.slowdown(least) <= FLAT)
    }
}
