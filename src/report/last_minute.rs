//! How much a count grew in the last minute: the one rate that the live line, the log, `run.json` and `status` show.

use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// What counts as lately.
const MINUTE: Duration = Duration::from_secs(60);

/// The least time between two samples: a minute has at most 120.
const SAMPLE_EVERY: Duration = Duration::from_millis(500);

/// The shortest time over which a rate is computed: the first outcomes come in bursts.
const MIN_TIME: Duration = Duration::from_secs(1);

/// Samples of a count that only grows.
#[derive(Clone, Debug)]
pub struct LastMinute {
    /// The oldest sample is the last one that is at least a minute old, or the first.
    samples: VecDeque<(Instant, u64)>,
    latest: (Instant, u64),
}

impl LastMinute {
    /// Starts at this count.
    pub fn new(count: u64, now: Instant) -> LastMinute {
        LastMinute {
            samples: VecDeque::from([(now, count)]),
            latest: (now, count),
        }
    }

    /// Enters the present count.
    pub fn enter(&mut self, count: u64, now: Instant) {
        self.latest = (now, count);
        let is_due = |(at, _): &(Instant, u64)| now.duration_since(*at) >= SAMPLE_EVERY;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back((now, count));
        }
        let is_old = |(at, _): &(Instant, u64)| now.duration_since(*at) >= MINUTE;
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
    }

    /// How much the count grew in the last minute, or since the start.
    pub fn growth(&self) -> u64 {
        let first = self.samples.front().map_or(self.latest.1, |(_, count)| *count);
        self.latest.1.saturating_sub(first)
    }

    /// The growth per second.
    pub fn per_second(&self) -> f64 {
        let first = self.samples.front().map_or(self.latest.0, |(at, _)| *at);
        let time = self.latest.0.duration_since(first).max(MIN_TIME);
        self.growth() as f64 / time.as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enters a count every half second that grows by `per_second` each second.
    fn grow(counted: &mut LastMinute, from: u64, per_second: u64, start: Instant, seconds: u64) -> u64 {
        for half in 1..=2 * seconds {
            let now = start + SAMPLE_EVERY * u32::try_from(half).expect("small");
            counted.enter(from + per_second * half / 2, now);
        }
        from + per_second * seconds
    }

    #[test]
    fn rate_is_that_of_the_last_minute() {
        let start = Instant::now();
        let mut counted = LastMinute::new(1000, start);
        assert_eq!((counted.growth(), counted.per_second()), (0, 0.0));
        let reached = grow(&mut counted, 1000, 200, start, 10);
        assert_eq!((counted.growth(), counted.per_second()), (2000, 200.0));
        let later = start + Duration::from_secs(10);
        grow(&mut counted, reached, 10, later, 60);
        assert_eq!((counted.growth(), counted.per_second()), (600, 10.0));
        assert!(counted.samples.len() <= 122, "{}", counted.samples.len());
    }

    #[test]
    fn rate_falls_to_0_a_minute_after_the_last_growth() {
        let start = Instant::now();
        let mut counted = LastMinute::new(0, start);
        grow(&mut counted, 0, 100, start, 5);
        let later = start + Duration::from_secs(5);
        grow(&mut counted, 500, 0, later, 30);
        assert!(counted.per_second() > 10.0);
        grow(&mut counted, 500, 0, later + Duration::from_secs(30), 31);
        assert_eq!(counted.per_second(), 0.0);
    }

    #[test]
    fn first_burst_counts_as_one_second() {
        let start = Instant::now();
        let mut counted = LastMinute::new(0, start);
        counted.enter(50, start + Duration::from_millis(10));
        assert_eq!(counted.per_second(), 50.0);
    }
}
