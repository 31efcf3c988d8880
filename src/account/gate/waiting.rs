//! How calls wait at a gate: in its queue, for a permit, and for the end of a suspicion.

use super::{Gate, RequestInFlight};
use crate::account::gate_state::Readiness;
use crate::account::health::{CONFIRMED_BY_OTHERS, ServerHealth};
use crate::count_guard::CountGuard;
use crate::lock::lock;
use crate::shutdown::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// The calls of one run that wait at a gate, first come, first served. Only the first of them is in the queue of the gate. So runs take
/// turns, whatever their numbers of calls.
#[derive(Debug, Default)]
pub(in crate::account) struct RunQueue(tokio::sync::Mutex<()>);

/// Why a call is handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account) enum HandedBack {
    /// The account is refused.
    Closed,
    /// The process stops.
    Draining,
}

/// The result of waiting until a suspicion is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::account) enum Suspicion {
    /// Other calls are answered, so only this call is refused.
    Unfounded,
    /// The suspicion is open, and no other call could test it. The call sends its request again as the probe.
    Unconfirmed,
}

/// The right of the call at the head of a gate's queue to be released next.
pub(in crate::account) struct Head<'a> {
    /// The locks of the gate's queue and of its run's queue.
    _places: (tokio::sync::MutexGuard<'a, ()>, tokio::sync::MutexGuard<'a, ()>),
    _waiting: CountGuard<'a>,
}

impl Gate {
    /// Waits until a request of `bytes` bytes may be sent, and for a permit. A call that waits for the gate holds no permit.
    ///
    /// Cancel safe: a call that is dropped leaves the queue.
    ///
    /// # Errors
    ///
    /// Returns [`HandedBack`] if the account is closed, or if a drain began while the call waited.
    pub(in crate::account) async fn enter<'a>(
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
    pub(in crate::account) async fn head<'a>(
        &'a self,
        run: &'a RunQueue,
        bytes: usize,
        permits: &Semaphore,
        shutdown: &Shutdown,
    ) -> Result<Head<'a>, HandedBack> {
        let waiting = CountGuard::new(&self.counts.waiting);
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
    pub(in crate::account) async fn resolved(
        &self,
        era: u64,
        shutdown: &Shutdown,
    ) -> Result<Suspicion, HandedBack> {
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
}

pub(in crate::account) async fn permit(permits: &Semaphore) -> SemaphorePermit<'_> {
    permits.acquire().await.expect("the semaphore is never closed")
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
