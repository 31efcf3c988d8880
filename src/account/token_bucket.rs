//! A token bucket that fills at a constant rate, for requests and for LM tokens.

use std::time::Duration;
use tokio::time::Instant;

/// The longest wait that is returned. The caller then asks again.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A bucket that starts full. It may be overdrawn: a request for more than the capacity needs a full bucket and leaves a negative level.
#[derive(Clone, Debug)]
pub(super) struct TokenBucket {
    per_sec: f64,
    /// The capacity.
    burst: f64,
    level: f64,
    filled: Instant,
}

impl TokenBucket {
    /// A full bucket that holds what flows in during `burst`, at least 1.
    pub(super) fn new(per_sec: f64, burst: Duration, now: Instant) -> TokenBucket {
        let burst = (per_sec * burst.as_secs_f64()).max(1.0);
        TokenBucket {
            per_sec,
            burst,
            level: burst,
            filled: now,
        }
    }

    pub(super) fn per_sec(&self) -> f64 {
        self.per_sec
    }

    /// Changes the rate and the capacity. The level stays, up to the new capacity.
    pub(super) fn set_rate(&mut self, per_sec: f64, burst: Duration, now: Instant) {
        self.fill(now);
        self.per_sec = per_sec;
        self.burst = (per_sec * burst.as_secs_f64()).max(1.0);
        self.level = self.level.min(self.burst);
    }

    /// The earliest time at which `amount` can be taken.
    pub(super) fn ready_at(&mut self, amount: f64, now: Instant) -> Instant {
        self.fill(now);
        let missing = amount.min(self.burst) - self.level;
        // A rounding error must not cost a tick of the clock.
        if missing < 1e-6 {
            return now;
        }
        let wait = Duration::try_from_secs_f64(missing / self.per_sec).unwrap_or(LONGEST_WAIT);
        now + wait.min(LONGEST_WAIT)
    }

    pub(super) fn take(&mut self, amount: f64, now: Instant) {
        self.fill(now);
        self.level -= amount;
    }

    /// Puts back what was taken and not used. A negative amount is taken in addition.
    pub(super) fn give_back(&mut self, amount: f64) {
        self.level = (self.level + amount).min(self.burst);
    }

    /// Lowers the level to `most` if it is higher.
    pub(super) fn cap_level(&mut self, most: f64, now: Instant) {
        self.fill(now);
        self.level = self.level.min(most);
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled);
        self.level = (self.level + passed.as_secs_f64() * self.per_sec).min(self.burst);
        self.filled = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BURST: Duration = Duration::from_millis(200);

    /// How often one unit can be taken from the bucket within `time`.
    fn given(bucket: &mut TokenBucket, start: Instant, time: Duration) -> u32 {
        let (mut now, mut given) = (start, 0);
        loop {
            now = bucket.ready_at(1.0, now);
            if now >= start + time {
                return given;
            }
            bucket.take(1.0, now);
            given += 1;
        }
    }

    #[test]
    fn full_bucket_gives_its_burst_at_once_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(100.0, BURST, start);
        assert_eq!(given(&mut bucket, start, Duration::from_millis(1)), 20);
        let minute = given(
            &mut bucket,
            start + Duration::from_millis(1),
            Duration::from_secs(60),
        );
        assert!((5999..=6001).contains(&minute), "{minute}");
    }

    #[test]
    fn amount_beyond_the_burst_needs_a_full_bucket_and_leaves_a_debt() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(10.0, BURST, start);
        assert_eq!(bucket.ready_at(50.0, start), start);
        bucket.take(50.0, start);
        let next = bucket.ready_at(2.0, start) - start;
        assert!((next.as_secs_f64() - 5.0).abs() < 0.01, "{next:?}");
        bucket.give_back(40.0);
        let next = bucket.ready_at(2.0, start) - start;
        assert!((next.as_secs_f64() - 1.0).abs() < 0.01, "{next:?}");
    }

    #[test]
    fn idle_bucket_holds_no_more_than_its_burst() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(100.0, BURST, start);
        let later = start + Duration::from_secs(600);
        bucket.take(20.0, start);
        assert_eq!(given(&mut bucket, later, Duration::from_millis(1)), 20);
        bucket.cap_level(0.0, later);
        assert!(bucket.ready_at(1.0, later) > later);
    }
}
