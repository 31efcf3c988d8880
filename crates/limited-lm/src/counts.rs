//! Counters of the requests that the server received.

use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// The interval, in seconds, for which the most admissions and arrivals are reported.
const INTERVAL_S: f64 = 60.0;

/// Counters since the start of the server. Times are in server time.
#[derive(Clone, Debug, Serialize)]
pub struct ServedCounts {
    /// Requests.
    pub arrivals: u64,
    /// Different request bodies.
    pub distinct: u64,
    /// Whole answers with status 200.
    pub answers: u64,
    /// Answers to a body that had been answered before.
    pub answered_twice: u64,
    /// Responses by status.
    pub by_status: BTreeMap<u16, u64>,
    /// Requests that the limits refused.
    pub rate_refused: u64,
    /// Requests that the limits refused more than 10 s after the first such refusal.
    pub rate_refused_later: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// The most requests in flight.
    pub most_in_flight: u64,
    /// Requests whose connection was closed before their answer, by either end.
    pub dropped: u64,
    /// Requests that hang or hung, without a response.
    pub hung: u64,
    /// Answers that were cut off.
    pub halved: u64,
    /// Connections that were closed at once during an outage.
    pub resets: u64,
    /// Prompt and completion tokens of the answered requests.
    pub tokens: u64,
    /// The most requests that were admitted within any 60 s.
    pub most_admitted_in_window: u64,
    /// The most requests that arrived within any 60 s, including refused ones.
    pub most_arrived_in_window: u64,
    /// Requests per second, from the first request on.
    pub arrivals_by_second: Vec<u64>,
    /// Answers per second, from the first request on.
    pub answers_by_second: Vec<u64>,
    /// Seconds from the first request to the last answer.
    pub answered_for_s: f64,
    /// Requests by API key.
    pub by_key: BTreeMap<String, u64>,
}

/// The counts from which [`ServedCounts`] are computed.
#[derive(Debug, Default)]
pub(crate) struct RequestCounts {
    bodies: HashMap<u64, BodyCounts>,
    by_status: BTreeMap<u16, u64>,
    by_key: BTreeMap<String, u64>,
    arrived_at: Vec<f64>,
    admitted_at: Vec<f64>,
    answered_at: Vec<f64>,
    refused_at: Vec<f64>,
    pub(crate) in_flight: u64,
    most_in_flight: u64,
    answered_twice: u64,
    dropped: u64,
    hung: u64,
    halved: u64,
    resets: u64,
    tokens: u64,
}

#[derive(Debug, Default)]
struct BodyCounts {
    arrivals: u64,
    answers: u64,
}

impl RequestCounts {
    /// Counts a request. Returns how often its body has arrived, including this time.
    pub(crate) fn arrived(&mut self, digest: u64, key: &str, now: f64) -> u64 {
        self.arrived_at.push(now);
        *self.by_key.entry(key.to_owned()).or_default() += 1;
        let body = self.bodies.entry(digest).or_default();
        body.arrivals += 1;
        body.arrivals
    }

    pub(crate) fn refused(&mut self, status: u16) {
        *self.by_status.entry(status).or_default() += 1;
    }

    pub(crate) fn rate_refused(&mut self, now: f64) {
        self.refused(429);
        self.refused_at.push(now);
    }

    pub(crate) fn admitted(&mut self, now: f64) {
        self.admitted_at.push(now);
        self.in_flight += 1;
        self.most_in_flight = self.most_in_flight.max(self.in_flight);
    }

    pub(crate) fn answered(&mut self, digest: u64, tokens: u64, now: f64) {
        self.in_flight -= 1;
        *self.by_status.entry(200).or_default() += 1;
        self.answered_at.push(now);
        self.tokens += tokens;
        let body = self.bodies.entry(digest).or_default();
        body.answers += 1;
        self.answered_twice += u64::from(body.answers > 1);
    }

    pub(crate) fn broken(&mut self, status: u16) {
        self.in_flight -= 1;
        self.refused(status);
    }

    pub(crate) fn halved(&mut self) {
        self.in_flight -= 1;
        self.halved += 1;
    }

    pub(crate) fn dropped(&mut self) {
        self.in_flight -= 1;
        self.dropped += 1;
    }

    pub(crate) fn hung(&mut self) {
        self.hung += 1;
    }

    pub(crate) fn reset(&mut self) {
        self.resets += 1;
    }

    pub(crate) fn arrivals(&self) -> u64 {
        self.arrived_at.len() as u64
    }

    pub(crate) fn answers(&self) -> u64 {
        self.answered_at.len() as u64
    }

    pub(crate) fn admissions(&self) -> u64 {
        self.admitted_at.len() as u64
    }

    pub(crate) fn served(&self) -> ServedCounts {
        let first = self.arrived_at.first().copied().unwrap_or_default();
        let later_from = self.refused_at.first().map(|refused| refused + 10.0);
        let later = |at: &&f64| later_from.is_some_and(|later_from| **at > later_from);
        ServedCounts {
            arrivals: self.arrived_at.len() as u64,
            distinct: self.bodies.len() as u64,
            answers: self.answers(),
            answered_twice: self.answered_twice,
            by_status: self.by_status.clone(),
            rate_refused: self.refused_at.len() as u64,
            rate_refused_later: self.refused_at.iter().filter(later).count() as u64,
            in_flight: self.in_flight,
            most_in_flight: self.most_in_flight,
            dropped: self.dropped,
            hung: self.hung,
            halved: self.halved,
            resets: self.resets,
            tokens: self.tokens,
            most_admitted_in_window: most_in_interval(&self.admitted_at),
            most_arrived_in_window: most_in_interval(&self.arrived_at),
            arrivals_by_second: by_second(&self.arrived_at, first),
            answers_by_second: by_second(&self.answered_at, first),
            answered_for_s: self.answered_at.last().map_or(0.0, |last| last - first),
            by_key: self.by_key.clone(),
        }
    }
}

impl ServedCounts {
    /// The number of responses with this status.
    pub fn status(&self, status: u16) -> u64 {
        self.by_status.get(&status).copied().unwrap_or_default()
    }
}

/// The most of these sorted times within any half-open interval of 60 s.
fn most_in_interval(times: &[f64]) -> u64 {
    let mut most = 0;
    let mut first = 0;
    for (last, time) in times.iter().enumerate() {
        while times[first] <= time - INTERVAL_S {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most as u64
}

fn by_second(times: &[f64], first: f64) -> Vec<u64> {
    let mut counts = Vec::new();
    for time in times {
        let second = (time - first).max(0.0) as usize;
        if counts.len() <= second {
            counts.resize(second + 1, 0);
        }
        counts[second] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::{RequestCounts, by_second, most_in_interval};

    #[test]
    fn most_in_interval_counts_half_open_intervals() {
        assert_eq!(most_in_interval(&[]), 0);
        assert_eq!(most_in_interval(&[0.0, 59.0, 60.0, 61.0]), 3);
        assert_eq!(most_in_interval(&[0.0, 0.0, 59.9, 119.0, 119.5]), 3);
    }

    #[test]
    fn by_second_starts_at_the_first_request() {
        assert_eq!(by_second(&[7.5, 8.0, 9.6], 7.5), [2, 0, 1]);
    }

    #[test]
    fn answered_twice_counts_the_answers_after_the_first() {
        let mut counts = RequestCounts::default();
        for digest in [1, 1, 2, 1] {
            counts.arrived(digest, "-", 0.0);
            counts.admitted(0.0);
            counts.answered(digest, 10, 0.0);
        }
        let counts = counts.served();
        let totals = (
            counts.arrivals,
            counts.distinct,
            counts.answers,
            counts.answered_twice,
        );
        assert_eq!(totals, (4, 2, 4, 2));
        assert_eq!((counts.most_in_flight, counts.tokens), (1, 40));
    }
}
