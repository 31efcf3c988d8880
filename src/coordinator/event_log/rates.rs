//! The lines of rates: one per second while they change, one per minute while they do not.

use super::event_lm::EventLm;
use crate::coordinator::lm_watch::total_limit;
use crate::lm::LmStatus;
use serde::Serialize;
use std::time::Duration;
use tokio::time::Instant;

/// The interval between two lines while nothing changes.
const STEADY_EVERY: Duration = Duration::from_secs(60);

/// The rates of the run and of each of its LMs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rates {
    #[serde(flatten)]
    run: RunRates,
    lms: Vec<LmRates>,
}

/// The rate of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(in crate::coordinator) struct RunRates {
    /// Tasks with an outcome, and those of them that failed.
    pub(in crate::coordinator) ended: usize,
    pub(in crate::coordinator) failed: usize,
    /// Tasks that ended per second in the last minute, as in the output of `status`.
    #[serde(serialize_with = "rounded")]
    pub(in crate::coordinator) rate: f64,
}

/// One model at one address, over all workers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct LmRates {
    #[serde(flatten)]
    lm: EventLm,
    /// Answers, and refusals for the rate, since this process started the run.
    answers: u64,
    throttled: u64,
    /// Answers in the last minute.
    answers_per_min: u64,
    in_flight: u64,
    waiting: u64,
    /// The most requests per minute that are released; `None` if nothing limits them.
    limit_per_min: Option<u64>,
    /// The median latency of the slowest worker.
    latency_ms: Option<u64>,
}

impl LmRates {
    pub(super) fn new(lm: &EventLm, statuses: &[&LmStatus], answers: u64, throttled: u64) -> LmRates {
        let sum = |count: fn(&LmStatus) -> u64| statuses.iter().map(|status| count(status)).sum();
        LmRates {
            lm: lm.clone(),
            answers,
            throttled,
            answers_per_min: sum(|status| status.answers_per_min),
            in_flight: sum(|status| status.in_flight),
            waiting: sum(|status| status.waiting),
            limit_per_min: total_limit(statuses.iter().copied()),
            latency_ms: statuses.iter().filter_map(|status| status.latency_ms).max(),
        }
    }

    /// Whether the rates are nearly the same. The total of the answers is not compared, because it always grows.
    fn is_like(&self, before: &LmRates) -> bool {
        let is_limit_same = match (self.limit_per_min, before.limit_per_min) {
            (Some(now), Some(before)) => is_near(now, before, 10),
            (now, before) => now == before,
        };
        self.lm == before.lm
            && self.throttled == before.throttled
            && is_limit_same
            && is_near(self.answers_per_min, before.answers_per_min, 10)
            && is_near(self.in_flight, before.in_flight, 4)
            && is_near(self.waiting, before.waiting, 4)
    }
}

/// Selects the rates to record.
#[derive(Debug, Default)]
pub(super) struct RatesRecorder {
    recorded: Option<(Rates, Instant)>,
    /// The last rates of the LMs.
    lms: Vec<LmRates>,
}

impl RatesRecorder {
    /// Applies the present rates. Returns them if they are to be recorded.
    pub(super) fn update(&mut self, run: RunRates, lms: Vec<LmRates>, now: Instant) -> Option<Rates> {
        self.lms.clone_from(&lms);
        let rates = Rates { run, lms };
        let is_due = match &self.recorded {
            None => !rates.lms.is_empty(),
            Some((before, at)) => {
                let is_steady = rates.is_like(before);
                !is_steady || now.saturating_duration_since(*at) >= STEADY_EVERY
            }
        };
        if !is_due {
            return None;
        }
        self.recorded = Some((rates.clone(), now));
        Some(rates)
    }

    /// Returns the last rates, unless they are recorded.
    pub(super) fn finish(&mut self, run: RunRates) -> Option<Rates> {
        let rates = Rates {
            run,
            lms: std::mem::take(&mut self.lms),
        };
        let is_recorded = matches!(&self.recorded, Some((before, _)) if *before == rates);
        (!is_recorded && !rates.lms.is_empty()).then_some(rates)
    }
}

impl Rates {
    fn is_like(&self, before: &Rates) -> bool {
        let pairs = self.lms.iter().zip(&before.lms);
        self.run.failed == before.run.failed
            && self.lms.len() == before.lms.len()
            && pairs.into_iter().all(|(now, before)| now.is_like(before))
    }
}

/// Whether two numbers differ by at most 2, or by that plus one `part`-th of the larger one.
fn is_near(one: u64, other: u64, part: u64) -> bool {
    one.abs_diff(other) <= 2 + one.max(other) / part
}

/// Rounds a rate to two decimals.
fn rounded<S: serde::Serializer>(rate: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((rate * 100.0).round() / 100.0)
}
