//! What a worker says of itself to the runs that it works on, and what it hears of them.

use super::lease::{HEARTBEAT, LEASE};
use crate::coordination::{Coordination, Process, WorkerInfo};
use crate::task::RunId;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info};

/// How long after its last task a run still hears of this worker.
const INTEREST: Duration = Duration::from_secs(60);

/// Keeps a worker's name on the roster of each run that it works on.
pub(super) struct Heartbeats {
    coordination: Arc<dyn Coordination>,
    info: WorkerInfo,
    /// Held for look-ups only, never across an await.
    runs: Mutex<HashMap<RunId, ActiveRun>>,
    /// Rings when there is a new run.
    news: Notify,
}

struct ActiveRun {
    last_task: Instant,
    /// `None`: not known yet.
    is_cancelled: Option<bool>,
}

impl Heartbeats {
    pub(super) fn new(coordination: Arc<dyn Coordination>, info: WorkerInfo) -> Heartbeats {
        Heartbeats {
            coordination,
            info,
            runs: Mutex::default(),
            news: Notify::new(),
        }
    }

    /// A task of the run has come; gives whether it is void because the run was cancelled.
    pub(super) async fn is_void(&self, run: &RunId) -> bool {
        let known = self.works_on(run);
        match known {
            Some(false) => false,
            // It may have been taken up again since.
            Some(true) => self.coordination.is_cancelled(run).await.unwrap_or(true),
            // Where the roster is away, so is the store: nothing is done before both are back.
            None => self.coordination.is_cancelled(run).await.unwrap_or(false),
        }
    }

    /// Which worker this is.
    pub(super) fn process(&self) -> &Process {
        &self.info.process
    }

    /// Whether the run was cancelled, asked now: for work that goes on for long. Where nobody answers, it goes on.
    pub(super) async fn is_cancelled(&self, run: &RunId) -> bool {
        self.works_on(run);
        self.coordination.is_cancelled(run).await.unwrap_or(false)
    }

    /// From now on the run hears of this worker. Gives whether it is known to be cancelled.
    fn works_on(&self, run: &RunId) -> Option<bool> {
        let mut runs = self.runs();
        // Every task comes by here: `entry` would ask each for a name of its own.
        if let Some(known) = runs.get_mut(run) {
            known.last_task = Instant::now();
            return known.is_cancelled;
        }
        let known = ActiveRun {
            last_task: Instant::now(),
            is_cancelled: None,
        };
        runs.insert(run.clone(), known);
        self.news.notify_one();
        None
    }

    /// Signs for as long as it is polled.
    pub(super) async fn keep(&self) -> Infallible {
        loop {
            let runs: Vec<RunId> = {
                let mut runs = self.runs();
                runs.retain(|_, run| run.last_task.elapsed() < INTEREST);
                runs.keys().cloned().collect()
            };
            for run in runs {
                self.show(&run).await;
            }
            tokio::select! {
                () = tokio::time::sleep(HEARTBEAT) => {}
                () = self.news.notified() => {}
            }
        }
    }

    async fn show(&self, run: &RunId) {
        let signed = self.coordination.heartbeat(run, &self.info, LEASE).await;
        let (Ok(()), Ok(is_cancelled)) = (signed, self.coordination.is_cancelled(run).await) else {
            return debug!(%run, "the roster is away");
        };
        if let Some(known) = self.runs().get_mut(run) {
            if is_cancelled && known.is_cancelled != Some(true) {
                info!(%run, "the run is cancelled: its tasks are dropped");
            }
            known.is_cancelled = Some(is_cancelled);
        }
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, ActiveRun>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
