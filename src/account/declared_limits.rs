//! The limits that the job file declares for an account. The gates of all its models share them.

use super::shared::ProcessCalls;
use super::token_bucket::TokenBucket;
use crate::lm::AccountLimits;
use crate::lock::lock;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The burst: the share of a limit per minute that may be sent at once, as a duration.
const BURST: Duration = Duration::from_millis(200);

const DAY: Duration = Duration::from_secs(86_400);

/// The declared limits of an account, and the part of them that this process has used.
#[derive(Debug)]
pub(super) struct DeclaredLimits {
    /// The share of this process in a shared account, where slots enforce the limits per minute and per day. `None` if the process is
    /// alone.
    share: Option<ProcessShare>,
    used: Mutex<Used>,
    /// Notified when a request has ended.
    pub(super) freed: Notify,
}

#[derive(Debug, Default)]
struct Used {
    limits: AccountLimits,
    requests: Option<TokenBucket>,
    tokens: Option<TokenBucket>,
    /// Requests since the day began, and when it began: at the first request.
    day: (u64, Option<Instant>),
    in_flight: u64,
}

/// The requests in flight that this process is granted in a shared account.
#[derive(Debug)]
struct ProcessShare {
    id: u64,
    /// The number of requests, and the time at which the grant expires.
    granted: Mutex<(u64, Instant)>,
}

/// Whether the declared limits let a request through.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum DeclaredAdmission {
    Ready,
    /// The request has to wait until this time.
    At(Instant),
    /// The request has to wait until another one has ended.
    Full,
    /// The requests of the day are used up. `reset` is the time until the next day.
    DayUsedUp {
        limit: u64,
        reset: Duration,
    },
}

impl DeclaredLimits {
    pub(super) fn new(is_shared: bool) -> DeclaredLimits {
        let share = || ProcessShare {
            id: fastrand::u64(..1 << 53),
            granted: Mutex::new((0, Instant::now())),
        };
        DeclaredLimits {
            share: is_shared.then(share),
            used: Mutex::default(),
            freed: Notify::default(),
        }
    }

    /// Sets the limits. Setting the same limits again changes nothing.
    pub(super) fn set(&self, limits: AccountLimits) {
        let mut used = lock(&self.used);
        if used.limits == limits {
            return;
        }
        let now = Instant::now();
        // With this rate, the burst included, a bucket releases no more than the limit in any 60 seconds.
        let secs = 60.0 + BURST.as_secs_f64();
        let bucket = |per_minute: Option<u64>| {
            let per_minute = per_minute.filter(|_| self.share.is_none());
            per_minute.map(|limit| TokenBucket::new(limit.max(1) as f64 / secs, BURST, now))
        };
        used.requests = bucket(limits.rpm);
        used.tokens = bucket(limits.tpm);
        used.limits = limits;
    }

    pub(super) fn limits(&self) -> AccountLimits {
        lock(&self.used).limits
    }

    /// Returns whether a request with `tokens` tokens may be sent. If it is ready and `is_sent` is true, also counts it as sent.
    pub(super) fn admit(&self, tokens: f64, now: Instant, is_sent: bool) -> DeclaredAdmission {
        let mut used = lock(&self.used);
        if let (Some(limit), Some(began), None) = (used.limits.rpd, used.day.1, &self.share) {
            let passed = now.saturating_duration_since(began);
            if passed >= DAY {
                used.day = (0, None);
            } else if used.day.0 >= limit {
                return DeclaredAdmission::DayUsedUp {
                    limit,
                    reset: DAY - passed,
                };
            }
        }
        if used
            .limits
            .concurrent
            .is_some_and(|most| used.in_flight >= self.most_in_flight(most.max(1), now))
        {
            return DeclaredAdmission::Full;
        }
        let mut ready = now;
        if let Some(bucket) = &mut used.requests {
            ready = ready.max(bucket.ready_at(1.0, now));
        }
        if let Some(bucket) = &mut used.tokens {
            ready = ready.max(bucket.ready_at(tokens, now));
        }
        if ready > now {
            return DeclaredAdmission::At(ready);
        }
        if is_sent {
            used.take(tokens, now);
        }
        DeclaredAdmission::Ready
    }

    /// The calls of this process to the account, `waiting` of which wait at the reporting gate. `None` unless the account is shared and
    /// limits the requests in flight.
    pub(super) fn process_calls(&self, waiting: u64) -> Option<ProcessCalls> {
        let share = self.share.as_ref()?;
        let used = lock(&self.used);
        used.limits.concurrent?;
        Some(ProcessCalls {
            id: share.id,
            in_flight: used.in_flight,
            wanted: used.in_flight + waiting,
        })
    }

    /// Sets the requests that this process may have in flight until the time `until`.
    pub(super) fn grant(&self, in_flight: u64, until: Instant) {
        if let Some(share) = &self.share {
            *lock(&share.granted) = (in_flight, until);
            self.freed.notify_waiters();
        }
    }

    fn most_in_flight(&self, declared: u64, now: Instant) -> u64 {
        match &self.share {
            None => declared,
            Some(share) => {
                let (granted, until) = *lock(&share.granted);
                if now < until { declared.min(granted) } else { 0 }
            }
        }
    }

    /// Counts a request that is sent, without a check of the limits.
    pub(super) fn take(&self, tokens: f64, now: Instant) {
        lock(&self.used).take(tokens, now);
    }

    /// Counts the end of a request that used `unused_tokens` fewer tokens than were reserved for it.
    pub(super) fn ended(&self, unused_tokens: f64) {
        let mut used = lock(&self.used);
        used.in_flight = used.in_flight.saturating_sub(1);
        if let Some(bucket) = &mut used.tokens {
            bucket.give_back(unused_tokens);
        }
        let is_full = used.limits.concurrent.is_some();
        drop(used);
        if is_full {
            self.freed.notify_waiters();
        }
    }
}

impl Used {
    fn take(&mut self, tokens: f64, now: Instant) {
        if let Some(bucket) = &mut self.requests {
            bucket.take(1.0, now);
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.take(tokens, now);
        }
        self.day = (self.day.0 + 1, Some(self.day.1.unwrap_or(now)));
        self.in_flight += 1;
    }
}
