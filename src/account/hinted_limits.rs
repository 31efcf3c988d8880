//! Limits that a server reports in its response headers. The gate keeps to them as to declared ones.

use super::token_bucket::TokenBucket;
use crate::lm::{Hints, LimitHint};
use std::time::Duration;
use tokio::time::Instant;

/// The burst: the share of the limit that may be sent at once, as a duration.
const BURST: Duration = Duration::from_millis(200);

/// A limit that takes longer than this to reset is not one per minute. It is ignored, because its rate is unknown.
const LONGEST_RESET: Duration = Duration::from_secs(90);

/// The reported limits; `None` if the server reports none. Limits are of the account, so each gate keeps to its share of them.
#[derive(Debug, Default)]
pub(super) struct HintedLimits {
    requests: Option<TokenBucket>,
    tokens: Option<TokenBucket>,
    /// The gates of other processes that share the limits.
    others: u64,
}

impl HintedLimits {
    /// Updates the limits from the headers of a response. Returns whether these are the first limits that the server reports.
    pub(super) fn follow(&mut self, hints: &Hints, now: Instant) -> bool {
        let was_known = self.is_known();
        let share = self.share();
        follow_one(&mut self.requests, hints.requests, share, now);
        follow_one(&mut self.tokens, hints.tokens, share, now);
        !was_known && self.is_known()
    }

    /// Shares the limits with the gates of this number of other processes.
    pub(super) fn share_with(&mut self, others: u64, now: Instant) {
        let before = self.share();
        self.others = others;
        let factor = self.share() / before;
        for bucket in [&mut self.requests, &mut self.tokens].into_iter().flatten() {
            bucket.set_rate(bucket.per_sec() * factor, BURST, now);
        }
    }

    pub(super) fn is_known(&self) -> bool {
        self.requests.is_some() || self.tokens.is_some()
    }

    /// The earliest time at which a request with `tokens` tokens may be sent.
    pub(super) fn ready_at(&mut self, tokens: f64, now: Instant) -> Instant {
        let mut ready = now;
        if let Some(bucket) = &mut self.requests {
            ready = ready.max(bucket.ready_at(1.0, now));
        }
        if let Some(bucket) = &mut self.tokens {
            ready = ready.max(bucket.ready_at(tokens, now));
        }
        ready
    }

    pub(super) fn take(&mut self, tokens: f64, now: Instant) {
        if let Some(bucket) = &mut self.requests {
            bucket.take(1.0, now);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(tokens, now);
        }
    }

    pub(super) fn give_back(&mut self, tokens: f64) {
        if let Some(bucket) = &mut self.tokens {
            bucket.give_back(tokens);
        }
    }

    /// The limits in requests per second and in tokens per second; `None` for a limit that is not reported.
    pub(super) fn per_sec(&self) -> (Option<f64>, Option<f64>) {
        let rate = |bucket: &Option<TokenBucket>| bucket.as_ref().map(TokenBucket::per_sec);
        (rate(&self.requests), rate(&self.tokens))
    }

    /// The share of this gate in the limits.
    fn share(&self) -> f64 {
        1.0 / (1 + self.others) as f64
    }
}

/// Updates one limit. The level is capped at the share of the reported `remaining`: if another client uses the same key, its requests
/// count, too.
fn follow_one(bucket: &mut Option<TokenBucket>, hint: Option<LimitHint>, share: f64, now: Instant) {
    let Some(hint) = hint.filter(|hint| hint.reset.is_none_or(|reset| reset < LONGEST_RESET)) else {
        return;
    };
    let per_sec = hint.limit as f64 / 60.0 * share;
    let bucket = bucket.get_or_insert_with(|| TokenBucket::new(per_sec, BURST, now));
    bucket.set_rate(per_sec, BURST, now);
    bucket.cap_level(hint.remaining as f64 * share, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hints(remaining: u64, reset: Duration) -> Hints {
        Hints {
            requests: Some(LimitHint {
                limit: 6000,
                remaining,
                reset: Some(reset),
            }),
            tokens: None,
        }
    }

    #[test]
    fn limit_per_minute_is_followed_and_one_per_day_is_ignored() {
        let now = Instant::now();
        let mut limits = HintedLimits::default();
        assert!(!limits.follow(&hints(5000, Duration::from_secs(400)), now));
        assert!(!limits.is_known());
        assert!(limits.follow(&hints(5000, Duration::from_millis(10)), now));
        assert!(!limits.follow(&hints(5000, Duration::from_millis(10)), now));
        assert_eq!(limits.per_sec(), (Some(100.0), None));
    }

    #[test]
    fn limit_is_divided_by_the_gates_that_share_it() {
        let now = Instant::now();
        let mut limits = HintedLimits::default();
        limits.share_with(3, now);
        limits.follow(&hints(5000, Duration::ZERO), now);
        assert_eq!(limits.per_sec(), (Some(25.0), None));
        limits.share_with(1, now);
        assert_eq!(limits.per_sec(), (Some(50.0), None));
        limits.share_with(0, now);
        assert_eq!(limits.per_sec(), (Some(100.0), None));
    }

    #[test]
    fn remaining_counts_the_requests_of_other_clients() {
        let now = Instant::now();
        let mut limits = HintedLimits::default();
        limits.follow(&hints(5000, Duration::ZERO), now);
        assert_eq!(limits.ready_at(0.0, now), now);
        limits.follow(&hints(0, Duration::ZERO), now);
        let wait = limits.ready_at(0.0, now) - now;
        assert!((wait.as_secs_f64() - 0.01).abs() < 1e-3, "{wait:?}");
    }
}
