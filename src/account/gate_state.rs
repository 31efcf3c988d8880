//! The state of a gate under its lock: health, pacers, and the token estimate.

use super::counts::Counts;
use super::declared_limits::{DeclaredAdmission, DeclaredLimits};
use super::health::{HealthAdmission, ServerHealth};
use super::hinted_limits::HintedLimits;
use super::learnt_concurrency::LearntConcurrency;
use super::learnt_rate::{LearntRate, RefusalEffect, Release};
use super::shared::{HealthHint, HealthTurn, SharedGate};
use super::token_estimate::TokenEstimate;
use crate::lm::{AccountLimits, ClosedAccount, ClosedCause, Hints};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::Instant;

/// How long the very first request is sent alone, so that its response headers can report the limits.
const FIRST_ALONE: Duration = Duration::from_secs(1);

/// The shortest pause after the first refusal.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest pause after a refusal while a known limit paces the requests.
const KNOWN_PAUSE: Duration = Duration::from_millis(250);

/// The shortest `Retry-After` that a server can send, in whole seconds. After a cut of the rate it needs no pause of its own.
const SHORTEST_STATED: Duration = Duration::from_secs(1);

/// The number of refusals within [`STRIKE_INTERVAL`] after which a known limit is not the one that the server enforces.
const STRIKES: u32 = 5;
const STRIKE_INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct GateState {
    pub(super) health: ServerHealth,
    /// Counts the changes of `health`. A request belongs to the era in which it was sent.
    pub(super) health_era: u64,
    /// The era of the last suspicion that turned out to be unfounded.
    pub(super) last_cleared: u64,
    /// When the first of the consecutive failures occurred.
    pub(super) first_failure: Option<Instant>,
    pub(super) declared: Option<Arc<DeclaredLimits>>,
    /// The gate's part of the shared account; `None` if the process is alone.
    pub(super) shared: Option<SharedGate>,
    pub(super) hinted: HintedLimits,
    pub(super) learnt: Learnt,
    /// Counts cuts of the rate and pauses. A refusal of a request of an earlier era does not cut the rate again.
    pub(super) pace_era: u64,
    pub(super) hold_until: Option<Instant>,
    strikes: (u32, Instant),
    pub(super) first_request: FirstRequest,
    pub(super) estimate: TokenEstimate,
    /// `None` for a simulated LM.
    pub(super) concurrency: Option<LearntConcurrency>,
}

/// The rate learnt from refusals.
#[derive(Debug)]
pub(super) enum Learnt {
    /// No rate: nothing was refused so far.
    Unlimited,
    /// The first refusal came at this time. The rate starts when the pause after it is over.
    Starts(Instant),
    Rate(LearntRate),
}

/// The state of the very first request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum FirstRequest {
    Unsent,
    Sent(Instant),
    Done,
}

/// Whether a call may be released.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Readiness {
    Ready,
    NotBefore(Instant),
    /// When another request has ended.
    Full,
    /// When a slot has been reserved.
    NoSlot,
    /// Not at all: the call is handed back.
    Shut,
}

/// What a released request has taken from the limits, and in which eras.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) health_era: u64,
    pub(super) pace_era: u64,
    pub(super) release: Option<Release>,
    pub(super) tokens: f64,
    pub(super) declared: Option<Arc<DeclaredLimits>>,
}

impl GateState {
    pub(super) fn new(
        first_request: FirstRequest,
        concurrency: Option<LearntConcurrency>,
        is_shared: bool,
    ) -> GateState {
        GateState {
            health: ServerHealth::Open,
            health_era: 1,
            last_cleared: 0,
            first_failure: None,
            declared: None,
            shared: is_shared.then(|| SharedGate::new(Instant::now())),
            hinted: HintedLimits::default(),
            learnt: Learnt::Unlimited,
            pace_era: 1,
            hold_until: None,
            strikes: (0, Instant::now()),
            first_request,
            estimate: TokenEstimate::default(),
            concurrency,
        }
    }

    /// Whether nothing limits the calls, so that they need not lock this state.
    pub(super) fn is_free(&self) -> bool {
        self.health.is_open()
            && self.declared.is_none()
            && !self.hinted.is_known()
            && matches!(self.learnt, Learnt::Unlimited)
            && self.hold_until.is_none()
            && self.shared.as_ref().is_none_or(SharedGate::is_known)
            && self.first_request == FirstRequest::Done
            && self.in_flight_limit().is_none()
    }

    /// The learnt limit of requests in flight. `None` where a rate or the permits limit the calls instead.
    pub(super) fn in_flight_limit(&self) -> Option<u64> {
        let concurrency = self.concurrency.as_ref()?;
        concurrency
            .limit()
            .filter(|_| concurrency.is_forced() || !self.is_paced())
    }

    /// The learnt limit of requests in flight, if more of them would saturate the server.
    pub(super) fn saturated_at(&self) -> Option<u64> {
        let saturated = self.concurrency.as_ref()?.saturated_at();
        saturated.filter(|_| self.in_flight_limit().is_some())
    }

    /// Whether a declared, reported or learnt limit paces the calls.
    fn is_paced(&self) -> bool {
        !matches!(self.learnt, Learnt::Unlimited)
            || self.hinted.is_known()
            || self
                .declared_limits()
                .is_some_and(|limits| limits.rpm.or(limits.tpm).or(limits.concurrent).is_some())
    }

    /// Changes the health and begins a new era of it.
    pub(super) fn turn(&mut self, health: ServerHealth) {
        if let Some(shared) = &mut self.shared {
            match (&self.health, &health) {
                (ServerHealth::Closed { .. }, ServerHealth::Closed { .. }) => {}
                (_, ServerHealth::Closed { .. }) => shared.turned(HealthTurn::Closed),
                (ServerHealth::Away { .. } | ServerHealth::Closed { .. }, ServerHealth::Open) => {
                    shared.turned(HealthTurn::Opened);
                }
                (_, ServerHealth::Open) if shared.is_contradicted() => shared.turned(HealthTurn::Opened),
                _ => {}
            }
        }
        self.health = health;
        self.health_era += 1;
    }

    /// Closes the account until the next day, because all workers together have used up the requests of a day.
    pub(super) fn use_up_day(&mut self, reset: Duration, now: Instant) {
        let limit = self.declared_limits().and_then(|limits| limits.rpd);
        self.turn(ServerHealth::closed(day_used_up(limit.unwrap_or(0), reset), now));
    }

    /// Schedules one request that checks what another worker reported. No other request is sent before it.
    pub(super) fn hint(&mut self, hint: HealthHint, now: Instant) {
        match (hint, &self.health) {
            (HealthHint::Closed, ServerHealth::Open) => {
                self.turn(ServerHealth::suspect_elsewhere(now));
            }
            (HealthHint::Open, ServerHealth::Away { .. } | ServerHealth::Closed { .. }) => {
                self.health.probe_now(now);
            }
            _ => {}
        }
    }

    /// Returns whether a call of `bytes` bytes may be released now. `at` is the time since the gate was created.
    pub(super) fn readiness(
        &mut self,
        bytes: usize,
        counts: &Counts,
        at: Duration,
        now: Instant,
    ) -> Readiness {
        let tokens = self.tokens(bytes);
        let declared = self
            .declared
            .as_ref()
            .map(|declared| declared.admit(tokens, now, false));
        if let Some(DeclaredAdmission::DayUsedUp { limit, reset }) = declared {
            if !matches!(self.health, ServerHealth::Closed { .. }) {
                self.turn(ServerHealth::closed(day_used_up(limit, reset), now));
            }
            return Readiness::Shut;
        }
        let is_paced = self.is_paced_by_slots();
        let mut slot = None;
        if let Some(shared) = &mut self.shared {
            if !shared.is_known() {
                return Readiness::NoSlot;
            }
            slot = is_paced.then(|| shared.slots.ready_at(now));
        }
        match self.health.admission(now) {
            HealthAdmission::Shut => return Readiness::Shut,
            HealthAdmission::NotBefore(time) => return Readiness::NotBefore(time),
            HealthAdmission::Probe => {
                let is_away = matches!(self.health, ServerHealth::Away { .. });
                if is_away && self.shared.as_mut().is_some_and(|shared| !shared.may_probe(now)) {
                    return Readiness::NoSlot;
                }
                // Other workers send requests, too, so a probe needs a slot.
                return match slot {
                    None => Readiness::Ready,
                    Some(None) => Readiness::NoSlot,
                    Some(Some(ready)) if ready <= now => Readiness::Ready,
                    Some(Some(ready)) => Readiness::NotBefore(ready),
                };
            }
            HealthAdmission::Pass => {}
        }
        if let FirstRequest::Sent(sent) = self.first_request {
            if now < sent + FIRST_ALONE {
                return Readiness::NotBefore(sent + FIRST_ALONE);
            }
            self.first_request = FirstRequest::Done;
        }
        if let Some(until) = self.hold_until {
            if now < until {
                return Readiness::NotBefore(until);
            }
            self.hold_until = None;
        }
        let mut ready = now;
        if let Learnt::Starts(refused) = self.learnt {
            // By now every request that was sent before the refusal has its verdict, except for those that were accepted.
            let then = at.saturating_sub(now.saturating_duration_since(refused));
            self.learnt = Learnt::Rate(LearntRate::new(counts.accepted_per_sec(then), now));
        }
        if let Learnt::Rate(rate) = &mut self.learnt {
            ready = ready.max(rate.ready_at(now));
        }
        ready = ready.max(self.hinted.ready_at(tokens, now));
        let in_flight = counts.in_flight.load(Relaxed);
        if self.in_flight_limit().is_some_and(|most| in_flight >= most) {
            return Readiness::Full;
        }
        match slot {
            Some(None) if ready <= now => return Readiness::NoSlot,
            Some(Some(slot)) => ready = ready.max(slot),
            Some(None) | None => {}
        }
        match declared {
            Some(DeclaredAdmission::Full) => {
                if let Some(shared) = &mut self.shared {
                    shared.want_in_flight(now);
                }
                Readiness::Full
            }
            Some(DeclaredAdmission::At(time)) => Readiness::NotBefore(ready.max(time)),
            _ if ready > now => Readiness::NotBefore(ready),
            _ => Readiness::Ready,
        }
    }

    /// Takes what a call of `bytes` bytes needs; it must be [`Readiness::Ready`]. `waiting` is the number of calls that wait behind it.
    pub(super) fn release(&mut self, bytes: usize, waiting: u64, now: Instant) -> Ticket {
        let tokens = self.tokens(bytes);
        self.health.probed(now);
        if let Some(shared) = &mut self.shared
            && !self.health.is_open()
        {
            shared.probed();
        }
        if self.first_request == FirstRequest::Unsent {
            self.first_request = FirstRequest::Sent(now);
        }
        let release = match &mut self.learnt {
            Learnt::Rate(rate) => Some(rate.release(waiting, now)),
            Learnt::Unlimited | Learnt::Starts(_) => None,
        };
        if matches!(&self.learnt, Learnt::Rate(rate) if rate.is_outgrown()) {
            self.learnt = Learnt::Unlimited;
        }
        self.hinted.take(tokens, now);
        if let Some(declared) = &self.declared {
            declared.take(tokens, now);
        }
        if self.is_paced_by_slots()
            && let Some(shared) = &mut self.shared
        {
            shared.slots.take(tokens);
        }
        Ticket {
            health_era: self.health_era,
            pace_era: self.pace_era,
            release,
            tokens,
            declared: self.declared.clone(),
        }
    }

    /// Records a refusal for the rate, with the wait that the server asks for.
    pub(super) fn throttled(&mut self, ticket: &Ticket, wait: Option<Duration>, now: Instant) {
        if let (Learnt::Rate(rate), Some(release)) = (&mut self.learnt, ticket.release) {
            rate.not_accepted(release);
        }
        if wait == Some(Duration::ZERO) {
            return; // Another try may be made at once: nothing is limited.
        }
        if ticket.pace_era < self.pace_era {
            return self.hold(wait.filter(|wait| *wait > SHORTEST_STATED), now);
        }
        let least = |least: Duration| Some(wait.unwrap_or_default().max(least));
        let long = wait.filter(|wait| *wait > SHORTEST_STATED);
        let is_known = matches!(self.learnt, Learnt::Unlimited) && self.is_limit_known();
        if is_known && !self.strike(now) {
            return self.hold(least(KNOWN_PAUSE), now);
        }
        match (&mut self.learnt, ticket.release) {
            (Learnt::Rate(rate), Some(release)) => {
                let effect = rate.refused(release, now);
                if effect != RefusalEffect::None {
                    self.pace_era += 1;
                }
                match effect {
                    RefusalEffect::None | RefusalEffect::Cut => self.hold(long, now),
                    RefusalEffect::Pause(pause) => self.hold(least(pause), now),
                }
            }
            (Learnt::Rate(_), None) => self.hold(long, now),
            (Learnt::Unlimited | Learnt::Starts(_), _) => {
                self.learnt = Learnt::Starts(now);
                self.pace_era += 1;
                self.hold(least(FIRST_PAUSE), now);
            }
        }
    }

    /// Records a request that ended without being accepted, for another reason than the rate.
    pub(super) fn not_accepted(&mut self, ticket: &Ticket) {
        if let (Learnt::Rate(rate), Some(release)) = (&mut self.learnt, ticket.release) {
            rate.not_accepted(release);
        }
    }

    /// Records an answer.
    pub(super) fn accepted(&mut self, ticket: &Ticket, now: Instant) {
        if let Learnt::Rate(rate) = &mut self.learnt
            && ticket.pace_era == self.pace_era
        {
            rate.answered(now);
        }
    }

    /// Updates the limits from the headers of any response. The first report begins a new era of the pace, so refusals of earlier requests
    /// do not cut the rate.
    pub(super) fn follow(&mut self, hints: &Hints, now: Instant) {
        if self.hinted.follow(hints, now) {
            self.pace_era += 1;
        }
    }

    /// The most requests per second that this process releases; `None` if nothing limits them.
    pub(super) fn limit_per_sec(&self) -> Option<f64> {
        let declared = self.declared_limits();
        // The gates of other workers have the rest of the limit.
        let gates = self.shared.as_ref().map_or(1, SharedGate::gates) as f64;
        let per_sec = |per_minute: u64| per_minute as f64 / 60.0 / gates;
        let (hinted_requests, hinted_tokens) = self.hinted.per_sec();
        let requests = [
            declared.and_then(|limits| limits.rpm).map(per_sec),
            hinted_requests,
            self.learnt_rate(),
        ];
        let tokens = [declared.and_then(|limits| limits.tpm).map(per_sec), hinted_tokens];
        let each = self.estimate.mean();
        let by_tokens = tokens.map(|tokens| Some(tokens? / each?));
        let all = requests.into_iter().chain(by_tokens).flatten();
        all.min_by(f64::total_cmp)
    }

    /// The rate learnt from refusals, in requests per second; `None` if none limits.
    pub(super) fn learnt_rate(&self) -> Option<f64> {
        match &self.learnt {
            Learnt::Rate(rate) => Some(rate.per_sec()),
            Learnt::Unlimited | Learnt::Starts(_) => None,
        }
    }

    /// Whether tokens are limited. Only then is their use estimated.
    pub(super) fn limits_tokens(&self) -> bool {
        let declared = self.declared_limits();
        self.hinted.per_sec().1.is_some() || declared.is_some_and(|limits| limits.tpm.is_some())
    }

    /// Whether a call needs a slot of the shared account.
    pub(super) fn is_paced_by_slots(&self) -> bool {
        let is_paced = |limits: AccountLimits| limits.rpm.or(limits.tpm).or(limits.rpd).is_some();
        self.shared.is_some() && self.declared_limits().is_some_and(is_paced)
    }

    /// The tokens to reserve per slot, before the call that will use it is known; 0 if tokens are not limited.
    pub(super) fn mean_tokens(&self) -> f64 {
        if self.limits_tokens() {
            self.estimate.mean().unwrap_or_else(|| self.estimate.tokens(0))
        } else {
            0.0
        }
    }

    fn tokens(&self, bytes: usize) -> f64 {
        if self.limits_tokens() {
            self.estimate.tokens(bytes)
        } else {
            0.0
        }
    }

    pub(super) fn declared_limits(&self) -> Option<AccountLimits> {
        self.declared.as_ref().map(|declared| declared.limits())
    }

    fn is_limit_known(&self) -> bool {
        let declared = self.declared_limits();
        self.hinted.is_known() || declared.is_some_and(|limits| limits.rpm.or(limits.tpm).is_some())
    }

    /// Counts a refusal that came in spite of a known limit. Returns whether there were more than [`STRIKES`] of them.
    fn strike(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.strikes.1) >= STRIKE_INTERVAL {
            self.strikes = (0, now);
        }
        self.strikes.0 += 1;
        self.strikes.0 > STRIKES
    }

    /// Releases nothing for the duration `pause`, or longer if an earlier hold ends later.
    fn hold(&mut self, pause: Option<Duration>, now: Instant) {
        if let Some(pause) = pause {
            self.hold_until = self.hold_until.max(Some(now + pause));
        }
    }
}

fn day_used_up(limit: u64, reset: Duration) -> ClosedAccount {
    ClosedAccount {
        cause: ClosedCause::DailyQuota,
        status: 429,
        message: format!("the {limit} requests a day that the job file declares are used up"),
        reset_secs: Some(reset.as_secs()),
    }
}
