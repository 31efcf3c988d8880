//! The limit of requests in flight for a server that never refuses any, learnt from throughput and latency.
//!
//! A server such as vLLM accepts every request and becomes slower. Beyond its capacity, more requests in flight only wait. Far beyond it,
//! the server's memory thrashes and throughput falls. While calls wait, Little's law gives the throughput at a number of requests in flight
//! from their latency. Two such measurements are compared by their [`Elasticity`](level::Elasticity).
//!
//! Limits by latency alone, such as Vegas and Gradient2, keep a server near its least latency. For a batching server this is too low: a GPU
//! that answers 16 requests at once takes longer for each of them, yet its throughput is higher. So throughput decides, and latency sets
//! the size of the steps:
//!
//! - *Grow*: start with a few requests in flight. Double the limit while the latency stays flat, and take smaller steps when it rises. Stop
//!   when the throughput no longer grows.
//! - *Steady*: keep the lowest limit that reached the best throughput. From time to time, or when the latency changes, *probe* a higher and
//!   a lower limit.
//! - At the *ceiling* the permits of the workers hold calls back, so no limit applies. The latency is evaluated every [`BATCH`] answers.

mod decisions;
mod level;
#[cfg(test)]
mod tests;

use super::last_answers::LastAnswers;
use super::latency_model::{LatencyModel, TimedAnswer};
use level::{Level, Round, RoundProgress, Sample};
use std::time::Duration;
use tokio::time::Instant;

/// The limit at the start.
const FIRST: u64 = 8;

/// The share of the limit that is in flight when the limit counts as reached.
const FULL: f64 = 0.8;

/// Answers below the limit, as a multiple of the limit, after which it no longer limits.
const UNFILLED: u64 = 4;

/// The latency, as a share of the timeout, above which the limit does not grow, and above which it is lowered.
const NEAR_TIMEOUT: f64 = 1.0 / 3.0;
const TOO_NEAR_TIMEOUT: f64 = 0.5;

/// The number of answers whose mean latency is the current one.
const LATEST: usize = 16;

/// The limit after timeouts, as a share of the one before, and the time for which it then does not grow.
const AFTER_TIMEOUT: f64 = 0.7;
const QUIET_AFTER_TIMEOUT: Duration = Duration::from_secs(60);

/// The answers, and the time, after which a comparison is decided even if it is not significant.
const MOST_ANSWERS: u64 = 1024;
const LONGEST_ROUND: Duration = Duration::from_secs(20);

/// The number of answers after which the latency is evaluated at the ceiling.
pub(super) const BATCH: u64 = 64;

#[derive(Debug)]
pub(super) struct LearntConcurrency {
    /// The most requests in flight.
    limit: u64,
    /// Whether the permits of the workers hold calls back instead of the limit.
    is_at_ceiling: bool,
    search: Search,
    round: Round,
    /// Consecutive answers while the limit was not reached.
    unfilled: u64,
    /// The least slowness that was measured precisely.
    least: Option<f64>,
    model: LatencyModel,
    /// The tokens of an answer of weight 1; `None` before the first regression.
    reference: Option<f64>,
    timeout: f64,
    grows_after: Option<Instant>,
    next_probe: Instant,
    is_next_up: bool,
    /// Whether the latency has just grown. Then a lower limit is tried after the next measurement.
    is_changed: bool,
    /// Whether a higher limit has not raised the throughput.
    is_saturated: bool,
    /// Whether the limit applies even where a rate limits, because requests timed out.
    is_forced: bool,
}

#[derive(Clone, Copy, Debug)]
enum Search {
    /// Testing a higher limit than that of `below`; `None` for the first measurement.
    Grow { below: Option<Level> },
    /// Keeping the limit. `level` is its last measurement, if there is one.
    Steady { level: Option<Level> },
    /// Testing a lower limit than that of `from`.
    Down { from: Level, was_at_ceiling: bool },
}

/// The state of the gate when an answer arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) answers: &'a LastAnswers,
    /// Requests in flight, including the answered one.
    pub(super) in_flight: u64,
    /// Whether calls wait at the gate.
    pub(super) is_awaited: bool,
    pub(super) now: Instant,
}

impl LearntConcurrency {
    /// `timeout` is the LM's own timeout of a request.
    pub(super) fn new(timeout: Duration, now: Instant) -> LearntConcurrency {
        LearntConcurrency {
            limit: FIRST,
            is_at_ceiling: false,
            search: Search::Grow { below: None },
            round: Round::new(FIRST, now),
            unfilled: 0,
            least: None,
            model: LatencyModel::default(),
            reference: None,
            timeout: timeout.as_secs_f64(),
            grows_after: None,
            next_probe: now,
            is_next_up: true,
            is_changed: false,
            is_saturated: false,
            is_forced: false,
        }
    }

    /// The most requests in flight; `None` if the permits limit instead.
    pub(super) fn limit(&self) -> Option<u64> {
        (!self.is_at_ceiling).then_some(self.limit)
    }

    /// The most requests in flight, if a higher limit has not raised the throughput.
    pub(super) fn saturated_at(&self) -> Option<u64> {
        self.limit().filter(|_| self.is_saturated)
    }

    /// Whether the limit applies even where a rate limits.
    pub(super) fn is_forced(&self) -> bool {
        self.is_forced
    }

    /// Records that the permits hold calls back while this limit would let them through.
    pub(super) fn reached_ceiling(&mut self, view: View<'_>) {
        if !self.is_at_ceiling && !matches!(self.search, Search::Down { .. }) {
            self.is_at_ceiling = true;
            self.is_saturated = false;
            self.begin_round(view.in_flight, view);
        }
    }

    /// Records an answer to a request that was sent at `sent`.
    pub(super) fn answered(&mut self, answer: TimedAnswer, sent: Instant, view: View<'_>) {
        if self.is_at_ceiling || view.in_flight > self.limit {
            return;
        }
        if !view.is_awaited && (view.in_flight as f64) < FULL * self.limit as f64 {
            self.round.interrupt(view.now);
            self.unfilled += 1;
            if self.unfilled >= UNFILLED * self.limit {
                self.reached_ceiling(view);
            }
            return;
        }
        self.unfilled = 0;
        self.add(answer, sent >= self.round.began, view);
    }

    /// Evaluates the last [`BATCH`] answers, if at the ceiling.
    pub(super) fn watch(&mut self, view: View<'_>) {
        if !self.is_at_ceiling {
            return;
        }
        let began = self.round.began;
        for answer in view.answers.last(BATCH as usize) {
            self.add(answer, false, view);
            if self.round.began != began || !self.is_at_ceiling {
                return;
            }
        }
    }

    /// Whether a request timed out after `waited` because the server is saturated. Then other answers, too, take a large part of that time,
    /// and fewer requests in flight would shorten it.
    pub(super) fn is_overload(&self, waited: Duration, view: View<'_>) -> bool {
        let last = view.answers.last(LATEST);
        let mean = last.iter().map(|answer| answer.secs).sum::<f64>() / last.len().max(1) as f64;
        view.in_flight > 1 && mean > NEAR_TIMEOUT * waited.as_secs_f64()
    }

    /// Lowers the limit, because a request sent at `sent` timed out on a saturated server. A request from before the last change of the
    /// limit does not lower it again.
    pub(super) fn overloaded(&mut self, sent: Instant, view: View<'_>) {
        self.is_forced = true;
        self.grows_after = Some(view.now + QUIET_AFTER_TIMEOUT);
        if sent >= self.round.began || self.is_at_ceiling {
            let most = if self.is_at_ceiling {
                view.in_flight
            } else {
                self.limit
            };
            self.set_limit(most as f64 * AFTER_TIMEOUT);
            self.steady(None, view);
        }
    }

    /// Starts at the limit that the gates of other processes have learnt. Has no effect once the gate has measured its own.
    pub(super) fn join(&mut self, limit: u64, now: Instant) {
        let is_new = self.limit == FIRST && self.least.is_none() && self.limit().is_some();
        if is_new && matches!(self.search, Search::Grow { below: None }) {
            self.limit = limit;
            self.search = Search::Steady { level: None };
            self.is_saturated = true;
            self.round = Round::new(limit, now);
        }
    }

    /// Starts again with the first limit, because a slow server stopped answering.
    pub(super) fn restart(&mut self, view: View<'_>) {
        self.is_at_ceiling = false;
        self.is_saturated = false;
        self.limit = FIRST;
        self.least = None;
        self.search = Search::Grow { below: None };
        self.begin_round(FIRST, view);
    }

    fn add(&mut self, answer: TimedAnswer, is_of_round: bool, view: View<'_>) {
        let sample = Sample {
            secs: answer.secs,
            weight: self.model.weight(answer.tokens, self.reference.unwrap_or(0.0)),
            is_of_round,
        };
        match self.round.add(sample, view.now) {
            RoundProgress::Nothing => {}
            RoundProgress::Early(level) => self.judge_early(level, view),
            RoundProgress::Steady { level, answers } => {
                let age = view.now.saturating_duration_since(self.round.began);
                let is_last = answers >= MOST_ANSWERS || age >= LONGEST_ROUND;
                self.judge(level, answers, is_last, view);
            }
        }
    }

    fn set_limit(&mut self, limit: f64) {
        self.limit = (limit as u64).max(1);
        self.is_at_ceiling = false;
    }

    fn begin_round(&mut self, in_flight: u64, view: View<'_>) {
        self.round = Round::new(in_flight, view.now);
        self.unfilled = 0;
        if let Some(model) = LatencyModel::fit(&view.answers.all()) {
            self.model = model;
            self.reference.get_or_insert(model.mean_tokens());
        }
    }
}
