//! Leadership of a run: acquiring the coordinator's lease, renewing it, and noticing a cancellation.

use super::configuration::Coordinator;
use super::error::RunError;
use crate::coordination::{Coordination, LEADER_LEASE, LEADER_RENEWAL, LeaseResult, LeaseWatch, Process};
use crate::lock::lock;
use crate::metrics::Service;
use crate::retry::RetryUntilShutdown;
use crate::shutdown::Shutdown;
use crate::task::RunId;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How often the coordinator checks for a cancellation.
const CHECK_EVERY: Duration = Duration::from_millis(500);

/// The lease that makes this process the run's only coordinator.
pub(super) struct Leadership {
    run: RunId,
    process: Process,
    coordination: Arc<dyn Coordination>,
    shutdown: Shutdown,
    /// The file with which `cancel DIR` requests a cancellation.
    cancel_request: PathBuf,
    /// When the lease was granted last.
    granted: Mutex<Instant>,
    cancelled: CancellationToken,
    /// Whether a [`CancelGuard`] exists.
    is_guarded: AtomicBool,
    /// Whether this process made the workers drop the run's tasks.
    has_voided_tasks: AtomicBool,
}

/// While it exists, a cancellation does not drain the process: its holder cancels the trainings first.
pub(super) struct CancelGuard<'a>(&'a Leadership);

impl Drop for CancelGuard<'_> {
    fn drop(&mut self) {
        self.0.is_guarded.store(false, Ordering::Relaxed);
    }
}

impl Leadership {
    /// Acquires the run's lease and clears an earlier cancellation. Waits for the lease of a dead process to expire, and fails if a
    /// living process holds it. Retries while the coordination service is away.
    pub(super) async fn acquire(coordinator: &Coordinator, run: &RunId) -> Result<Leadership, RunError> {
        let process = Process::current();
        let granted = tokio::select! {
            granted = acquire_lease(coordinator, run, &process) => granted?,
            () = coordinator.shutdown.draining() => return Err(RunError::Interrupted),
        };
        let cancel_request = coordinator.dir.cancel_request();
        // A request from before this start is cleared with the cancellation.
        remove_if_present(&cancel_request)?;
        Ok(Leadership {
            run: run.clone(),
            process,
            coordination: Arc::clone(&coordinator.backends.coordination),
            shutdown: coordinator.shutdown.clone(),
            cancel_request,
            granted: Mutex::new(granted),
            cancelled: CancellationToken::new(),
            is_guarded: AtomicBool::new(false),
            has_voided_tasks: AtomicBool::new(false),
        })
    }

    /// Sends heartbeats and checks for a cancellation, which drains the process. Returns only when another coordinator took the run.
    pub(super) async fn keep(&self) -> RunError {
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            if self.since_granted() >= LEADER_RENEWAL
                && let Err(replaced) = self.renew().await
            {
                return replaced;
            }
            let is_cancellation_new = !self.is_cancelled() && !self.has_voided_tasks.load(Ordering::Relaxed);
            if is_cancellation_new && self.find_cancellation().await {
                self.cancelled.cancel();
                if !self.is_guarded.load(Ordering::Relaxed) {
                    info!("run cancelled; draining");
                    self.shutdown.drain();
                }
            }
        }
    }

    /// Fails if the run is another coordinator's by now, as it may be after this process was suspended.
    pub(super) async fn confirm(&self) -> Result<(), RunError> {
        if self.since_granted() + LEADER_RENEWAL < LEADER_LEASE {
            return Ok(());
        }
        self.renew().await
    }

    /// Gives the lease up.
    pub(super) async fn resign(&self) {
        if let Err(error) = self.coordination.release_lease(&self.run, &self.process).await {
            debug!(%error, "lease not given up; it expires");
        }
    }

    /// Makes the workers drop the run's tasks, because the run stops. The next start publishes them again.
    pub(super) async fn void_tasks(&self) {
        self.has_voided_tasks.store(true, Ordering::Relaxed);
        if let Err(error) = self.coordination.cancel(&self.run).await {
            debug!(%error, "workers not told that the run stops; they work on what is published");
        }
    }

    /// Returns when the run is cancelled. Cancel safe.
    pub(super) async fn cancellation(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether the run is cancelled, according to the services at this moment.
    pub(super) async fn is_cancelled_now(&self) -> bool {
        self.is_cancelled() || self.find_cancellation().await
    }

    /// Makes the caller responsible for carrying out a cancellation.
    pub(super) fn guard_cancellation(&self) -> CancelGuard<'_> {
        self.is_guarded.store(true, Ordering::Relaxed);
        CancelGuard(self)
    }

    /// Whether a cancellation was noticed.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    async fn renew(&self) -> Result<(), RunError> {
        match self
            .coordination
            .acquire_lease(&self.run, &self.process, LEADER_LEASE)
            .await
        {
            Ok(LeaseResult::Acquired) => {
                *lock(&self.granted) = Instant::now();
                Ok(())
            }
            Ok(LeaseResult::HeldBy { process, .. }) => Err(RunError::Replaced {
                run: self.run.clone(),
                process,
            }),
            // While the service is away, no other process can acquire the lease.
            Err(error) => {
                debug!(%error, "heartbeat failed; retrying soon");
                Ok(())
            }
        }
    }

    async fn find_cancellation(&self) -> bool {
        if self.cancel_request.exists() {
            // Workers of other processes read it there. If this fails, they soon run out of tasks.
            if let Err(error) = self.coordination.cancel(&self.run).await {
                debug!(%error, "cancellation not published to the workers");
            }
            return true;
        }
        matches!(self.coordination.is_cancelled(&self.run).await, Ok(true))
    }

    fn since_granted(&self) -> Duration {
        lock(&self.granted).elapsed()
    }
}

fn remove_if_present(file: &Path) -> Result<(), RunError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RunError::with_path(file)(error)),
        _ => Ok(()),
    }
}

/// Waits until the process has the run's lease, and clears a cancellation. Returns when the lease was requested.
async fn acquire_lease(
    coordinator: &Coordinator,
    run: &RunId,
    process: &Process,
) -> Result<Instant, RunError> {
    let coordination = &coordinator.backends.coordination;
    let retry = RetryUntilShutdown::new(
        coordinator.shutdown.clone(),
        coordinator.metrics.waits(Service::Redis),
    );
    let mut watch = LeaseWatch::default();
    // This start clears an earlier cancellation; a cancellation during the wait is meant for this start.
    let was_cancelled = retry.retry(|| coordination.is_cancelled(run)).await?;
    let granted = loop {
        let requested = Instant::now();
        let (holder, left) = match retry
            .retry(|| coordination.acquire_lease(run, process, LEADER_LEASE))
            .await?
        {
            LeaseResult::Acquired => break requested,
            LeaseResult::HeldBy { process, left } => (process, left),
        };
        let is_first = watch.is_new();
        if watch.is_renewed(&holder, left) {
            return Err(RunError::InUse {
                run: run.clone(),
                process: holder,
            });
        }
        if is_first {
            info!(%holder, at_most_secs = left.as_secs() + 1, "waiting for another coordinator's lease to expire");
        }
        if !was_cancelled && retry.retry(|| coordination.is_cancelled(run)).await? {
            return Err(RunError::Cancelled);
        }
        tokio::time::sleep(CHECK_EVERY).await;
    };
    retry.retry(|| coordination.resume(run)).await?;
    Ok(granted)
}
