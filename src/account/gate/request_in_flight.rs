//! A request in flight. When it ends, the gate learns from its result.

use super::Gate;
use crate::account::gate_state::{FirstRequest, GateState, Ticket};
use crate::account::health::{AWAY_AFTER, AWAY_AFTER_NO_ANSWER, ServerHealth, closes_alone, may_be_content};
use crate::account::latency_model::TimedAnswer;
use crate::lm::{ClosedAccount, Hints, Usage};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::SemaphorePermit;
use tokio::time::Instant;

/// The interval to the next probe after a probe without a conclusive result.
const NEXT_PROBE: Duration = Duration::from_secs(1);

/// A released request. Dropping it without a result, as when a task is cancelled, gives back what it took.
pub(in crate::account) struct RequestInFlight<'a> {
    gate: &'a Gate,
    ticket: Ticket,
    bytes: usize,
    sent: Instant,
    /// The number of answers when it was sent.
    answers_before: u64,
    /// Tokens that were used; `None` while the request is in flight.
    used: Option<f64>,
    /// `None` once the request is set aside.
    permit: Option<SemaphorePermit<'a>>,
}

/// The cause of a missing answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account) enum Lateness {
    /// Too many requests are in flight, so the gate now allows fewer.
    Overload,
    /// The server has answered no other request since this one was sent.
    Away,
    /// Probably this request alone.
    Own,
}

/// The scope of a refusal: the account or the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account) enum RefusalScope {
    /// Unknown until the suspicion of this era is resolved.
    Pending(u64),
    /// The account is refused and now closed.
    Account,
    /// Only this request is refused.
    Request,
}

impl<'a> RequestInFlight<'a> {
    pub(in crate::account) fn new(
        gate: &'a Gate,
        permit: SemaphorePermit<'a>,
        bytes: usize,
        ticket: Ticket,
    ) -> RequestInFlight<'a> {
        let sent = Instant::now();
        gate.counts.in_flight.fetch_add(1, Relaxed);
        gate.counts.sent_by_second.count(gate.second(sent));
        RequestInFlight {
            gate,
            ticket,
            bytes,
            sent,
            answers_before: gate.answered(),
            used: None,
            permit: Some(permit),
        }
    }

    /// A request of a gate that limits nothing, with the current eras of health and pace.
    pub(in crate::account) fn unlimited(
        gate: &'a Gate,
        permit: SemaphorePermit<'a>,
        bytes: usize,
        [health_era, pace_era]: [u64; 2],
    ) -> RequestInFlight<'a> {
        let ticket = Ticket {
            health_era,
            pace_era,
            release: None,
            tokens: 0.0,
            declared: None,
        };
        RequestInFlight::new(gate, permit, bytes, ticket)
    }

    /// The answer is arriving, and waits for memory here. Meanwhile other requests may take the place of this one: a task that has the
    /// memory may need it.
    pub(in crate::account) fn set_aside(&mut self) {
        if self.permit.take().is_none() {
            return;
        }
        self.gate.counts.in_flight.fetch_sub(1, Relaxed);
        if let Some(declared) = self.ticket.declared.take() {
            declared.ended(0.0);
        }
        self.record_alive(&Hints::default(), |request, state, _| {
            request.resolve_doubts(state)
        });
        self.gate.wake();
    }

    /// The account was accepted: a suspicion from before this request is over.
    fn resolve_doubts(&self, state: &mut GateState) {
        let is_later = self.ticket.health_era == state.health_era;
        match &state.health {
            ServerHealth::Suspect { .. } if is_later => {
                state.last_cleared = state.health_era;
                state.turn(ServerHealth::Open);
            }
            ServerHealth::Closed { .. } if is_later => state.turn(ServerHealth::Open),
            _ => {}
        }
    }

    /// Records an answer. Returns its latency.
    pub(in crate::account) fn answered(mut self, usage: Usage, hints: &Hints) -> Duration {
        let (gate, now) = (self.gate, Instant::now());
        gate.counts.answered.fetch_add(1, Relaxed);
        gate.counts.answered_by_second.count(gate.second(now));
        let latency = now.saturating_duration_since(self.sent);
        let before = gate.counts.last_answers.add(latency, usage.completion_tokens);
        gate.watch(before + 1);
        let is_known = usage.unknown == 0;
        let tokens = usage.tokens() as f64;
        // Of unknown usage, all that was reserved may have been used.
        self.used = Some(if is_known {
            tokens
        } else {
            tokens.max(self.ticket.tokens)
        });
        self.record_alive(hints, |request, state, now| {
            state.accepted(&request.ticket, now);
            if state.in_flight_limit().is_some()
                && let Some(concurrency) = &mut state.concurrency
            {
                let answer = TimedAnswer {
                    secs: latency.as_secs_f64(),
                    tokens: usage.completion_tokens as f64,
                };
                concurrency.answered(answer, request.sent, request.gate.view(now));
            }
            if is_known && state.limits_tokens() {
                state.estimate.observe(request.bytes, usage);
            }
            request.resolve_doubts(state);
        });
        latency
    }

    /// Records a refusal for the rate, with the wait that the server asks for.
    pub(in crate::account) fn throttled(mut self, message: &str, wait: Option<Duration>, hints: &Hints) {
        let gate = self.gate;
        gate.counts.throttled.fetch_add(1, Relaxed);
        self.record_error(message);
        if wait == Some(Duration::ZERO) && gate.is_free() {
            gate.counts.failures_in_row.store(0, Relaxed);
            return;
        }
        gate.change(|state, now| {
            self.apply_alive(state, hints, now);
            state.throttled(&self.ticket, wait, now);
        });
    }

    /// Records that no answer came in time, and returns the probable cause. A server that answered another request meanwhile is not away.
    pub(in crate::account) fn late(mut self, message: &str) -> Lateness {
        let gate = self.gate;
        let waited = self.sent.elapsed();
        if gate.answered() == self.answers_before {
            self.no_answer(message, true);
            return Lateness::Away;
        }
        self.record_error(message);
        gate.change(|state, now| {
            state.not_accepted(&self.ticket);
            self.reschedule_probe(state, NEXT_PROBE, now);
            let view = gate.view(now);
            match &mut state.concurrency {
                Some(concurrency) if concurrency.is_overload(waited, view) => {
                    concurrency.overloaded(self.sent, view);
                    Lateness::Overload
                }
                _ => Lateness::Own,
            }
        })
    }

    /// Records a failure of the server, or of the connection to it.
    pub(in crate::account) fn away(self, message: &str) {
        self.no_answer(message, false);
    }

    fn no_answer(mut self, message: &str, is_late: bool) {
        self.record_error(message);
        let failures = self.gate.counts.failures_in_row.fetch_add(1, Relaxed) + 1;
        let most = if self.gate.answered() > 0 {
            AWAY_AFTER
        } else {
            AWAY_AFTER_NO_ANSWER
        };
        self.gate.change(|state, now| {
            state.first_request = FirstRequest::Done;
            state.not_accepted(&self.ticket);
            if failures == 1 || state.first_failure.is_none() {
                state.first_failure = Some(now);
            }
            let since = state.first_failure.unwrap_or(now);
            match &state.health {
                ServerHealth::Open | ServerHealth::Suspect { .. } if failures >= most => {
                    state.turn(ServerHealth::away(since, now));
                    // The server may have been too slow for the requests in flight.
                    if is_late && let Some(concurrency) = &mut state.concurrency {
                        concurrency.restart(self.gate.view(now));
                    }
                }
                _ => self.reschedule_probe(state, NEXT_PROBE, now),
            }
        });
    }

    /// Records that the request itself was refused, or that its answer was not a completion: the server works.
    pub(in crate::account) fn failed(mut self, hints: &Hints) {
        self.used = Some(0.0);
        self.record_alive(hints, |request, state, now| state.accepted(&request.ticket, now));
    }

    /// Records a refusal of the account. `own` is the era of the suspicion that this call raised itself, if it did. `was_unfounded`:
    /// another call has refuted such a suspicion before.
    pub(in crate::account) fn refused(
        mut self,
        account: &ClosedAccount,
        own: Option<u64>,
        was_unfounded: bool,
    ) -> RefusalScope {
        self.record_error(&format!("HTTP {}: {}", account.status, account.message));
        let was_answered = self.gate.was_accepted();
        self.gate.change(|state, now| {
            state.not_accepted(&self.ticket);
            self.apply_alive(state, &Hints::default(), now);
            let is_own = was_unfounded || self.is_alone_with(account, was_answered);
            let closes_alone = closes_alone(account.cause) && !is_own;
            let own = own.filter(|_| !closes_alone);
            self.suspect_account(state, account, own, was_answered, now)
        })
    }

    /// Applies a refusal to the health of the account. `own` is the suspicion that this refusal resolves as one of the call alone.
    fn suspect_account(
        &self,
        state: &mut GateState,
        account: &ClosedAccount,
        own: Option<u64>,
        was_answered: bool,
        now: Instant,
    ) -> RefusalScope {
        match &mut state.health {
            ServerHealth::Closed { account: known, .. } => {
                known.clone_from(account);
                return RefusalScope::Account;
            }
            ServerHealth::Suspect { .. } if self.ticket.health_era < state.health_era => {}
            ServerHealth::Suspect { .. } if own == Some(state.health_era) => {
                state.last_cleared = state.health_era;
                state.turn(ServerHealth::Open);
                return RefusalScope::Request;
            }
            health @ ServerHealth::Suspect { .. } => {
                if let Some(account) = health.agree(account.clone(), now) {
                    state.turn(ServerHealth::closed(account, now));
                    return RefusalScope::Account;
                }
            }
            ServerHealth::Open | ServerHealth::Away { .. } => {
                state.turn(ServerHealth::suspect(account, was_answered, now));
            }
        }
        RefusalScope::Pending(state.health_era)
    }

    /// Whether this call is the only one at the gate, the account was accepted before, and the refusal may be due to the call's content.
    /// Then its refusals alone do not close the account.
    fn is_alone_with(&self, account: &ClosedAccount, was_answered: bool) -> bool {
        let counts = &self.gate.counts;
        let others = counts.in_flight.load(Relaxed).saturating_sub(1) + counts.waiting.load(Relaxed);
        was_answered && may_be_content(account) && others == 0
    }

    /// Records that the server responded: it is not away. While nothing limits, this reads one atomic.
    fn record_alive(&self, hints: &Hints, and: impl FnOnce(&Self, &mut GateState, Instant)) {
        let gate = self.gate;
        if gate.is_free() && *hints == Hints::default() {
            if gate.counts.failures_in_row.load(Relaxed) > 0 {
                gate.counts.failures_in_row.store(0, Relaxed);
            }
            return;
        }
        gate.update(|state, now| {
            self.apply_alive(state, hints, now);
            and(self, state, now);
        });
        // Otherwise the end of the request, which follows, wakes the calls that wait.
        if gate.is_free() {
            gate.wake();
        }
    }

    fn apply_alive(&self, state: &mut GateState, hints: &Hints, now: Instant) {
        self.gate.counts.failures_in_row.store(0, Relaxed);
        state.first_failure = None;
        state.first_request = FirstRequest::Done;
        if matches!(state.health, ServerHealth::Away { .. }) {
            state.turn(ServerHealth::Open);
        } else {
            self.reschedule_probe(state, NEXT_PROBE, now);
        }
        state.follow(hints, now);
    }

    /// Schedules the next probe if this request was the probe of a suspicion.
    fn reschedule_probe(&self, state: &mut GateState, after: Duration, now: Instant) {
        if self.ticket.health_era == state.health_era {
            state.health.probe_again(after, now);
        }
    }

    fn record_error(&mut self, message: &str) {
        self.used = Some(0.0);
        self.gate.failed_with(message);
        let second = self.gate.second(self.sent);
        self.gate.counts.refused_by_second.count(second);
    }
}

impl Drop for RequestInFlight<'_> {
    fn drop(&mut self) {
        if self.permit.is_some() {
            self.gate.counts.in_flight.fetch_sub(1, Relaxed);
        }
        let unused = self.ticket.tokens - self.used.unwrap_or(0.0);
        if let Some(declared) = &self.ticket.declared {
            declared.ended(if self.ticket.tokens > 0.0 { unused } else { 0.0 });
        }
        if self.gate.is_free() {
            return;
        }
        let is_abandoned = self.used.is_none();
        if !is_abandoned && self.ticket.tokens == 0.0 {
            return self.gate.wake();
        }
        self.gate.change(|state, now| {
            if self.ticket.tokens > 0.0 {
                state.hinted.give_back(unused);
                if let Some(shared) = &mut state.shared {
                    shared.slots.give_back(unused);
                }
            }
            if is_abandoned {
                state.not_accepted(&self.ticket);
                if matches!(state.first_request, FirstRequest::Sent(_)) {
                    state.first_request = FirstRequest::Unsent;
                }
                self.reschedule_probe(state, Duration::ZERO, now);
            }
        });
    }
}
