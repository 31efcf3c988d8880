//! Processor sharing: requests in flight share the server's capacity, so each further one slows all of them down.

use crate::behaviour::SharedCapacity;
use std::collections::VecDeque;

/// A processor that equal requests share, so that they end in the order of their arrival. Times are in seconds of
/// server time.
#[derive(Debug)]
pub(crate) struct SharedProcessor<T> {
    saturation: SharedCapacity,
    /// Work that each request in flight has received since the start; a request ends after one unit.
    progress: f64,
    advanced_at: f64,
    /// Each request with the progress at which it ends.
    requests: VecDeque<(f64, T)>,
}

impl<T> SharedProcessor<T> {
    pub(crate) fn new(saturation: SharedCapacity, now: f64) -> SharedProcessor<T> {
        SharedProcessor {
            saturation,
            progress: 0.0,
            advanced_at: now,
            requests: VecDeque::new(),
        }
    }

    pub(crate) fn add(&mut self, request: T, now: f64) {
        self.advance(now);
        self.requests.push_back((self.progress + 1.0, request));
    }

    /// Removes the requests that satisfy the condition, because their clients have disconnected.
    pub(crate) fn remove(&mut self, gone: impl Fn(&T) -> bool, now: f64) {
        self.advance(now);
        self.requests.retain(|(_, request)| !gone(request));
    }

    /// Removes and returns the first request that has ended by `now`; `None` if there is none.
    pub(crate) fn ended(&mut self, now: f64) -> Option<T> {
        self.advance(now);
        let (end, _) = self.requests.front()?;
        (*end <= self.progress + 1e-9).then(|| self.requests.pop_front().map(|(_, request)| request))?
    }

    /// Seconds until the next request ends; `None` if there is none.
    pub(crate) fn next_end(&self) -> Option<f64> {
        let (end, _) = self.requests.front()?;
        Some(((end - self.progress) / self.speed()).max(0.0))
    }

    fn advance(&mut self, now: f64) {
        if !self.requests.is_empty() {
            self.progress += (now - self.advanced_at).max(0.0) * self.speed();
        }
        self.advanced_at = now;
    }

    /// Units of work per second that each request receives.
    fn speed(&self) -> f64 {
        let in_flight = self.requests.len();
        self.saturation.capacity(in_flight) / in_flight as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{SharedCapacity, SharedProcessor};

    /// Ten answers per second; the knee is at five requests.
    const SATURATION: SharedCapacity = SharedCapacity {
        peak_rps: 10.0,
        base_s: 0.5,
        thrash_from: Some(20.0),
    };

    fn ends(requests: usize) -> f64 {
        let mut processor = SharedProcessor::new(SATURATION, 0.0);
        for request in 0..requests {
            processor.add(request, 0.0);
        }
        processor.next_end().expect("a request")
    }

    #[test]
    fn latency_is_constant_up_to_the_knee_and_grows_after_it() {
        assert_eq!(ends(1), 0.5);
        assert_eq!(ends(5), 0.5);
        assert_eq!(ends(10), 1.0);
        assert_eq!(ends(20), 2.0);
    }

    #[test]
    fn thrashing_loses_throughput() {
        assert_eq!(ends(80), 16.0);
    }

    #[test]
    fn requests_end_in_order_and_once() {
        let mut processor = SharedProcessor::new(SATURATION, 0.0);
        processor.add("first", 0.0);
        processor.add("second", 0.25);
        assert_eq!(processor.ended(0.4), None);
        assert_eq!(processor.ended(0.5), Some("first"));
        assert_eq!(processor.ended(0.5), None);
        assert_eq!(processor.ended(0.75), Some("second"));
        assert_eq!(processor.next_end(), None);
    }
}
