//! Retries calls until they succeed: decorators of broker, store and artifacts that outlast an outage of
//! their service.

mod artifacts;
mod broker;
mod store;

pub use artifacts::RetryingArtifacts;
pub use broker::RetryingBroker;
pub use store::RetryingStore;

use crate::backoff::Backoff;
use crate::lock::lock;
use crate::metrics::Waits;
use crate::shutdown::Shutdown;
use futures_util::future::BoxFuture;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often an ongoing outage is logged.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// Errors that may pass without a change to the call.
pub(crate) trait Transient: fmt::Display {
    fn is_transient(&self) -> bool;

    /// Whether it passes only after an operator acts.
    fn needs_operator(&self) -> bool {
        false
    }
}

/// Retries calls to one service. Concurrent calls share it, so that an outage is logged once.
pub(crate) struct RetryUntilShutdown {
    shutdown: Shutdown,
    waits: Waits,
    outage: Mutex<Option<Outage>>,
}

struct Outage {
    began: Instant,
    warned: Instant,
    needs_operator: bool,
}

impl RetryUntilShutdown {
    /// Retries end when `shutdown` aborts. `waits` counts the calls that had to be retried.
    pub(crate) fn new(shutdown: Shutdown, waits: Waits) -> RetryUntilShutdown {
        RetryUntilShutdown {
            shutdown,
            waits,
            outage: Mutex::new(None),
        }
    }

    /// Calls `attempt` until it succeeds or fails with a permanent error. When the process aborts, returns
    /// the last error.
    pub(crate) async fn retry<'a, T, E: Transient>(
        &self,
        attempt: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        self.retry_until(self.shutdown.aborting(), attempt).await
    }

    /// Like [`Self::retry`], for calls that begin work and hold nothing that could be lost: a draining
    /// process does not wait for them.
    pub(crate) async fn retry_until_drain<'a, T, E: Transient>(
        &self,
        attempt: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        self.retry_until(self.shutdown.draining(), attempt).await
    }

    async fn retry_until<'a, T, E: Transient>(
        &self,
        end: impl Future<Output = ()>,
        mut attempt: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        let mut end = std::pin::pin!(end);
        let mut backoff = Backoff::default();
        let mut is_counted = false;
        loop {
            let error = match attempt().await {
                Err(error) if error.is_transient() => error,
                ended => {
                    self.over(&ended);
                    return ended;
                }
            };
            self.warn(&error);
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

    fn warn(&self, error: &impl Transient) {
        let mut outage = self.outage();
        let now = Instant::now();
        match &mut *outage {
            None => {
                *outage = Some(Outage {
                    began: now,
                    warned: now,
                    needs_operator: error.needs_operator(),
                });
                warn!("{error}; retrying");
            }
            // A server that returned with another password is a different outage.
            Some(outage)
                if outage.warned.elapsed() >= WARN_EVERY
                    || outage.needs_operator != error.needs_operator() =>
            {
                outage.warned = now;
                outage.needs_operator = error.needs_operator();
                let for_s = outage.began.elapsed().as_secs();
                warn!(for_s, "{error}; still retrying");
            }
            Some(_) => {}
        }
    }

    fn over<T, E>(&self, ended: &Result<T, E>) {
        if ended.is_ok()
            && let Some(outage) = self.outage().take()
        {
            let after_s = outage.began.elapsed().as_secs();
            info!(after_s, "service is back");
        }
    }

    fn outage(&self) -> std::sync::MutexGuard<'_, Option<Outage>> {
        lock(&self.outage)
    }
}
