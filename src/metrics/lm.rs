//! The metrics of one LM.

use super::{Metrics, names};
use prometheus::{
    Counter, CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
};
use std::time::Instant;

/// Bucket bounds of request durations in seconds, up to the default timeout.
const BUCKETS: &[f64] = &[
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// The usual status. Its counter is looked up once and kept.
const OK: u16 = 200;

/// The metric families, over all LMs.
pub(super) struct LmFamilies {
    requests: IntCounterVec,
    in_flight: IntGaugeVec,
    duration: HistogramVec,
    retries: IntCounterVec,
    throttles: IntCounterVec,
    tokens: IntCounterVec,
    cost: CounterVec,
    cache_hits: IntCounterVec,
}

impl LmFamilies {
    pub(super) fn new(registry: &super::Registry) -> LmFamilies {
        LmFamilies {
            requests: registry.counters(&names::LM_REQUESTS),
            in_flight: registry.gauges(&names::LM_REQUESTS_IN_FLIGHT),
            duration: registry.histograms(&names::LM_REQUEST_DURATION, BUCKETS),
            retries: registry.counters(&names::LM_RETRIES),
            throttles: registry.counters(&names::LM_THROTTLES),
            tokens: registry.counters(&names::LM_TOKENS),
            cost: registry.float_counters(&names::LM_COST),
            cache_hits: registry.counters(&names::LM_CACHE_HITS),
        }
    }
}

/// US dollars per million tokens.
#[derive(Clone, Copy, Debug)]
pub struct DollarsPerMillion {
    pub prompt: f64,
    pub completion: f64,
}

/// The counters of one LM, looked up once. Clones, and other handles of the same name and model, share them.
#[derive(Clone, Debug)]
pub struct LmMetrics {
    labels: [String; 2],
    requests: IntCounterVec,
    answered: IntCounter,
    in_flight: IntGauge,
    duration: Histogram,
    retries: IntCounter,
    throttles: IntCounter,
    prompt_tokens: IntCounter,
    completion_tokens: IntCounter,
    cost: Option<(Counter, DollarsPerMillion)>,
    cache_hits: IntCounter,
}

impl Metrics {
    /// The counters of the LM with this name in the job file. Its cost is counted if a price is given.
    pub fn lm(&self, name: &str, model: &str, price: Option<DollarsPerMillion>) -> LmMetrics {
        let LmFamilies {
            requests,
            in_flight,
            duration,
            retries,
            throttles,
            tokens,
            cost,
            cache_hits,
        } = &self.lm;
        let labels = [name, model];
        LmMetrics {
            labels: labels.map(str::to_owned),
            answered: requests.with_label_values(&[name, model, "200"]),
            requests: requests.clone(),
            in_flight: in_flight.with_label_values(&labels),
            duration: duration.with_label_values(&labels),
            retries: retries.with_label_values(&labels),
            throttles: throttles.with_label_values(&labels),
            prompt_tokens: tokens.with_label_values(&[name, model, "prompt"]),
            completion_tokens: tokens.with_label_values(&[name, model, "completion"]),
            cost: price.map(|price| (cost.with_label_values(&labels), price)),
            cache_hits: cache_hits.with_label_values(&labels),
        }
    }
}

impl LmMetrics {
    /// Starts a request. It is counted when the timer is dropped, without a status unless [`RequestTimer::answered`] was called.
    pub fn request(&self) -> RequestTimer<'_> {
        self.in_flight.inc();
        RequestTimer {
            of: self,
            started: Instant::now(),
            status: None,
        }
    }

    /// Counts a retry: the next request repeats one that failed.
    pub fn retried(&self) {
        self.retries.inc();
    }

    /// Counts a rate-limited answer.
    pub fn throttled(&self) {
        self.throttles.inc();
    }

    /// Counts the tokens that the server reported.
    pub fn spent(&self, prompt_tokens: u64, completion_tokens: u64) {
        self.prompt_tokens.inc_by(prompt_tokens);
        self.completion_tokens.inc_by(completion_tokens);
        if let Some((cost, price)) = &self.cost {
            let millionths =
                prompt_tokens as f64 * price.prompt + completion_tokens as f64 * price.completion;
            // A counter panics on a negative value.
            cost.inc_by((millionths / 1e6).max(0.0));
        }
    }

    /// Counts an answer that was read from the store.
    pub fn cache_hit(&self) {
        self.cache_hits.inc();
    }
}

/// A request in flight.
#[derive(Debug)]
pub struct RequestTimer<'a> {
    of: &'a LmMetrics,
    started: Instant,
    status: Option<u16>,
}

impl RequestTimer<'_> {
    /// Records that the complete answer has arrived, with its status.
    pub fn answered(&mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for RequestTimer<'_> {
    fn drop(&mut self) {
        let LmMetrics {
            labels: [name, model],
            ..
        } = self.of;
        self.of.in_flight.dec();
        self.of.duration.observe(self.started.elapsed().as_secs_f64());
        match self.status {
            Some(OK) => self.of.answered.inc(),
            Some(status) => {
                let status = status.to_string();
                self.of.requests.with_label_values(&[name, model, &status]).inc();
            }
            None => self.of.requests.with_label_values(&[name, model, "none"]).inc(),
        }
    }
}
