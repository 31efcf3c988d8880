//! The gate of one model at one address with one key. It releases calls one at a time where something limits them.

mod candidate;
mod reports;
mod request_in_flight;
mod waiting;

pub(super) use request_in_flight::{Lateness, RefusalScope, RequestInFlight};
pub(super) use waiting::{HandedBack, Head, RunQueue, Suspicion, permit};

use super::counts::Counts;
use super::declared_limits::DeclaredLimits;
use super::gate_state::{FirstRequest, GateState, Readiness};
use super::learnt_concurrency::{BATCH, LearntConcurrency, View};
use super::learnt_timeout;
use crate::lm::{LmSettings, LmState, LmStatus};
use crate::lock::lock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, SemaphorePermit, watch};
use tokio::time::Instant;

/// Interval between two warnings about requests that cannot be sent.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// All calls of a process to one model at one address with one key pass through its gate.
#[derive(Debug)]
pub struct Gate {
    model: String,
    address: String,
    key_variable: Option<String>,
    made: Instant,
    /// Whether nothing limits the calls. Written under the lock of `state` only.
    is_free: AtomicBool,
    /// The eras of `state`: of its health and of its pace. Calls read them without the lock.
    eras: [AtomicU64; 2],
    pub(super) counts: Counts,
    state: Mutex<GateState>,
    /// Whether the account was accepted in an earlier process of the run.
    was_accepted_before: AtomicBool,
    /// The last request that was not answered.
    last_error: Mutex<Option<LastError>>,
    /// When the last warning about requests that could not be sent was logged.
    warned_of_unsent: Mutex<Option<Instant>>,
    /// Its holder is the head of the queue of waiting calls. The queue has one call of each run, first come, first served.
    queue: tokio::sync::Mutex<()>,
    /// Notified when a change of `state` may let a waiting call through.
    changed: Notify,
    /// Notified when a report to the shared state may be due.
    report_wanted: Notify,
    /// Free permits, as counted when a report was last requested.
    free_permits: AtomicU64,
    state_changes: watch::Sender<()>,
}

/// A request that was not answered.
#[derive(Clone, Debug)]
struct LastError {
    message: String,
    names_remedy: bool,
    at: Instant,
}

impl Gate {
    /// `is_shared`: whether slots come from the state that the workers of a cluster share.
    pub(super) fn new(settings: &LmSettings, is_shared: bool, state_changes: watch::Sender<()>) -> Gate {
        let address = settings.shown_address();
        // A simulated LM has no limits to learn.
        let state = if !address.is_empty() {
            let concurrency = LearntConcurrency::new(settings.timeout(), Instant::now());
            GateState::new(FirstRequest::Unsent, Some(concurrency), is_shared)
        } else {
            GateState::new(FirstRequest::Done, None, is_shared)
        };
        Gate {
            model: settings.model.clone(),
            address,
            key_variable: settings.key_variable().map(str::to_owned),
            made: Instant::now(),
            is_free: AtomicBool::new(state.is_free()),
            eras: [state.health_era, state.pace_era].map(AtomicU64::new),
            counts: Counts::default(),
            state: Mutex::new(state),
            was_accepted_before: AtomicBool::new(false),
            last_error: Mutex::default(),
            warned_of_unsent: Mutex::default(),
            queue: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            report_wanted: Notify::new(),
            free_permits: AtomicU64::new(0),
            state_changes,
        }
    }

    /// Sets the declared limits of the account.
    pub(super) fn declare(&self, declared: Option<Arc<DeclaredLimits>>) {
        self.change(|state, _| state.declared = declared);
    }

    /// The status of the LM in this process.
    pub fn status(&self) -> LmStatus {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (now, counts) = (Instant::now(), &self.counts);
        let state = lock(&self.state);
        let (lm_state, limit) = (state.health.state(now), state.limit_per_sec());
        let in_flight_limit = state.saturated_at();
        drop(state);
        let last_error = lock(&self.last_error).clone();
        LmStatus {
            model: self.model.clone(),
            address: self.address.clone(),
            key_variable: self.key_variable.clone(),
            state: lm_state,
            answered: load(&counts.answered),
            throttled: load(&counts.throttled),
            in_flight: load(&counts.in_flight),
            waiting: load(&counts.waiting),
            answers_per_min: counts.answered_by_second.minute(self.second(now)),
            limit_per_min: limit.map(|per_sec| (per_sec * 60.0).round() as u64),
            in_flight_limit,
            latency_ms: counts.last_answers.median_ms(),
            last_error_secs: last_error
                .as_ref()
                .map(|error| now.saturating_duration_since(error.at).as_secs()),
            last_error_names_remedy: last_error.as_ref().is_some_and(|error| error.names_remedy),
            last_error: last_error.map(|error| error.message),
        }
    }

    /// Whether the LM is simulated, without a server.
    pub(super) fn is_simulated(&self) -> bool {
        self.address.is_empty()
    }

    /// Records that an earlier process of the run got answers.
    pub(super) fn accepted_before(&self) {
        self.was_accepted_before.store(true, Ordering::Relaxed);
    }

    /// Whether the account was accepted, in this process or in an earlier one of the run.
    pub(super) fn was_accepted(&self) -> bool {
        self.answered() > 0 || self.was_accepted_before.load(Ordering::Relaxed)
    }

    /// The number of answers so far.
    pub(super) fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Whether the gate has no other call. The calling one must not be in flight.
    pub(super) fn is_idle(&self) -> bool {
        let at_gate = [&self.counts.in_flight, &self.counts.waiting];
        at_gate.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Consecutive failures of the server since its last answer.
    pub(super) fn failures_in_row(&self) -> u32 {
        self.counts.failures_in_row.load(Ordering::Relaxed)
    }

    /// The calls that wait here.
    pub(super) fn waiting_calls(&self) -> usize {
        self.counts.waiting.load(Ordering::Relaxed) as usize
    }

    pub(super) fn is_free(&self) -> bool {
        self.is_free.load(Ordering::Acquire)
    }

    /// The whole seconds from the creation of the gate to `at`.
    pub(super) fn second(&self, at: Instant) -> u64 {
        self.since_made(at).as_secs()
    }

    pub(super) fn failed_with(&self, message: &str, names_remedy: bool) {
        *lock(&self.last_error) = Some(LastError {
            message: message.to_owned(),
            names_remedy,
            at: Instant::now(),
        });
    }

    /// Logs that requests cannot be sent, at most once in [`WARN_EVERY`].
    fn warn_of_unsent(&self, why: &str) {
        let now = Instant::now();
        let mut warned = lock(&self.warned_of_unsent);
        if warned.is_none_or(|last| now.saturating_duration_since(last) >= WARN_EVERY) {
            *warned = Some(now);
            tracing::warn!(model = self.model, why, "LM calls wait for open files");
        }
    }

    /// Changes the state, and wakes the calls that wait for a change.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut GateState, Instant) -> T) -> T {
        let changed = self.update(change);
        self.wake();
        changed
    }

    /// Wakes the calls that wait for a change of the state.
    fn wake(&self) {
        self.changed.notify_waiters();
    }

    /// Evaluates the last answers after each [`BATCH`] of them. `answers` is their total number.
    pub(super) fn watch(&self, answers: u64) {
        if !self.is_simulated() && answers.is_multiple_of(BATCH) {
            self.update(|state, now| {
                if let Some(concurrency) = &mut state.concurrency {
                    concurrency.watch(self.view(now));
                }
            });
        }
    }

    /// The facts by which an answer at the time `now` is evaluated.
    pub(super) fn view(&self, now: Instant) -> View<'_> {
        View {
            answers: &self.counts.last_answers,
            in_flight: self.counts.in_flight.load(Ordering::Relaxed),
            is_awaited: self.counts.waiting.load(Ordering::Relaxed) > 0,
            now,
        }
    }

    /// The learnt timeout, at least `least`, of a request with at most `most_tokens` completion tokens that was given up `given_up` times
    /// before. `None` if none is learnt: then the LM's own timeout applies.
    pub(super) fn learnt_timeout(
        &self,
        most_tokens: Option<u64>,
        least: Duration,
        given_up: u32,
    ) -> Option<Duration> {
        let learnt = learnt_timeout::learnt(&self.counts.last_answers.all(), most_tokens, least)?;
        Some(learnt_timeout::after(given_up, learnt))
    }

    fn reached_ceiling(&self) {
        self.update(|state, now| {
            if state.in_flight_limit().is_some()
                && let Some(concurrency) = &mut state.concurrency
            {
                concurrency.reached_ceiling(self.view(now));
            }
        });
    }

    fn readiness(&self, bytes: usize) -> Readiness {
        self.update(|state, now| state.readiness(bytes, &self.counts, self.since_made(now), now))
    }

    /// Changes the state. If this changes the health, logs it and notifies the listeners.
    fn update<T>(&self, change: impl FnOnce(&mut GateState, Instant) -> T) -> T {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let before = state.health_era;
        let changed = change(&mut state, now);
        let turned = (state.health_era != before).then(|| state.health.state(now));
        self.publish(&state);
        drop(state);
        if let Some(lm_state) = turned {
            self.report_wanted.notify_one();
            self.report(&lm_state);
        }
        changed
    }

    /// A request in flight, while nothing limits.
    fn pass<'a>(&'a self, permit: SemaphorePermit<'a>, bytes: usize) -> RequestInFlight<'a> {
        let [health_era, pace_era] = &self.eras;
        let eras = [health_era, pace_era].map(|era| era.load(Ordering::Acquire));
        RequestInFlight::unlimited(self, permit, bytes, eras)
    }

    /// Releases the call if it is still ready after its wait for the permit; otherwise returns the permit. `behind` is the number of calls
    /// that wait behind it.
    fn release<'a>(
        &'a self,
        permit: SemaphorePermit<'a>,
        bytes: usize,
        behind: u64,
    ) -> Result<RequestInFlight<'a>, SemaphorePermit<'a>> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        if state.readiness(bytes, &self.counts, self.since_made(now), now) != Readiness::Ready {
            return Err(permit);
        }
        let ticket = state.release(bytes, behind, now);
        self.publish(&state);
        drop(state);
        Ok(RequestInFlight::new(self, permit, bytes, ticket))
    }

    /// Copies the parts of the state that calls read without the lock.
    fn publish(&self, state: &MutexGuard<'_, GateState>) {
        let [health_era, pace_era] = &self.eras;
        health_era.store(state.health_era, Ordering::Release);
        pace_era.store(state.pace_era, Ordering::Release);
        self.is_free.store(state.is_free(), Ordering::Release);
    }

    fn report(&self, state: &LmState) {
        let (model, address) = (&self.model, &self.address);
        match state {
            LmState::Open => tracing::debug!(model, address, "lm answers"),
            LmState::Away { .. } => {
                let cause = lock(&self.last_error).clone().map(|error| error.message);
                tracing::debug!(model, address, cause, "lm does not answer; waiting for it");
            }
            LmState::Closed(account) => {
                let (status, message) = (account.status, &account.message);
                tracing::debug!(model, address, status, message, "lm refuses the account");
            }
        }
        self.state_changes.send_replace(());
    }

    fn since_made(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.made)
    }
}
