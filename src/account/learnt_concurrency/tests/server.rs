//! Discrete-event simulation of servers that never refuse, and of a client with a waiting call for every permit.

use super::LearntConcurrency;
use crate::account::last_answers::LastAnswers;
use crate::account::latency_model::TimedAnswer;
use crate::account::learnt_concurrency::{BATCH, View};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// A model of a server.
#[derive(Clone, Copy, Debug)]
pub(super) enum ServerKind {
    /// A constant latency for any number of requests.
    Flat { latency: f64 },
    /// All requests in flight share a capacity, which shrinks above a number of requests.
    Shared {
        per_sec: f64,
        base: f64,
        thrashes_from: f64,
    },
    /// A batch: each further request slows all of them down, by `base / gentle` seconds.
    Batch { base: f64, gentle: f64 },
    /// `places` requests are processed at a time, the others wait.
    Queue { places: f64, base: f64 },
}

/// The distribution of the work per request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Work {
    Equal,
    /// Uniform, within this share of the mean.
    Varied(f64),
    /// Log-normal.
    Skewed(f64),
    /// In proportion to the tokens, which are uniform from 1 to this number.
    Tokens(u64),
    /// Constant, although the tokens are uniform from 1 to this number.
    TokensWithoutMeaning(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Load {
    pub(super) kind: ServerKind,
    pub(super) work: Work,
    pub(super) ceiling: u64,
    pub(super) timeout: f64,
    /// The time at which the model of the server changes, and the new one.
    pub(super) change: Option<(f64, ServerKind)>,
}

impl Load {
    pub(super) fn new(kind: ServerKind, work: Work, ceiling: u64) -> Load {
        Load {
            kind,
            work,
            ceiling,
            timeout: 600.0,
            change: None,
        }
    }

    pub(super) fn start(self, seed: u64) -> Run {
        let began = Instant::now();
        Run {
            concurrency: LearntConcurrency::new(Duration::from_secs_f64(self.timeout), began),
            kind: self.kind,
            load: self,
            began,
            now: 0.0,
            progress: 0.0,
            requests: BTreeMap::new(),
            number: 0,
            last_answers: LastAnswers::default(),
            answered_at: Vec::new(),
            most_in_flight: 0,
            free_since: None,
            log: Vec::new(),
            random: fastrand::Rng::with_seed(seed),
        }
    }
}

pub(super) struct Run {
    load: Load,
    kind: ServerKind,
    pub(super) concurrency: LearntConcurrency,
    began: Instant,
    now: f64,
    /// The work that each request has received.
    progress: f64,
    /// Keyed by the progress at which they end, in billionths, and by number.
    requests: BTreeMap<(u64, u64), Request>,
    number: u64,
    last_answers: LastAnswers,
    answered_at: Vec<f64>,
    pub(super) most_in_flight: u64,
    /// The time since which the permits limit instead of the learnt limit.
    pub(super) free_since: Option<f64>,
    /// The changes of the limit, with their times.
    pub(super) log: Vec<(f64, Option<u64>)>,
    random: fastrand::Rng,
}

struct Request {
    sent: f64,
    tokens: u64,
}

impl Run {
    /// Simulates until the time `end`, in seconds.
    pub(super) fn until(&mut self, end: f64) {
        loop {
            self.send();
            let Some((&(ends, number), _)) = self.requests.first_key_value() else {
                return;
            };
            let speed = self.speed();
            let next = self.now + ((ends as f64 / 1e9 - self.progress) / speed).max(0.0);
            let stop = match self.load.change {
                Some((at, kind)) if at < next.min(end) => {
                    self.progress += (at - self.now) * speed;
                    (self.now, self.kind, self.load.change) = (at, kind, None);
                    continue;
                }
                _ => next > end,
            };
            if stop {
                self.progress += (end - self.now) * speed;
                self.now = end;
                return;
            }
            (self.now, self.progress) = (next, ends as f64 / 1e9);
            self.answer((ends, number));
        }
    }

    /// The number of answers between two times.
    pub(super) fn answers(&self, from: f64, to: f64) -> f64 {
        let within = self.answered_at.iter().filter(|at| (from..to).contains(*at));
        within.count() as f64
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.requests.len() as u64
    }

    /// Work per second for each request.
    fn speed(&self) -> f64 {
        let count = self.requests.len() as f64;
        match self.kind {
            ServerKind::Flat { latency } => 1.0 / latency,
            ServerKind::Shared {
                per_sec,
                base,
                thrashes_from,
            } => {
                let thrash = (thrashes_from / count).sqrt().min(1.0);
                (per_sec * thrash / count).min(1.0 / base)
            }
            ServerKind::Batch { base, gentle } => 1.0 / (base * (1.0 + count / gentle)),
            // The requests that are processed have the same speed; the waiting ones come after them in `requests`.
            ServerKind::Queue { base, .. } => 1.0 / base,
        }
    }

    fn send(&mut self) {
        loop {
            let in_flight = self.in_flight();
            let limit = self.concurrency.limit();
            if self.log.last().is_none_or(|(_, last)| *last != limit) {
                self.log.push((self.now, limit));
                self.free_since = limit.is_none().then_some(self.now);
            }
            if in_flight >= limit.unwrap_or(u64::MAX) {
                return;
            }
            if in_flight >= self.load.ceiling {
                if limit.is_some() {
                    let view = View {
                        answers: &self.last_answers,
                        in_flight,
                        is_awaited: true,
                        now: self.instant(self.now),
                    };
                    self.concurrency.reached_ceiling(view);
                    continue;
                }
                return;
            }
            let (work, tokens) = self.draw();
            let begins = match self.kind {
                // A waiting request starts when the request `places` before it ends.
                ServerKind::Queue { places, .. } if in_flight >= places as u64 => {
                    let before = self.requests.keys().rev().nth(places as usize - 1);
                    before.map_or(self.progress, |(ends, _)| *ends as f64 / 1e9)
                }
                _ => self.progress,
            };
            self.number += 1;
            let ends = ((begins.max(self.progress) + work) * 1e9) as u64;
            let request = Request {
                sent: self.now,
                tokens,
            };
            self.requests.insert((ends, self.number), request);
            self.most_in_flight = self.most_in_flight.max(self.in_flight());
        }
    }

    fn answer(&mut self, key: (u64, u64)) {
        let in_flight = self.in_flight();
        let Some(request) = self.requests.remove(&key) else {
            return;
        };
        let secs = self.now - request.sent;
        let before = self
            .last_answers
            .add(Duration::from_secs_f64(secs), request.tokens);
        let answer = TimedAnswer {
            secs,
            tokens: request.tokens as f64,
        };
        let sent = self.instant(request.sent);
        let view = View {
            answers: &self.last_answers,
            in_flight,
            is_awaited: true,
            now: self.instant(self.now),
        };
        self.concurrency.answered(answer, sent, view);
        if (before + 1).is_multiple_of(BATCH) {
            self.concurrency.watch(view);
        }
        self.answered_at.push(self.now);
    }

    fn draw(&mut self) -> (f64, u64) {
        let random = &mut self.random;
        match self.load.work {
            Work::Equal => (1.0, 40),
            Work::Varied(part) => (1.0 - part + 2.0 * part * random.f64(), 40),
            Work::Skewed(sigma) => {
                let uniform = (0..12).map(|_| random.f64()).sum::<f64>() - 6.0;
                ((sigma * uniform - sigma * sigma / 2.0).exp(), 40)
            }
            Work::Tokens(most) => {
                let tokens = random.u64(1..=most);
                (tokens as f64 / (most as f64 / 2.0), tokens)
            }
            Work::TokensWithoutMeaning(most) => (1.0, random.u64(1..=most)),
        }
    }

    fn instant(&self, secs: f64) -> Instant {
        self.began + Duration::from_secs_f64(secs)
    }
}
