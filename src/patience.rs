//! Holding on: what a passing trouble kept from happening is done again until it happens.

use crate::backoff::Backoff;
use crate::broker::{BrokerError, Recourse};
use crate::metrics::Waits;
use crate::shutdown::Shutdown;
use crate::store::StoreError;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often an outage that goes on is told of again.
const TELL_EVERY: Duration = Duration::from_secs(30);

/// An error that may pass by itself.
pub(crate) trait Passing: fmt::Display {
    fn passes(&self) -> bool;

    /// Whether it passes only when somebody does something about it.
    fn wants_hands(&self) -> bool {
        false
    }
}

impl Passing for StoreError {
    fn passes(&self) -> bool {
        matches!(self.recourse(), Recourse::Retry)
    }

    fn wants_hands(&self) -> bool {
        matches!(self, StoreError::LockedOut { .. })
    }
}

impl Passing for BrokerError {
    fn passes(&self) -> bool {
        matches!(self.recourse(), Recourse::Retry)
    }
}

/// Holds on for one service. Many calls at once share it, so that an outage is told of once.
pub(crate) struct Patience {
    shutdown: Shutdown,
    waits: Waits,
    outage: Mutex<Option<Outage>>,
}

struct Outage {
    began: Instant,
    told: Instant,
    wants_hands: bool,
}

impl Patience {
    /// Until `shutdown` asks to stop at once. Calls that have to be repeated are counted.
    pub(crate) fn new(shutdown: Shutdown, waits: Waits) -> Patience {
        Patience {
            shutdown,
            waits,
            outage: Mutex::new(None),
        }
    }

    /// Tries until it succeeds, fails for good, or the process is to stop at once: then the last error is given.
    pub(crate) async fn insist<'a, T, E: Passing>(
        &self,
        attempt: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        self.insist_until(self.shutdown.aborting(), attempt).await
    }

    /// The same for what only begins something, and holds nothing that could be lost: a process that drains does not wait to begin.
    pub(crate) async fn insist_on_beginning<'a, T, E: Passing>(
        &self,
        attempt: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        self.insist_until(self.shutdown.draining(), attempt).await
    }

    async fn insist_until<'a, T, E: Passing>(
        &self,
        end: impl Future<Output = ()>,
        mut attempt: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        let mut end = std::pin::pin!(end);
        let mut backoff = Backoff::default();
        let mut is_counted = false;
        loop {
            let error = match attempt().await {
                Err(error) if error.passes() => error,
                ended => {
                    self.over(&ended);
                    return ended;
                }
            };
            self.tell(&error);
            if !std::mem::replace(&mut is_counted, true) {
                self.waits.waited();
            }
            tokio::select! {
                biased;
                () = &mut end => return Err(error),
                () = backoff.pause() => {}
            }
        }
    }

    fn tell(&self, error: &impl Passing) {
        let mut outage = self.outage();
        let now = Instant::now();
        match &mut *outage {
            None => {
                *outage = Some(Outage {
                    began: now,
                    told: now,
                    wants_hands: error.wants_hands(),
                });
                warn!("{error}; holding on");
            }
            // A server that was away and is back with another password is news.
            Some(outage)
                if outage.told.elapsed() >= TELL_EVERY || outage.wants_hands != error.wants_hands() =>
            {
                outage.told = now;
                outage.wants_hands = error.wants_hands();
                let for_s = outage.began.elapsed().as_secs();
                warn!(for_s, "{error}; still holding on");
            }
            Some(_) => {}
        }
    }

    fn over<T, E>(&self, ended: &Result<T, E>) {
        if ended.is_ok()
            && let Some(outage) = self.outage().take()
        {
            let after_s = outage.began.elapsed().as_secs();
            info!(after_s, "the service is back");
        }
    }

    fn outage(&self) -> std::sync::MutexGuard<'_, Option<Outage>> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
