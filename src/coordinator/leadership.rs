//! One coordinator per run: taking the run, keeping it, and hearing that it was cancelled.

use super::{Coordinator, RunError};
use crate::coordination::{LeaseResult, Process};
use crate::metrics::Service;
use crate::retry::RetryUntilShutdown;
use crate::task::RunId;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// How long a coordinator that gives no sign of life keeps its run.
const LEASE: Duration = Duration::from_secs(15);

/// Signs of life come so often that two of them may get lost.
const RENEW_EVERY: Duration = Duration::from_secs(5);

/// How soon a cancellation is heard.
const LISTEN_EVERY: Duration = Duration::from_millis(500);

/// How much longer another's time may come to be for it to be the same that was granted before.
const JITTER: Duration = Duration::from_millis(100);

/// Our hold on a run.
pub(super) struct Leadership {
    run: RunId,
    process: Process,
    /// When it was last granted.
    granted: Mutex<Instant>,
    cancelled: CancellationToken,
    /// Whether trainings are to be stopped before the process may go.
    trains: AtomicBool,
}

/// While it lives, a cancellation does not drain: whoever holds it stops the trainings first.
pub(super) struct CancelGuard(Arc<Leadership>);

impl Drop for CancelGuard {
    fn drop(&mut self) {
        self.0.trains.store(false, Ordering::Relaxed);
    }
}

impl Leadership {
    /// Takes the run. Where a dead process still has it, waits for the end of its time; where a living one has it, gives up. Holds
    /// on while the roster is away.
    pub(super) async fn take(coordinator: &Coordinator, run: &RunId) -> Result<Leadership, RunError> {
        let process = Process::current();
        let granted = tokio::select! {
            granted = grant(coordinator, run, &process) => granted?,
            () = coordinator.shutdown.draining() => return Err(RunError::Interrupted),
        };
        let leadership = Leadership {
            run: run.clone(),
            process,
            granted: Mutex::new(granted),
            cancelled: CancellationToken::new(),
            trains: AtomicBool::new(false),
        };
        leadership.forget_request(coordinator)?;
        Ok(leadership)
    }

    /// The run.
    pub(super) fn run(&self) -> &RunId {
        &self.run
    }

    /// Gives signs of life and listens for a cancellation, which drains. Returns only when the run is another's.
    pub(super) async fn keep(&self, coordinator: &Coordinator) -> RunError {
        loop {
            tokio::time::sleep(LISTEN_EVERY).await;
            if self.since_granted() >= RENEW_EVERY
                && let Err(lost) = self.renew(coordinator).await
            {
                return lost;
            }
            if !self.is_cancelled() && self.hears_cancellation(coordinator).await {
                self.cancelled.cancel();
                if !self.trains.load(Ordering::Relaxed) {
                    info!("the run is cancelled: finishing what is in flight");
                    coordinator.shutdown.drain();
                }
            }
        }
    }

    /// Makes sure that the run is ours now, as it may not be after this process stood still.
    pub(super) async fn confirm(&self, coordinator: &Coordinator) -> Result<(), RunError> {
        if self.since_granted() + RENEW_EVERY < LEASE {
            return Ok(());
        }
        self.renew(coordinator).await
    }

    /// Lets the run go.
    pub(super) async fn resign(&self, coordinator: &Coordinator) {
        if let Err(error) = coordinator
            .coordination
            .release_lease(&self.run, &self.process)
            .await
        {
            debug!(%error, "not resigned; our time runs out by itself");
        }
    }

    /// Returns when somebody cancels the run. Cancel safe.
    pub(super) async fn cancellation(&self) {
        self.cancelled.cancelled().await;
    }

    /// Whether somebody has cancelled the run, asked now.
    pub(super) async fn hears_now(&self, coordinator: &Coordinator) -> bool {
        self.is_cancelled() || self.hears_cancellation(coordinator).await
    }

    /// From now on the caller carries out a cancellation.
    pub(super) fn trains(self: &Arc<Leadership>) -> CancelGuard {
        self.trains.store(true, Ordering::Relaxed);
        CancelGuard(Arc::clone(self))
    }

    /// Whether somebody cancelled the run.
    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }

    async fn renew(&self, coordinator: &Coordinator) -> Result<(), RunError> {
        match coordinator
            .coordination
            .acquire_lease(&self.run, &self.process, LEASE)
            .await
        {
            Ok(LeaseResult::Acquired) => {
                *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                Ok(())
            }
            Ok(LeaseResult::HeldBy { process, .. }) => Err(RunError::Replaced {
                run: self.run.clone(),
                process,
            }),
            // Nobody else can take the run meanwhile.
            Err(error) => {
                debug!(%error, "no sign of life given; the next one comes soon");
                Ok(())
            }
        }
    }

    async fn hears_cancellation(&self, coordinator: &Coordinator) -> bool {
        if coordinator.dir.cancel_request().exists() {
            // For workers elsewhere. Where that fails they find nothing more to do before long.
            if let Err(error) = coordinator.coordination.cancel(&self.run).await {
                debug!(%error, "the workers do not hear of the cancellation");
            }
            return true;
        }
        matches!(coordinator.coordination.is_cancelled(&self.run).await, Ok(true))
    }

    /// Removes a request to cancel that an earlier process of the run did not see, or saw.
    fn forget_request(&self, coordinator: &Coordinator) -> Result<(), RunError> {
        let path = coordinator.dir.cancel_request();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RunError::at(path)(error)),
            _ => Ok(()),
        }
    }

    fn since_granted(&self) -> Duration {
        self.granted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .elapsed()
    }
}

/// Waits until the run is the process's, and takes a cancellation back. Gives when it was granted.
async fn grant(coordinator: &Coordinator, run: &RunId, process: &Process) -> Result<Instant, RunError> {
    let coordination = &coordinator.coordination;
    let retry = RetryUntilShutdown::new(
        coordinator.shutdown.clone(),
        coordinator.metrics.waits(Service::Redis),
    );
    let mut before: Option<(Process, Duration)> = None;
    // One from before this process is what it is started to take back; one that comes while it waits is meant for it.
    let was_cancelled = retry.retry(|| coordination.is_cancelled(run)).await?;
    let granted = loop {
        let asked = Instant::now();
        let (other, left) = match retry
            .retry(|| coordination.acquire_lease(run, process, LEASE))
            .await?
        {
            LeaseResult::Acquired => break asked,
            LeaseResult::HeldBy { process, left } => (process, left),
        };
        let has_renewed = |(known, was): &(Process, Duration)| *known == other && left > *was + JITTER;
        if before.as_ref().is_some_and(has_renewed) {
            let (run, process) = (run.clone(), other);
            return Err(RunError::InUse { run, process });
        }
        if before.is_none() {
            info!(
                "{other} had this run: it is ours in {} s if that process is dead",
                left.as_secs() + 1
            );
        }
        before = Some((other, left));
        if !was_cancelled && retry.retry(|| coordination.is_cancelled(run)).await? {
            return Err(RunError::Cancelled);
        }
        tokio::time::sleep(LISTEN_EVERY).await;
    };
    retry.retry(|| coordination.resume(run)).await?;
    Ok(granted)
}
