//! Heartbeats: the worker reports itself to the runs it works on, and learns whether they are cancelled.

use super::lease::{HEARTBEAT, LEASE};
use crate::account::Accounts;
use crate::coordination::{Coordination, JobRefusal, Process, WorkerInfo};
use crate::lm::{LmState, LmStatus};
use crate::lock::lock;
use crate::metrics::{AccountReading, Metrics};
use crate::task::RunId;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info};

/// How long after its last task a run still receives heartbeats.
const KEPT_AFTER_LAST_TASK: Duration = Duration::from_secs(60);

/// How often heartbeats are sent that stay in the process.
const HEARTBEAT_IN_PROCESS: Duration = Duration::from_secs(1);

/// The runs that the worker works on.
pub(super) struct Heartbeats {
    coordination: Arc<dyn Coordination>,
    /// Without the state of the LMs.
    info: WorkerInfo,
    /// What the process sees of its LMs.
    accounts: Arc<Accounts>,
    metrics: Arc<Metrics>,
    /// Locked for look-ups only, never across an await.
    runs: Mutex<HashMap<RunId, ActiveRun>>,
    /// Notified when a run is added, or refused.
    run_added: Notify,
    /// Whether a run was refused since the start.
    has_refusals: AtomicBool,
}

struct ActiveRun {
    last_task: Instant,
    /// `None` until the first answer.
    is_cancelled: Option<bool>,
    refusal: Option<JobRefusal>,
}

impl Heartbeats {
    pub(super) fn new(
        coordination: Arc<dyn Coordination>,
        info: WorkerInfo,
        accounts: Arc<Accounts>,
        metrics: Arc<Metrics>,
    ) -> Heartbeats {
        Heartbeats {
            coordination,
            info,
            accounts,
            metrics,
            runs: Mutex::default(),
            run_added: Notify::new(),
            has_refusals: AtomicBool::new(false),
        }
    }

    /// Registers a task of the run, and returns whether the task is void because the run is cancelled.
    pub(super) async fn is_void(&self, run: &RunId) -> bool {
        let known = self.watch(run);
        match known {
            Some(false) => false,
            // It may have been resumed since.
            Some(true) => self.coordination.is_cancelled(run).await.unwrap_or(true),
            // If coordination is unavailable, so is the store, and no task proceeds.
            None => self.coordination.is_cancelled(run).await.unwrap_or(false),
        }
    }

    pub(super) fn process(&self) -> &Process {
        &self.info.process
    }

    /// Asks now whether the run is cancelled, for long work. On an error the work continues.
    pub(super) async fn is_cancelled(&self, run: &RunId) -> bool {
        self.watch(run);
        self.coordination.is_cancelled(run).await.unwrap_or(false)
    }

    /// Adds the run to the heartbeats. Returns whether it is known to be cancelled.
    fn watch(&self, run: &RunId) -> Option<bool> {
        let mut runs = self.runs();
        // On the path of every task: `entry` would clone the run id each time.
        if let Some(known) = runs.get_mut(run) {
            known.last_task = Instant::now();
            return known.is_cancelled;
        }
        let known = ActiveRun {
            last_task: Instant::now(),
            is_cancelled: None,
            refusal: None,
        };
        runs.insert(run.clone(), known);
        self.run_added.notify_one();
        None
    }

    /// Enters why this worker cannot connect to the run's LMs, so that the coordinator can report it.
    pub(super) fn refuse(&self, run: &RunId, refusal: JobRefusal) {
        let mut runs = self.runs();
        if let Some(known) = runs.get_mut(run)
            && known.refusal.as_ref() != Some(&refusal)
        {
            known.refusal = Some(refusal);
            self.has_refusals.store(true, Ordering::Relaxed);
            self.run_added.notify_one();
        }
    }

    /// This worker can connect to the run's LMs.
    pub(super) fn accept(&self, run: &RunId) {
        // On the path of every task.
        if self.has_refusals.load(Ordering::Relaxed)
            && let Some(known) = self.runs().get_mut(run)
        {
            known.refusal = None;
        }
    }

    /// Sends heartbeats while it is polled: regularly, and at once when a run is added or the state of an LM changes.
    pub(super) async fn run(&self) -> Infallible {
        let mut changes = self.accounts.state_changes();
        let every = if self.coordination.is_in_process() {
            HEARTBEAT_IN_PROCESS
        } else {
            HEARTBEAT
        };
        loop {
            let runs: Vec<(RunId, Option<JobRefusal>)> = {
                let mut runs = self.runs();
                runs.retain(|_, run| run.last_task.elapsed() < KEPT_AFTER_LAST_TASK);
                let runs = runs.iter();
                runs.map(|(id, run)| (id.clone(), run.refusal.clone())).collect()
            };
            let mut info = WorkerInfo {
                lms: self.accounts.statuses(),
                ..self.info.clone()
            };
            self.export(&info.lms);
            for (run, refusal) in runs {
                info.refusal = refusal;
                self.beat(&run, &info).await;
            }
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.run_added.notified() => {}
                () = changes.changed() => {}
            }
        }
    }

    fn export(&self, lms: &[LmStatus]) {
        for lm in lms.iter().filter(|lm| !lm.address.is_empty()) {
            self.metrics.account.export(&AccountReading {
                model: &lm.model,
                address: &lm.address,
                key: lm.key_variable.as_deref().unwrap_or_default(),
                waiting: lm.waiting,
                limit_per_sec: lm.limit_per_min.map(|per_min| per_min as f64 / 60.0),
                throttled: lm.throttled,
                away_secs: match lm.state {
                    LmState::Away { secs } => Some(secs),
                    LmState::Open | LmState::Closed(_) => None,
                },
                closed: match &lm.state {
                    LmState::Closed(account) => Some(account.cause.name()),
                    LmState::Open | LmState::Away { .. } => None,
                },
                latency_secs: lm.latency_ms.map(|ms| ms as f64 / 1000.0),
            });
        }
    }

    async fn beat(&self, run: &RunId, info: &WorkerInfo) {
        let signed = self.coordination.heartbeat(run, info, LEASE).await;
        let (Ok(()), Ok(is_cancelled)) = (signed, self.coordination.is_cancelled(run).await) else {
            return debug!(%run, "heartbeat failed");
        };
        if let Some(known) = self.runs().get_mut(run) {
            if is_cancelled && known.is_cancelled != Some(true) {
                info!(%run, "run cancelled; dropping its tasks");
            }
            known.is_cancelled = Some(is_cancelled);
        }
    }

    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, ActiveRun>> {
        lock(&self.runs)
    }
}
