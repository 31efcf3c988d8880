//! An exact token bucket.

/// Fills at a constant rate up to its capacity. Times are in seconds of server time.
#[derive(Debug)]
pub(crate) struct RateBucket {
    /// Units per second.
    pub(crate) rate: f64,
    pub(crate) capacity: f64,
    level: f64,
    filled_at: f64,
}

impl RateBucket {
    /// A full bucket.
    pub(crate) fn new(per_minute: f64, burst_s: f64, now: f64) -> RateBucket {
        let rate = per_minute / 60.0;
        let capacity = (rate * burst_s).max(1.0);
        RateBucket {
            rate,
            capacity,
            level: capacity,
            filled_at: now,
        }
    }

    /// The present level.
    pub(crate) fn level(&mut self, now: f64) -> f64 {
        let filled = (now - self.filled_at).max(0.0) * self.rate;
        self.level = self.capacity.min(self.level + filled);
        self.filled_at = now;
        self.level
    }

    /// Seconds until the bucket holds `units`; 0 if it does now.
    pub(crate) fn wait(&mut self, units: f64, now: f64) -> f64 {
        // A request for more than the capacity is admitted when the bucket is full.
        let units = units.min(self.capacity);
        ((units - self.level(now)) / self.rate).max(0.0)
    }

    pub(crate) fn take(&mut self, units: f64, now: f64) {
        self.level = self.level(now) - units;
    }

    /// Takes units for a refused request. The level stays at or above the negative capacity, so that the account
    /// recovers.
    pub(crate) fn charge(&mut self, units: f64, now: f64) {
        self.level = (self.level(now) - units).max(-self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::RateBucket;

    #[test]
    fn rate_bucket_admits_its_capacity_then_its_rate() {
        let mut bucket = RateBucket::new(60.0, 5.0, 0.0);
        for _ in 0..5 {
            assert_eq!(bucket.wait(1.0, 0.0), 0.0);
            bucket.take(1.0, 0.0);
        }
        assert_eq!(bucket.wait(1.0, 0.0), 1.0);
        assert_eq!(bucket.wait(1.0, 0.75), 0.25);
        assert_eq!(bucket.wait(1.0, 1.0), 0.0);
    }

    #[test]
    fn rate_bucket_holds_no_more_than_its_capacity() {
        let mut bucket = RateBucket::new(60.0, 5.0, 0.0);
        bucket.take(5.0, 0.0);
        assert_eq!(bucket.level(1000.0), 5.0);
    }

    #[test]
    fn charge_of_refused_requests_has_a_bound() {
        let mut bucket = RateBucket::new(60.0, 5.0, 0.0);
        for _ in 0..100 {
            bucket.charge(1.0, 0.0);
        }
        assert_eq!(bucket.wait(1.0, 0.0), 6.0);
    }
}
