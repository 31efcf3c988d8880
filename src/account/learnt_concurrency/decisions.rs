//! Decides after each measurement whether more, fewer or as many requests may be in flight.

use super::level::Level;
use super::{AFTER_TIMEOUT, BATCH, LearntConcurrency, NEAR_TIMEOUT, Search, TOO_NEAR_TIMEOUT, View};
use std::time::Duration;
use tokio::time::Instant;

/// Factors of growth: while the latency is so short that it stays short after the step, while it is flat, and otherwise.
const SHORT_STEP: f64 = 4.0;
const FLAT_STEP: f64 = 2.0;
const LONG_STEP: f64 = 1.5;

/// The factor of growth in a probe.
const UP_STEP: f64 = 1.25;

/// The largest and the smallest step down, as factors.
const LARGE_DOWN_STEP: f64 = 0.5;
const DOWN_STEP: f64 = 0.8;

/// The largest step beyond the estimated capacity, as a factor.
const BEYOND_CAPACITY: f64 = 1.9;

/// The factor above which a step is large. After a large step, a small gain does not show that the next step will bring any.
const LARGE: f64 = 1.35;

/// The elasticities below which a large and a small step count as without gain, and the one from which a flat step may follow.
const LARGE_BROUGHT_NOTHING: f64 = 0.33;
const SMALL_BROUGHT_NOTHING: f64 = 0.13;
const HAS_ROOM: f64 = 0.85;

/// The limit after a large step without gain, as a multiple of the one before the step: some requests are in transit between client and
/// server.
const ROOM: f64 = 1.125;

/// The elasticity below which a step down costs no throughput.
const COSTS_NOTHING: f64 = 0.09;

/// The elasticity above which the latency does not depend on the requests in flight.
const INDEPENDENT: f64 = 0.9;

/// The slowness, as a multiple of the least, up to which the latency counts as flat.
const FLAT: f64 = 1.05;

/// The slowness, as a multiple of the least, up to which fewer requests in flight would not shorten the latency.
const UNLOADED: f64 = 1.2;

/// The slowness, as a multiple of the least, above which the limit does not grow. Without it, each of several workers on one server would
/// gain by growing at the cost of the others.
const SLOWEST: f64 = 4.0;

/// The mean latency in seconds below which no limit is needed. Such calls overload no server, and much of their time is spent in the
/// client.
const SHORT: f64 = 0.1;

/// Changes of the slowness, as factors, after which the limit is tested again: slower at the limit, slower at the ceiling, faster.
const SLOWER: f64 = 1.3;
const SLOWER_AT_CEILING: f64 = 1.5;
const FASTER: f64 = 0.77;

/// The factor by which the accepted slowness at the ceiling may grow per measurement.
const FORGETTING: f64 = 1.05;

/// The shortest interval between two probes, in seconds and as a multiple of the duration of the last one.
const PROBE_EVERY: Duration = Duration::from_secs(20);
const PROBE_REST: u32 = 5;

impl LearntConcurrency {
    /// Grows at once, after the first answers of a round, if the server clearly has room.
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
        // A step too far is corrected after the next measurement, while a missed large step costs throughput.
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
            // The capacity is between the two levels.
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
            // The server has changed within this round, so the next round measures it again.
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
        // The limit at which the least latency would give the present throughput.
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

    /// Schedules the next probe.
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

    /// Whether fewer requests in flight would not shorten the latency.
    fn is_unloaded(&self, level: &Level) -> bool {
        self.least.is_none_or(|least| level.slowness <= UNLOADED * least)
    }

    fn is_flat(&self, level: &Level) -> bool {
        self.least.is_some_and(|least| level.slowdown(least) <= FLAT)
    }
}
