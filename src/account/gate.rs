//! The gate of one model at one address with one key: releases calls, one at a time where something limits them.

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
use super::lock;
use crate::lm::{LmSettings, LmState, LmStatus};
use crate::shutdown::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, SemaphorePermit, watch};
use tokio::time::{Instant, sleep_until};

/// Through it go all calls of a process to one model at one address with one key.
#[derive(Debug)]
pub struct Gate {
    model: String,
    address: String,
    key_variable: Option<String>,
    made: Instant,
    /// Whether nothing limits. Written under the lock of `state` only.
    is_free: AtomicBool,
    /// The eras of `state`, for calls that do not look into it.
    eras: [AtomicU64; 2],
    pub(super) counts: Counts,
    state: Mutex<GateState>,
    /// Whether an earlier process of a run got answers.
    was_accepted_before: AtomicBool,
    /// The last request that was not answered: the server's words, and when.
    last_error: Mutex<Option<(String, Instant)>>,
    /// Its holder is the head of the queue of calls that wait: one call of each run, in the order in which they came.
    queue: tokio::sync::Mutex<()>,
    /// Notified when `state` may let a call through that it did not let through before.
    changed: Notify,
    /// Notified when a report to the shared state may be due.
    report_wanted: Notify,
    /// Permits that the last such call found.
    free_permits: AtomicU64,
    state_changes: watch::Sender<()>,
}

/// The calls of one run that wait at a gate, in the order in which they came. Only the first of them is in the queue of the gate, so that
/// runs take turns, however many calls each of them has.
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

/// What became of a suspicion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// Other calls are answered: it is the call's own.
    Unfounded,
    /// It is open; no other call could be asked. The call asks again, as the probe.
    Unconfirmed,
}

impl Gate {
    /// `is_shared`: slots come from the state that the workers of a cluster share.
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

    /// Sets the declared limits of its account.
    pub(super) fn declare(&self, declared: Option<Arc<DeclaredLimits>>) {
        self.change(|state, _| state.declared = declared);
    }

    /// What the process sees of the LM.
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

    /// Waits until a request of so many bytes may be sent, and for a permit. A call that waits for the gate holds no permit.
    ///
    /// Cancel safe: a call that is dropped leaves the queue.
    pub(super) async fn enter<'a>(
        &'a self,
        run: &'a RunQueue,
        bytes: usize,
        permits: &'a Semaphore,
        shutdown: &Shutdown,
    ) -> Result<RequestInFlight<'a>, HandedBack> {
        if self.is_free() {
            let permit = permit(permits).await;
            // The wait for the permit may have been long.
            if self.is_free() {
                return Ok(self.pass(permit, bytes));
            }
        }
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
                    // The head itself is one of those that wait.
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

    /// Waits in the queue until a request of so many bytes may be sent.
    ///
    /// Cancel safe: a call that is dropped leaves the queue.
    pub(super) async fn head<'a>(
        &'a self,
        run: &'a RunQueue,
        bytes: usize,
        permits: &Semaphore,
        shutdown: &Shutdown,
    ) -> Result<Head<'a>, HandedBack> {
        let waiting = WaitingCall::new(&self.counts.waiting);
        // In a drain, too: each head before it is released or handed back at once.
        let of_run = run.0.lock().await;
        let places = (self.queue.lock().await, of_run);
        self.ready(bytes, permits, shutdown).await?;
        Ok(Head {
            _places: places,
            _waiting: waiting,
        })
    }

    /// The head of the queue waits until a request of so many bytes may be sent. In a drain it is handed back if it would have to wait:
    /// tasks in flight end with the calls that the account lets through.
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
            // The first poll registers it for notifications.
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
                    // Slots are reserved for calls that can use them.
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

    /// Waits until the suspicion of this era is settled, or no other call could be asked.
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

    /// Whether no server answers.
    pub(super) fn is_simulated(&self) -> bool {
        self.address.is_empty()
    }

    /// Another process of the run has got answers.
    pub(super) fn accepted_before(&self) {
        self.was_accepted_before.store(true, Ordering::Relaxed);
    }

    /// Whether the account has been accepted, in this process or an earlier one.
    pub(super) fn was_accepted(&self) -> bool {
        self.answered() > 0 || self.was_accepted_before.load(Ordering::Relaxed)
    }

    /// Answers so far.
    pub(super) fn answered(&self) -> u64 {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// Whether no call but this one, which is not in flight, is at the gate.
    pub(super) fn is_idle(&self) -> bool {
        let at_gate = [&self.counts.in_flight, &self.counts.waiting];
        at_gate.iter().all(|count| count.load(Ordering::Relaxed) == 0)
    }

    /// Failures of the server since its last answer.
    pub(super) fn failures_in_row(&self) -> u32 {
        self.counts.failures_in_row.load(Ordering::Relaxed)
    }

    pub(super) fn is_free(&self) -> bool {
        self.is_free.load(Ordering::Acquire)
    }

    /// The second of the time since the gate was made.
    pub(super) fn second(&self, at: Instant) -> u64 {
        self.since_made(at).as_secs()
    }

    pub(super) fn failed_with(&self, message: &str) {
        *lock(&self.last_error) = Some((message.to_owned(), Instant::now()));
    }

    /// Changes the state, and wakes the calls that wait for it.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut GateState, Instant) -> T) -> T {
        let changed = self.update(change);
        self.changed.notify_waiters();
        changed
    }

    /// Looks at the last answers if it is time to, after so many.
    pub(super) fn watch(&self, answers: u64) {
        if !self.is_simulated() && answers.is_multiple_of(BATCH) {
            self.update(|state, now| {
                if let Some(concurrency) = &mut state.concurrency {
                    concurrency.watch(self.view(now));
                }
            });
        }
    }

    /// What an answer of now is measured by.
    pub(super) fn view(&self, now: Instant) -> View<'_> {
        View {
            answers: &self.counts.last_answers,
            in_flight: self.counts.in_flight.load(Ordering::Relaxed),
            is_awaited: self.counts.waiting.load(Ordering::Relaxed) > 0,
            now,
        }
    }

    /// How long a request is waited for that had so many tokens at most and was given up so often: `None` for as long as its LM allows.
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

    /// Changes the state, and reports a change of the health.
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

    /// Releases the call if it is still ready: the wait for the permit may have been long. So many calls wait behind it.
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

    /// Lets calls that do not look into the state know of it.
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

/// The place at the head of a gate's queue.
pub(super) struct Head<'a> {
    /// In the queue of the gate, and in that of its run.
    _places: (tokio::sync::MutexGuard<'a, ()>, tokio::sync::MutexGuard<'a, ()>),
    _waiting: WaitingCall<'a>,
}

/// Counts a call that waits.
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
