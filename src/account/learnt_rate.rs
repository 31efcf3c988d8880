//! The rate limit of a server that returns 429 without reporting its limit, learnt from the requests that it accepts.
//!
//! Between two refusals, a server with a limit accepts requests at exactly that limit. So a refusal cuts the rate to slightly below the
//! accepted rate, and without refusals the rate grows. The number of refusals is not used: where refused requests count against the limit,
//! a rate that follows their number would fall without end.

use super::token_bucket::TokenBucket;
use std::time::Duration;
use tokio::time::Instant;

/// The burst: the share of the rate that may be sent at once, as a duration. It covers the delay of a late timer.
const BURST: Duration = Duration::from_millis(20);

/// The shortest interval between two cuts, and between two steps of growth.
const INTERVAL: Duration = Duration::from_millis(500);

/// The time without refusals after which the rate grows again.
const QUIET: Duration = Duration::from_secs(2);

/// The rate after a cut, in relation to the accepted rate.
const BELOW: f64 = 0.97;

/// Growth per [`INTERVAL`], before the second refusal and after it.
const FAST: f64 = 1.1;
const SLOW: f64 = 1.01;

/// The time without refusals after which the limit has probably been raised: then the rate grows by [`FAST`] again.
const LONG_QUIET: Duration = Duration::from_secs(15);

/// The largest cut, as the share of the rate that is left: the rate accepted over a short time may be too low.
const LEAST_LEFT: f64 = 0.5;

/// The growth, since the start and without a refusal, after which the rate no longer limits.
const OUTGROWN: f64 = 8.0;

/// The lowest rate, in requests per second.
const LEAST: f64 = 0.2;

/// Accepted requests are counted over one to two of these periods.
const PERIOD: Duration = Duration::from_millis(2500);

/// How long the first request after a refused one is sent alone, unless it is answered earlier.
const ALONE: Duration = Duration::from_secs(1);

/// The first and the longest pause when the server accepts nothing and sends no `Retry-After`.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

#[derive(Debug)]
pub(super) struct LearntRate {
    bucket: TokenBucket,
    growth: f64,
    /// The rate, in requests per second, above which it no longer limits.
    outgrown: f64,
    period: Period,
    previous: Option<Period>,
    last_cut: Instant,
    last_growth: Instant,
    era: Era,
    /// Consecutive eras whose first request was refused.
    refused_eras: u32,
}

/// A period over which accepted requests are counted.
#[derive(Debug)]
struct Period {
    number: u64,
    began: Instant,
    accepted: u64,
}

impl Period {
    fn next(&self, now: Instant) -> Period {
        Period {
            number: self.number + 1,
            began: now,
            accepted: 0,
        }
    }
}

/// The time since the last cut or pause.
#[derive(Debug, Default)]
struct Era {
    first_release: Option<Instant>,
    /// The time since which nothing but the rate has delayed releases.
    measured_since: Option<Instant>,
    is_answered: bool,
}

/// A released request: the period that counts it, and whether it is the first of its era.
#[derive(Clone, Copy, Debug)]
pub(super) struct Release {
    period: u64,
    is_first: bool,
}

/// The effect of a refusal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RefusalEffect {
    /// None: a cut for the same cause was made a moment ago.
    None,
    /// The rate was cut, and a new era began.
    Cut,
    /// The server accepts nothing: a new era begins after this pause.
    Pause(Duration),
}

impl LearntRate {
    /// Starts at the rate that the server accepted before its first refusal.
    pub(super) fn new(accepted_per_sec: f64, now: Instant) -> LearntRate {
        let per_sec = accepted_per_sec.max(LEAST);
        LearntRate {
            bucket: TokenBucket::new(per_sec, BURST, now),
            growth: FAST,
            outgrown: per_sec * OUTGROWN,
            period: Period {
                number: 1,
                began: now,
                accepted: 0,
            },
            previous: None,
            last_cut: now,
            last_growth: now,
            era: Era::default(),
            refused_eras: 0,
        }
    }

    /// Starts at a share of the rate that other gates have learnt.
    pub(super) fn joining(per_sec: f64, now: Instant) -> LearntRate {
        let mut rate = LearntRate::new(per_sec, now);
        rate.growth = SLOW;
        rate.bucket.cap_level(0.0, now);
        rate
    }

    pub(super) fn per_sec(&self) -> f64 {
        self.bucket.per_sec()
    }

    /// Whether the rate has grown so much that it no longer limits.
    pub(super) fn is_outgrown(&self) -> bool {
        self.growth == FAST && self.per_sec() > self.outgrown
    }

    /// The earliest time at which the next request may be released.
    pub(super) fn ready_at(&mut self, now: Instant) -> Instant {
        let ready = self.bucket.ready_at(1.0, now);
        match self.era.first_release {
            Some(first) if self.refused_eras > 0 && !self.era.is_answered => ready.max(first + ALONE),
            _ => ready,
        }
    }

    /// Releases a request. The rate grows only while calls wait behind it.
    pub(super) fn release(&mut self, waiting: u64, now: Instant) -> Release {
        if waiting > 0 {
            self.grow(now);
        }
        self.bucket.take(1.0, now);
        if now.saturating_duration_since(self.period.began) >= PERIOD {
            let next = self.period.next(now);
            self.previous = Some(std::mem::replace(&mut self.period, next));
        }
        let is_first = self.era.first_release.is_none();
        if is_first {
            self.era.first_release = Some(now);
            self.measure(now);
        }
        self.period.accepted += 1;
        Release {
            period: self.period.number,
            is_first,
        }
    }

    /// Records an answer to a request of this era.
    pub(super) fn answered(&mut self, now: Instant) {
        if self.refused_eras > 0 {
            // Until now, the first request was sent alone.
            self.measure(now);
        }
        self.era.is_answered = true;
        self.refused_eras = 0;
    }

    /// Records that a request was not accepted, for whatever reason.
    pub(super) fn not_accepted(&mut self, release: Release) {
        let periods = [Some(&mut self.period), self.previous.as_mut()];
        for period in periods.into_iter().flatten() {
            if period.number == release.period {
                period.accepted = period.accepted.saturating_sub(1);
            }
        }
    }

    /// Records that a request of this era was refused. [`Self::not_accepted`] must have been called for it.
    pub(super) fn refused(&mut self, release: Release, now: Instant) -> RefusalEffect {
        if release.is_first {
            return self.pause();
        }
        let measured_since = self.era.measured_since.unwrap_or(now);
        if now.saturating_duration_since(measured_since) < INTERVAL {
            return RefusalEffect::None;
        }
        match self.accepted_per_sec(now) {
            Some(accepted) => {
                let least = (self.per_sec() * LEAST_LEFT).max(LEAST);
                let per_sec = (self.per_sec().min(accepted) * BELOW).max(least);
                self.bucket.set_rate(per_sec, BURST, now);
                self.bucket.cap_level(0.0, now);
                self.growth = SLOW;
                self.last_cut = now;
                self.last_growth = now;
                self.era = Era::default();
                RefusalEffect::Cut
            }
            None => self.pause(),
        }
    }

    /// Multiplies the rate, because the number of gates that share the limit has changed.
    pub(super) fn scale(&mut self, factor: f64, now: Instant) {
        let per_sec = (self.per_sec() * factor).max(LEAST);
        self.bucket.set_rate(per_sec, BURST, now);
        self.outgrown *= factor;
        if self.era.measured_since.is_some() {
            self.measure(now);
        }
    }

    /// Restarts the measurement: the requests accepted before, and the time of a pause, would distort the rate.
    fn measure(&mut self, now: Instant) {
        self.period = self.period.next(now);
        self.previous = None;
        self.era.measured_since = Some(now);
    }

    fn pause(&mut self) -> RefusalEffect {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.refused_eras.min(8))
            .min(LONGEST_PAUSE);
        self.refused_eras += 1;
        self.era = Era::default();
        RefusalEffect::Pause(pause)
    }

    /// The rate, in requests per second, that the server accepted in the current and the previous period. `None` if it accepted nothing.
    fn accepted_per_sec(&self, now: Instant) -> Option<f64> {
        let (mut accepted, mut began) = (self.period.accepted, self.period.began);
        if let Some(previous) = &self.previous {
            accepted += previous.accepted;
            began = previous.began;
        }
        let secs = now.saturating_duration_since(began).as_secs_f64();
        (accepted > 0 && secs > 0.0).then(|| accepted as f64 / secs)
    }

    fn grow(&mut self, now: Instant) {
        let is_due = now.saturating_duration_since(self.last_growth) >= INTERVAL;
        let quiet = now.saturating_duration_since(self.last_cut);
        let is_quiet = self.growth == FAST || quiet >= QUIET;
        if is_due && is_quiet {
            let growth = if quiet >= LONG_QUIET { FAST } else { self.growth };
            self.bucket.set_rate(self.per_sec() * growth, BURST, now);
            self.last_growth = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_gate_starts_without_a_burst_and_grows_slowly() {
        let now = Instant::now();
        let mut rate = LearntRate::joining(20.0, now);
        let first = rate.ready_at(now) - now;
        assert!((first.as_secs_f64() - 0.05).abs() < 1e-3, "{first:?}");
        let quiet = now + QUIET;
        rate.release(1, quiet);
        assert!((rate.per_sec() - 20.0 * SLOW).abs() < 1e-9);
    }

    #[test]
    fn refusal_after_a_larger_share_cuts_by_what_the_new_share_gets() {
        let now = Instant::now();
        let mut rate = LearntRate::joining(20.0, now);
        for at in 1..=60 {
            rate.release(0, now + Duration::from_millis(50 * at));
        }
        let scaled = now + Duration::from_secs(3);
        rate.scale(1.25, scaled);
        assert_eq!(rate.per_sec(), 25.0);
        let mut last = None;
        for at in 1..=25 {
            last = Some(rate.release(0, scaled + Duration::from_millis(40 * at)));
        }
        let refused = last.unwrap();
        rate.not_accepted(refused);
        assert_eq!(
            rate.refused(refused, scaled + Duration::from_secs(1)),
            RefusalEffect::Cut
        );
        assert!((rate.per_sec() - 24.0 * BELOW).abs() < 0.1, "{}", rate.per_sec());
    }
}
