//! The roster: who works on a run, whether it was cancelled, and how far it is, for those who are not in the same process.
//!
//! Nothing here is needed to get the right result, except that a run has one coordinator at a time.

mod single_process;

pub use single_process::SingleProcess;

use crate::broker::Queue;
use crate::store::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Where processes find each other. Every method may be called again after an error.
#[async_trait]
pub trait Coordination: Send + Sync {
    /// Makes the process the run's only coordinator for `lease` from now, unless another one's time runs.
    async fn acquire_lease(
        &self,
        run: &RunId,
        process: &Process,
        lease: Duration,
    ) -> Result<LeaseResult, StoreError>;

    /// Ends the process's time as coordinator. Harmless when it has none.
    async fn release_lease(&self, run: &RunId, process: &Process) -> Result<(), StoreError>;

    /// Says that the worker is there and works on the run, for `lease` from now.
    async fn heartbeat(&self, run: &RunId, worker: &WorkerInfo, lease: Duration) -> Result<(), StoreError>;

    /// The workers whose time runs, in order of their ids.
    async fn workers(&self, run: &RunId) -> Result<Vec<WorkerInfo>, StoreError>;

    /// Nobody is to work on the run, until it is resumed.
    async fn cancel(&self, run: &RunId) -> Result<(), StoreError>;

    /// Takes a cancellation back.
    async fn resume(&self, run: &RunId) -> Result<(), StoreError>;

    /// Whether the run was cancelled.
    async fn is_cancelled(&self, run: &RunId) -> Result<bool, StoreError>;

    /// Keeps how far the run is: its manifest's bytes.
    async fn report(&self, run: &RunId, manifest: &[u8]) -> Result<(), StoreError>;

    /// How far each run is that was ever reported here and is still known, in order of their ids.
    async fn reports(&self) -> Result<Vec<(RunId, Vec<u8>)>, StoreError>;
}

/// Who has a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseResult {
    /// We have it.
    Acquired,
    /// Another coordinator has it.
    HeldBy {
        /// Which.
        process: Process,
        /// How long its time still runs, if it gives no further sign of life.
        left: Duration,
    },
}

/// A process, told from every other, one of the same number after a restart included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Drawn at its start.
    pub id: String,
    /// The machine's name.
    pub host: String,
    /// Its number there.
    pub pid: u32,
    /// Its version of bsft.
    pub bsft: String,
}

impl Process {
    /// This process; every call gives another id.
    pub fn current() -> Process {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .or_else(|_| std::env::var("HOSTNAME"))
            .unwrap_or_else(|_| "unknown".to_owned());
        Process {
            id: format!("{:016x}", fastrand::u64(..)),
            host,
            pid: std::process::id(),
            bsft: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} on {}", self.pid, self.host)
    }
}

/// What a worker says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    /// The process.
    #[serde(flatten)]
    pub process: Process,
    /// The names of the lanes that it takes tasks from.
    pub lanes: Vec<String>,
    /// LM calls that it has in flight at most.
    pub concurrency: usize,
    /// The names of the trainers that it has.
    #[serde(default)]
    pub trainers: Vec<String>,
}

impl WorkerInfo {
    /// Whether it has the trainer of that name.
    pub fn has_trainer(&self, name: &str) -> bool {
        self.trainers.iter().any(|trainer| trainer == name)
    }

    /// Whether it takes tasks from the lane.
    pub fn takes(&self, queue: &Queue) -> bool {
        self.lanes.iter().any(|taken| taken == queue.name())
    }
}
