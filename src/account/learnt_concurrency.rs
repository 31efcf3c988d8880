//! The requests that a server bears which never refuses: learnt from throughput and latency.
//!
//! A server such as vLLM accepts everything and only becomes slower. Beyond its capacity more requests in flight add nothing but waiting
//! time; far beyond, its memory thrashes and it answers fewer. With a queue that is never empty, Little's law gives the throughput of a
//! level from the latency of its answers, so two levels compare by their [`Elasticity`](level::Elasticity).
//!
//! Limits by latency alone, such as Vegas and Gradient2, hold a server near its least latency. For a batch that is too few: a GPU that
//! answers 16 requests at once takes longer for each than for one, and still gains. So throughput decides, and latency only how large the
//! steps are:
//!
//! - *Grow* from a few in flight, doubled while the latency stays flat, in smaller steps when it rises, until throughput does not follow.
//! - *Steady*: hold the fewest that reached the best throughput. Now and then, or when the latency changes, *probe* above and below.
//! - The *ceiling*: where the permits of the workers hold calls back, nothing is limited, and every [`BATCH`] answers are looked at.

mod decisions;
mod level;
#[cfg(test)]
mod tests;

use super::last_answers::LastAnswers;
use super::latency_model::{LatencyModel, TimedAnswer};
use level::{Level, Round, RoundProgress, Sample};
use std::time::Duration;
use tokio::time::Instant;

/// In flight at first.
const FIRST: u64 = 8;

/// The part of the limit that is in flight when it counts as reached.
const FULL: f64 = 0.8;

/// So many answers per place without reaching the limit show that it limits nothing.
const UNFILLED: u64 = 4;

/// The part of the timeout beyond which latency stops growth, and beyond which fewer are sent.
const NEAR_TIMEOUT: f64 = 1.0 / 3.0;
const TOO_NEAR_TIMEOUT: f64 = 0.5;

/// So many answers show how long they take now.
const LATEST: usize = 16;

/// The part that is left after timeouts, and how long nothing grows then.
const AFTER_TIMEOUT: f64 = 0.7;
const QUIET_AFTER_TIMEOUT: Duration = Duration::from_secs(60);

/// Answers, and the time, after which a comparison is decided, certain or not.
const MOST_ANSWERS: u64 = 1024;
const LONGEST_ROUND: Duration = Duration::from_secs(20);

/// At the ceiling, answers are looked at in such numbers.
pub(super) const BATCH: u64 = 64;

#[derive(Debug)]
pub(super) struct LearntConcurrency {
    /// The most in flight.
    limit: u64,
    /// Whether the permits of the workers hold calls back, and not the limit.
    is_at_ceiling: bool,
    search: Search,
    round: Round,
    /// Answers in a row while the limit was not reached.
    unfilled: u64,
    /// The least slowness that was measured well.
    least: Option<f64>,
    model: LatencyModel,
    /// The tokens of an answer of weight 1; `None` before the first model.
    reference: Option<f64>,
    timeout: f64,
    grows_after: Option<Instant>,
    next_probe: Instant,
    is_next_up: bool,
    /// Whether latency has just grown: fewer are tried as soon as it is measured again.
    is_changed: bool,
    /// Whether more than the limit have brought nothing.
    is_saturated: bool,
    /// Whether it limits whatever else does: requests were timed out.
    is_forced: bool,
}

#[derive(Clone, Copy, Debug)]
enum Search {
    /// More than `below`; `None` for the first level.
    Grow { below: Option<Level> },
    /// As measured before, if it was.
    Steady { level: Option<Level> },
    /// Fewer than `from`.
    Down { from: Level, was_at_ceiling: bool },
}

/// What is known when an answer comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    pub(super) answers: &'a LastAnswers,
    /// Requests in flight, that of the answer included.
    pub(super) in_flight: u64,
    /// Whether calls wait.
    pub(super) is_awaited: bool,
    pub(super) now: Instant,
}

impl LearntConcurrency {
    /// With the longest time that a request may take.
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

    /// The most requests in flight; `None` if the permits are what limits.
    pub(super) fn limit(&self) -> Option<u64> {
        (!self.is_at_ceiling).then_some(self.limit)
    }

    /// The same, once the server has shown that more bring nothing.
    pub(super) fn saturated_at(&self) -> Option<u64> {
        self.limit().filter(|_| self.is_saturated)
    }

    /// Whether it limits even where a rate is known.
    pub(super) fn is_forced(&self) -> bool {
        self.is_forced
    }

    /// The permits hold calls back while this limit would let them through.
    pub(super) fn reached_ceiling(&mut self, view: View<'_>) {
        if !self.is_at_ceiling && !matches!(self.search, Search::Down { .. }) {
            self.is_at_ceiling = true;
            self.is_saturated = false;
            self.begin_round(view.in_flight, view);
        }
    }

    /// A request that was sent at that time was answered.
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

    /// At the ceiling: [`BATCH`] more answers have come.
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

    /// Whether a request had no answer after this time because the server is saturated: others, too, take a good part of it, and would be
    /// answered sooner with fewer in flight.
    pub(super) fn is_overload(&self, waited: Duration, view: View<'_>) -> bool {
        let last = view.answers.last(LATEST);
        let mean = last.iter().map(|answer| answer.secs).sum::<f64>() / last.len().max(1) as f64;
        view.in_flight > 1 && mean > NEAR_TIMEOUT * waited.as_secs_f64()
    }

    /// Requests were timed out because the server is saturated: fewer are sent. A request from before the last change is old news.
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

    /// The server has answered nothing for a while, because it was slow: begins again.
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
