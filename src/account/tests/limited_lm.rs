//! An LM with exact limits and counters, on the paused clock of the tests.

use super::shared_capacity::Capacity;
use super::shared_capacity::SharedProcessor;
use crate::lm::{
    ClosedAccount, ClosedCause, DEFAULT_TIMEOUT, Hints, LimitHint, Lm, LmError, LmRequest, LmResponse, Reply,
    Usage, Verdict,
};
use async_trait::async_trait;
use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The mean latency of an answer.
const LATENCY: Duration = Duration::from_millis(200);

/// Prompt tokens of every request.
const PROMPT_TOKENS: u64 = 100;

/// Limits and faults of the LM. The default answers everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Behavior {
    /// Requests per second, with a bucket for one second.
    pub(super) per_sec: Option<f64>,
    /// Tokens per second, with a bucket for one second.
    pub(super) tokens_per_sec: Option<f64>,
    /// The most completion tokens of an answer. The tokens of an answer are uniform from 1 to this number.
    pub(super) most_tokens: u64,
    /// Whether refused requests count against the limit.
    pub(super) charges_refusals: bool,
    /// How a refusal reports the limit.
    pub(super) report: Report,
    /// The period, in seconds, in which connections are refused.
    pub(super) down: Option<[u64; 2]>,
    /// The period, in seconds, in which every request gets 503 with `Retry-After: 5`.
    pub(super) busy: Option<[u64; 2]>,
    /// The period, in seconds, in which the account is refused.
    pub(super) refused: Option<[u64; 2]>,
    /// The number of requests after which the account is refused, and the cause.
    pub(super) closed_after: Option<(u64, ClosedCause)>,
    /// The question that is always refused, and how.
    pub(super) poisoned: Option<(u64, Poison)>,
    /// The factor on the latency.
    pub(super) slowness: Option<f64>,
    /// One of this number of requests hangs at its first try for the duration, then the connection breaks.
    pub(super) hangs: Option<(u64, Duration)>,
    /// A capacity that all requests in flight share.
    pub(super) shared: Option<Capacity>,
    /// The time after which the capacity changes, and the new answers per second.
    pub(super) slower: Option<(Duration, f64)>,
    /// The most connections for which the process has open files. Further requests cannot be sent.
    pub(super) connections: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Report {
    #[default]
    Nothing,
    RetryAfter,
    Headers,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Poison {
    /// The request makes the server fail with status 500.
    Away,
    /// The refusal looks like one of the account: status 403.
    Forbidden,
}

/// The counters of the server.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The arrival of each request, since the first one.
    pub(super) sent: Vec<Duration>,
    /// The arrivals of the requests that were accepted, and of those refused for the rate.
    pub(super) accepted: Vec<Duration>,
    pub(super) refused: Vec<Duration>,
    /// The arrivals of the requests that found no server, or a refused account.
    pub(super) dead: Vec<Duration>,
    /// Tokens of the accepted requests.
    pub(super) tokens: u64,
    /// Answers by question.
    pub(super) answered: HashMap<u64, u32>,
    /// Requests that could not be sent.
    pub(super) unsent: u64,
    hung: HashSet<u64>,
    in_flight: usize,
    pub(super) most_in_flight: usize,
}

pub(super) struct LimitedLm {
    behavior: Behavior,
    state: Mutex<LmServerState>,
    processor: Option<SharedProcessor>,
    timeout: Duration,
}

struct LmServerState {
    seen: Seen,
    started: Option<Instant>,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    random: fastrand::Rng,
}

struct Bucket {
    per_sec: f64,
    level: f64,
    filled: Instant,
}

impl Bucket {
    fn new(per_sec: f64) -> Bucket {
        Bucket {
            per_sec,
            level: per_sec.max(1.0),
            filled: Instant::now(),
        }
    }

    fn fill(&mut self) {
        let passed = self.filled.elapsed().as_secs_f64();
        self.level = (self.level + passed * self.per_sec).min(self.per_sec.max(1.0));
        self.filled = Instant::now();
    }

    fn hint(&self) -> LimitHint {
        LimitHint {
            limit: (self.per_sec * 60.0) as u64,
            remaining: self.level.max(0.0) as u64,
            reset: Some(Duration::from_secs_f64(
                (self.per_sec - self.level).max(0.0) / self.per_sec,
            )),
        }
    }
}

impl LimitedLm {
    pub(super) fn new(behavior: Behavior, seed: u64) -> LimitedLm {
        LimitedLm::with_timeout(behavior, seed, DEFAULT_TIMEOUT)
    }

    /// With the timeout of the client.
    pub(super) fn with_timeout(behavior: Behavior, seed: u64, timeout: Duration) -> LimitedLm {
        let state = LmServerState {
            seen: Seen::default(),
            started: None,
            requests: behavior.per_sec.map(Bucket::new),
            tokens: behavior.tokens_per_sec.map(Bucket::new),
            random: fastrand::Rng::with_seed(seed),
        };
        LimitedLm {
            processor: behavior.shared.map(SharedProcessor::new),
            behavior,
            state: Mutex::new(state),
            timeout,
        }
    }

    /// Reads the counters.
    pub(super) fn seen<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.state.lock().unwrap().seen)
    }

    /// Returns the reply to a request on its arrival, and the latency of the reply.
    fn arrive(&self, question: u64) -> (Duration, Reply) {
        let mut state = self.state.lock().unwrap();
        let LmServerState {
            seen,
            started,
            requests,
            tokens,
            random,
        } = &mut *state;
        let at = started.get_or_insert_with(Instant::now).elapsed();
        let number = seen.sent.len() as u64;
        seen.sent.push(at);
        let within =
            |period: Option<[u64; 2]>| period.is_some_and(|[from, to]| (from..to).contains(&at.as_secs()));
        let away = |message: &str| Verdict::Away {
            status: message
                .strip_prefix("HTTP ")
                .and_then(|status| status.parse().ok()),
            is_answer_lost: false,
            message: message.to_owned(),
            names_remedy: false,
            wait: None,
        };
        if within(self.behavior.down) {
            seen.dead.push(at);
            return (Duration::ZERO, away("connection refused").into());
        }
        if self
            .behavior
            .connections
            .is_some_and(|most| seen.in_flight > most)
        {
            seen.unsent += 1;
            let verdict = Verdict::Unsent {
                message: "too many open files".to_owned(),
            };
            return (Duration::ZERO, verdict.into());
        }
        if within(self.behavior.busy) {
            seen.dead.push(at);
            let verdict = Verdict::Throttled {
                message: "HTTP 503: overloaded".to_owned(),
                wait: Some(Duration::from_secs(5)),
            };
            return (Duration::ZERO, verdict.into());
        }
        let closed = |cause, status| {
            Verdict::Closed(ClosedAccount {
                cause,
                status,
                message: "no".to_owned(),
                reset_secs: None,
            })
        };
        if let Some((after, cause)) = self.behavior.closed_after
            && number >= after
        {
            seen.dead.push(at);
            return (Duration::from_millis(1), closed(cause, 401).into());
        }
        if within(self.behavior.refused) {
            seen.dead.push(at);
            return (Duration::from_millis(1), closed(ClosedCause::Key, 401).into());
        }
        let is_poisoned = |kind| self.behavior.poisoned == Some((question, kind));
        if is_poisoned(Poison::Forbidden) {
            return (Duration::from_millis(1), closed(ClosedCause::Key, 403).into());
        }
        let amount = PROMPT_TOKENS + random.u64(1..=self.behavior.most_tokens.max(1));
        let mut wait = 0.0f64;
        for (bucket, amount) in [(&mut *requests, 1.0), (&mut *tokens, amount as f64)] {
            if let Some(bucket) = bucket {
                bucket.fill();
                wait = wait.max((amount - bucket.level) / bucket.per_sec);
            }
        }
        let mut hints = Hints::default();
        if self.behavior.report == Report::Headers {
            hints.requests = requests.as_ref().map(Bucket::hint);
            hints.tokens = tokens.as_ref().map(Bucket::hint);
        }
        if wait > 1e-9 {
            seen.refused.push(at);
            if let Some(bucket) = requests.as_mut().filter(|_| self.behavior.charges_refusals) {
                bucket.level = (bucket.level - 1.0).max(-bucket.per_sec);
            }
            let verdict = Verdict::Throttled {
                message: "HTTP 429: slow down".to_owned(),
                wait: (self.behavior.report == Report::RetryAfter)
                    .then(|| Duration::from_secs_f64(wait.ceil().max(1.0))),
            };
            return (Duration::from_millis(1), Reply { verdict, hints });
        }
        for (bucket, amount) in [(requests, 1.0), (tokens, amount as f64)] {
            if let Some(bucket) = bucket {
                bucket.level -= amount;
            }
        }
        seen.accepted.push(at);
        seen.tokens += amount;
        if is_poisoned(Poison::Away) {
            return (LATENCY, away("HTTP 500").into());
        }
        if let Some((of, time)) = self.behavior.hangs
            && random.u64(..of) == 0
            && seen.hung.insert(question)
        {
            return (time, away("broke off").into());
        }
        if self.processor.is_some() {
            // Counted as answered when it ends.
            let answer = LmResponse {
                usage: Usage::known(PROMPT_TOKENS, amount - PROMPT_TOKENS),
                ..LmResponse::default()
            };
            return (Duration::ZERO, Verdict::Answer(answer).into());
        }
        *seen.answered.entry(question).or_default() += 1;
        let answer = LmResponse {
            usage: Usage::known(PROMPT_TOKENS, amount - PROMPT_TOKENS),
            ..LmResponse::default()
        };
        let verdict = Verdict::Answer(answer);
        let slowness = self.behavior.slowness.unwrap_or(1.0);
        let latency = LATENCY.mul_f64(slowness * (0.8 + 0.4 * random.f64()));
        (latency, Reply { verdict, hints })
    }

    async fn answer(&self, question: u64) -> Reply {
        let _in_flight = CountedRequest::new(self);
        let (latency, reply) = self.arrive(question);
        match (&self.processor, &reply.verdict) {
            (Some(processor), Verdict::Answer(_)) => {
                if let Some((after, per_sec)) = self.behavior.slower
                    && self.seen(|seen| seen.sent.last().is_some_and(|at| *at >= after))
                {
                    processor.slow_down(per_sec);
                }
                processor.work().await;
                *self
                    .state
                    .lock()
                    .unwrap()
                    .seen
                    .answered
                    .entry(question)
                    .or_default() += 1;
            }
            _ => sleep(latency).await,
        }
        reply
    }
}

/// Counts a request in flight until it is dropped.
struct CountedRequest<'a>(&'a LimitedLm);

impl<'a> CountedRequest<'a> {
    fn new(lm: &'a LimitedLm) -> CountedRequest<'a> {
        let seen = &mut lm.state.lock().unwrap().seen;
        seen.in_flight += 1;
        seen.most_in_flight = seen.most_in_flight.max(seen.in_flight);
        CountedRequest(lm)
    }
}

impl Drop for CountedRequest<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().seen.in_flight -= 1;
    }
}

#[async_trait]
impl Lm for LimitedLm {
    async fn complete(&self, request: LmRequest<'_>) -> Reply {
        let question = request.body.trim_end().parse();
        let question = question.unwrap_or_else(|_| panic!("{}", request.body));
        let reply = tokio::time::timeout(self.timeout, self.answer(question));
        reply.await.unwrap_or_else(|_| {
            let message = "timed out".to_owned();
            Verdict::Late { message, wait: None }.into()
        })
    }
}

/// The message of an error that failed a call.
pub(super) fn message(error: &LmError) -> String {
    error.to_string()
}
