//! The limits and faults of the account that the server applies to each request.

#[cfg(test)]
mod tests;

use crate::answer::AskedQuestion;
use crate::behaviour::{RateHint, ServerBehaviour};
use crate::bucket::RateBucket;
use crate::counts::RequestCounts;
use crate::http::{HttpReply, HttpRequest};
use crate::refusal;
use crate::server_clock::ServerClock;
use std::fmt::Write as _;

/// Seconds of real time until a daily quota is reset.
const DAILY_RESET_S: u64 = 7200;

/// The largest difference of a body's latency from the mean, as a share of the mean.
const LATENCY_SPREAD: f64 = 0.2;

/// The state of the server's only account.
#[derive(Debug)]
pub(crate) struct LimitedAccount {
    behaviour: ServerBehaviour,
    clock: ServerClock,
    requests: Option<RateBucket>,
    tokens: Option<RateBucket>,
    /// The key of the first request.
    first_key: Option<String>,
    /// Admissions and answers before the last change of the behaviour.
    admissions_before: u64,
    answers_before: u64,
    pub(crate) counts: RequestCounts,
}

/// The reaction to a request.
#[derive(Debug)]
pub(crate) enum ServerReaction {
    /// It gets an error response at once.
    Refused(HttpReply),
    /// It is admitted and gets its answer later.
    Admitted(AdmittedRequest),
}

/// An admitted request.
#[derive(Debug)]
pub(crate) struct AdmittedRequest {
    pub(crate) question: AskedQuestion,
    /// Completion tokens of the answer.
    pub(crate) answer_tokens: u64,
    pub(crate) latency_s: f64,
    pub(crate) ending: AnswerEnding,
    /// Header lines of the response.
    pub(crate) headers: String,
}

/// How an admitted request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerEnding {
    Whole,
    /// The answer is cut off in its middle.
    Half,
    Never,
    /// With status 500.
    Crashed,
}

impl LimitedAccount {
    pub(crate) fn new(behaviour: ServerBehaviour, clock: ServerClock) -> LimitedAccount {
        let mut account = LimitedAccount {
            behaviour: ServerBehaviour::default(),
            clock,
            requests: None,
            tokens: None,
            first_key: None,
            admissions_before: 0,
            answers_before: 0,
            counts: RequestCounts::default(),
        };
        account.change(behaviour);
        account
    }

    /// Replaces the limits and faults. The buckets are full, and the counts go on.
    pub(crate) fn change(&mut self, behaviour: ServerBehaviour) {
        let now = self.clock.now();
        let bucket = |limit: Option<f64>| limit.map(|limit| RateBucket::new(limit, behaviour.burst_s, now));
        self.requests = bucket(behaviour.rpm);
        self.tokens = bucket(behaviour.tpm);
        self.first_key = None;
        self.admissions_before = self.counts.admissions();
        self.answers_before = self.counts.answers();
        self.behaviour = behaviour;
    }

    /// Admits or refuses a request that has just arrived.
    pub(crate) fn arrive(&mut self, request: &HttpRequest, is_overloaded: bool, now: f64) -> ServerReaction {
        let question = AskedQuestion::read(&request.body);
        let times_asked = self.counts.arrived(question.digest, &request.key, now);
        let first_key = self.first_key.get_or_insert_with(|| request.key.clone());
        let has_first_key = *first_key == request.key;
        if let Some(reply) = self.closed(&request.body, has_first_key, is_overloaded) {
            self.counts.refused(reply.status);
            return ServerReaction::Refused(reply);
        }
        let answer_tokens = question.draw(self.behaviour.answer_tokens);
        let tokens = (question.prompt_tokens + answer_tokens) as f64;
        let waits = [(&mut self.requests, 1.0), (&mut self.tokens, tokens)];
        let wait = waits
            .into_iter()
            .filter_map(|(bucket, units)| Some(bucket.as_mut()?.wait(units, now)));
        let wait = wait.fold(0.0, f64::max);
        if wait > 0.0 {
            return ServerReaction::Refused(self.rate_refused(wait, now));
        }
        for (bucket, units) in [(&mut self.requests, 1.0), (&mut self.tokens, tokens)] {
            if let Some(bucket) = bucket {
                bucket.take(units, now);
            }
        }
        self.counts.admitted(now);
        let ending = self.ending(&request.body, &question, times_asked);
        if ending == AnswerEnding::Never {
            self.counts.hung();
        }
        let spread = LATENCY_SPREAD * (2.0 * question.share("latency") - 1.0);
        ServerReaction::Admitted(AdmittedRequest {
            answer_tokens,
            latency_s: self.behaviour.latency_ms / 1000.0 * (1.0 + spread),
            ending,
            headers: self.limit_headers(now),
            question,
        })
    }

    /// The error response to a request that no wait would admit.
    fn closed(&self, body: &str, has_first_key: bool, is_overloaded: bool) -> Option<HttpReply> {
        let behaviour = &self.behaviour;
        if is_overloaded {
            return Some(refusal::overloaded(behaviour.hint == RateHint::RetryAfter));
        }
        if behaviour.unknown_model {
            return Some(refusal::unknown_model());
        }
        let admissions = self.counts.admissions() - self.admissions_before;
        if has_first_key
            && behaviour
                .revoke_after
                .is_some_and(|good_for| admissions >= good_for)
        {
            return Some(refusal::revoked_key());
        }
        if let Some(marker) = &behaviour.forbidden
            && body.contains(marker)
        {
            return Some(refusal::forbidden());
        }
        let answers = self.counts.answers() - self.answers_before + self.counts.in_flight;
        let quota = behaviour.quota.filter(|quota| answers >= *quota)?;
        Some(if behaviour.quota_is_daily {
            refusal::no_daily_quota(quota, DAILY_RESET_S)
        } else {
            refusal::no_quota()
        })
    }

    fn rate_refused(&mut self, wait: f64, now: f64) -> HttpReply {
        self.counts.rate_refused(now);
        if self.behaviour.charge_refused
            && let Some(requests) = &mut self.requests
        {
            requests.charge(1.0, now);
        }
        let wait = self.clock.real(wait).as_secs_f64();
        let mut headers = self.limit_headers(now);
        if self.behaviour.hint == RateHint::RetryAfter {
            let secs = wait.ceil().max(1.0);
            // Writing to a String cannot fail.
            let _ = write!(headers, "retry-after: {secs}\r\n");
        }
        refusal::rate_limited(wait, headers)
    }

    fn limit_headers(&mut self, now: f64) -> String {
        let mut headers = String::new();
        if self.behaviour.hint != RateHint::XRatelimit {
            return headers;
        }
        for (bucket, name) in [(&mut self.requests, "requests"), (&mut self.tokens, "tokens")] {
            let Some(bucket) = bucket else { continue };
            let level = bucket.level(now);
            let limit = self.clock.real_rate(bucket.rate) * 60.0;
            let remaining = level.max(0.0).floor();
            let full = self
                .clock
                .real((bucket.capacity - level) / bucket.rate)
                .as_secs_f64();
            let reset = if full < 1.0 {
                format!("{:.0}ms", full * 1000.0)
            } else {
                format!("{full:.3}s")
            };
            // Writing to a String cannot fail.
            let _ = write!(
                headers,
                "x-ratelimit-limit-{name}: {limit:.0}\r\nx-ratelimit-remaining-{name}: {remaining}\r\n\
                 x-ratelimit-reset-{name}: {reset}\r\n"
            );
        }
        headers
    }

    fn ending(&self, body: &str, question: &AskedQuestion, times_asked: u64) -> AnswerEnding {
        let first = |share: f64, purpose: &str| times_asked == 1 && question.share(purpose) < share;
        if self
            .behaviour
            .poison
            .as_ref()
            .is_some_and(|marker| body.contains(marker))
        {
            AnswerEnding::Crashed
        } else if first(self.behaviour.hang, "hang") {
            AnswerEnding::Never
        } else if first(self.behaviour.half, "half") {
            AnswerEnding::Half
        } else {
            AnswerEnding::Whole
        }
    }
}
