//! The gate of one model at one address with one key. It releases calls one at a time where something limits them.

mod candidate;
mod reports;
mod request_in_flight;

pub(super) use request_in_flight::{Lateness, RefusalScope, RequestInFlight};

use super::counts::Counts;
use super::declared_limits::DeclaredLimits;
use super::gate_state::{FirstRequest, GateState, Readiness};
use super::health::{CONFIRMED_BY_OTHERS, ServerHealth};
use super::learnt_concurrency::{BATCH, LearntConcurrency, View};
use super::learnt_timeout;
use crate::lm::{LmSettings, LmState, LmStatus};
use crate::lock::lock;
use crate::shutdown::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

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
    /// The message of the last request that was not answered, and when it ended.
    last_error: Mutex<Option<(String, Instant)>>,
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

/// The calls of one run that wait at a gate, first come, first served. Only the first of them is in the queue of the gate. So runs take
/// turns, whatever their numbers of calls.
#[derive(Debug, Default)]
pub(super) struct RunQueue(tokio::sync::Mutex<()>);

/// Why a call is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandedBack {
    /// The account is refused.
    Closed,
    /// The process stops.
    Draining,
}

/// The result of waiting until a suspicion is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Other calls are answered, so only this call is refused.
    Unfounded,
    /// The suspicion is open, and no other call could test it. The call sends its request again as the probe.
    Unconfirmed,
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
                .map(|(_, at)| now.saturating_duration_since(*at).as_secs()),
            last_error: last_error.map(|(message, _)| message),
        }
    }

    /// Waits until a request of `bytes` bytes may be sent, and for a permit. A call that waits for the gate holds no permit.
    ///
    /// Cancel safe: a call that is dropped leaves the queue.
    ///
    /// # Errors
    ///
    /// Returns [`HandedBack`] if the account is closed, or if a drain began while the call waited.
    pub(super) async fn enter<'a>(
        &'a self,
        run: &'a RunQueue,
        bytes: usize,
        permits: &'a Semaphore,
        shutdown: &Shutdown,
    ) -> Result<RequestInFlight<'a>, HandedBack> {
        if self.is_free() {
            let permit = permit(permits).await;
            // The limits may have changed during the wait for the permit.
            if self.is_free() {
                return Ok(self.pass(permit, bytes));
            }
        }
        // Boxed: a large future would be copied with each task, also while nothing limits.
        Box::pin(self.enter_in_turn(run, bytes, permits, shutdown)).await
    }

    async fn enter_in_turn<'a>(
        &'a self,
        run: &'a RunQueue,
        bytes: usize,
        permits: &'a Semaphore,
        shutdown: &Shutdown,
    ) -> Result<RequestInFlight<'a>, HandedBack> {
        let _head = self.head(run, bytes, permits, shutdown).await?;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if permits.available_permits() == 0 {
                self.reached_ceiling();
            }
            tokio::select! {
                biased;
                permit = permit(permits) => {
                    // The head of the queue is counted in `waiting`, too.
                    let behind = self.counts.waiting.load(Ordering::Relaxed).saturating_sub(1);
                    if let Ok(request) = self.release(permit, bytes, behind) {
                        return Ok(request);
                    }
                }
                () = changed => {}
            }
            self.ready(bytes, permits, shutdown).await?;
        }
    }

    /// Waits in the queue until a request of `bytes` bytes may be sent.
    ///
    /// Cancel safe: a call that is dropped leaves the queue.
    ///
    /// # Errors
    ///
    /// As [`Self::enter`].
    pub(super) async fn head<'a>(
        &'a self,
        run: &'a RunQueue,
        bytes: usize,
        permits: &Semaphore,
        shutdown: &Shutdown,
    ) -> Result<Head<'a>, HandedBack> {
        let waiting = WaitingCall::new(&self.counts.waiting);
        // Waits for the queue during a drain, too: each head before this call is then released or handed back at once.
        let of_run = run.0.lock().await;
        let places = (self.queue.lock().await, of_run);
        self.ready(bytes, permits, shutdown).await?;
        Ok(Head {
            _places: places,
            _waiting: waiting,
        })
    }

    /// Waits, as the head of the queue, until a request of `bytes` bytes may be sent. During a drain, a call that would have to wait is
    /// handed back. So tasks in flight end with the calls that the account lets through.
    async fn ready(&self, bytes: usize, permits: &Semaphore, shutdown: &Shutdown) -> Result<(), HandedBack> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let declared = lock(&self.state).declared.clone();
            let freed = async {
                match &declared {
                    Some(declared) => declared.freed.notified().await,
                    None => std::future::pending().await,
                }
            };
            let mut freed = std::pin::pin!(freed);
            // The first poll registers the future for notifications.
            let _ = futures_util::poll!(freed.as_mut());
            let until = match self.readiness(bytes) {
                Readiness::Shut => return Err(HandedBack::Closed),
                Readiness::Ready => return Ok(()),
                _ if shutdown.is_draining() => return Err(HandedBack::Draining),
                Readiness::NotBefore(until) => Some(until),
                Readiness::Full => {
                    self.want_report(permits.available_permits().max(1));
                    None
                }
                Readiness::NoSlot if permits.available_permits() == 0 => {
                    // A slot is reserved only for a call that has a permit for it.
                    tokio::select! {
                        biased;
                        permit = permit(permits) => drop(permit),
                        () = changed => {}
                        () = shutdown.draining() => return Err(HandedBack::Draining),
                    }
                    continue;
                }
                Readiness::NoSlot => {
                    self.want_report(permits.available_permits());
                    None
                }
            };
            tokio::select! {
                biased;
                () = shutdown.draining() => return Err(HandedBack::Draining),
                () = changed => {}
                () = freed => {}
                () = sleep_until(until.unwrap_or_else(far)), if until.is_some() => {}
            }
        }
    }

    /// Waits until the suspicion of this era is resolved, or until no other call can test it.
    ///
    /// # Errors
    ///
    /// Returns [`HandedBack`] if the account was closed, or if a drain began.
    pub(super) async fn resolved(&self, era: u64, shutdown: &Shutdown) -> Result<Suspicion, HandedBack> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            let until = {
                let state = lock(&self.state);
                let now = Instant::now();
                match &state.health {
                    ServerHealth::Closed { .. } => return Err(HandedBack::Closed),
                    ServerHealth::Suspect {
                        since, next_probe, ..
                    } if state.health_era == era => {
                        let alone = (*since + CONFIRMED_BY_OTHERS).max(*next_probe);
                        if alone <= now {
                            return Ok(Suspicion::Unconfirmed);
                        }
                        alone
                    }
                    _ if state.last_cleared >= era => return Ok(Suspicion::Unfounded),
                    _ => return Ok(Suspicion::Unconfirmed),
                }
            };
            tokio::select! {
                biased;
                () = shutdown.draining() => return Err(HandedBack::Draining),
                () = changed => {}
                () = sleep_until(until) => {}
            }
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

    pub(super) fn failed_with(&self, message: &str) {
        *lock(&self.last_error) = Some((message.to_owned(), Instant::now()));
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

    /// The learnt timeout of a request with at most `most_tokens` completion tokens that was given up `given_up` times before. `None` if
    /// none is learnt: then the LM's own timeout applies.
    pub(super) fn learnt_timeout(&self, most_tokens: Option<u64>, given_up: u32) -> Option<Duration> {
        let learnt = learnt_timeout::learnt(&self.counts.last_answers.all(), most_tokens)?;
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
                let cause = lock(&self.last_error).clone().map(|(message, _)| message);
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

/// The right of the call at the head of a gate's queue to be released next.
pub(super) struct Head<'a> {
    /// The locks of the gate's queue and of its run's queue.
    _places: (tokio::sync::MutexGuard<'a, ()>, tokio::sync::MutexGuard<'a, ()>),
    _waiting: WaitingCall<'a>,
}

/// Counts a waiting call until it is dropped.
struct WaitingCall<'a>(&'a AtomicU64);

impl<'a> WaitingCall<'a> {
    fn new(count: &'a AtomicU64) -> WaitingCall<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        WaitingCall(count)
    }
}

impl Drop for WaitingCall<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) async fn permit(permits: &Semaphore) -> SemaphorePermit<'_> {
    permits.acquire().await.expect("the semaphore is never closed")
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
