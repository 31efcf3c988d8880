//! Coordination between processes: leader election per run, worker membership, the cancel flag and the last
//! manifest of each run.
//!
//! The result of a run does not depend on it, except that a run has one coordinator at a time.

mod lease_watch;
mod single_process;

pub use lease_watch::LeaseWatch;
pub use single_process::SingleProcess;

use crate::broker::Queue;
use crate::lm::LmStatus;
use crate::store_error::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// How long a process leads a run without a renewal.
pub const LEADER_LEASE: Duration = Duration::from_secs(15);

/// The interval of the renewals: three per lease, so two may be lost.
pub const LEADER_RENEWAL: Duration = Duration::from_secs(5);

/// Every method may be called again after an error.
#[async_trait]
pub trait Coordination: Send + Sync {
    /// Makes the process the run's only coordinator for `lease` from now, unless another process holds the
    /// lease. The holder renews with the same call.
    async fn acquire_lease(
        &self,
        run: &RunId,
        process: &Process,
        lease: Duration,
    ) -> Result<LeaseResult, StoreError>;

    /// Ends the process's lease. No effect if it holds none.
    async fn release_lease(&self, run: &RunId, process: &Process) -> Result<(), StoreError>;

    /// Records for `lease` from now that the worker is alive and works on the run. A shared backend records nothing for a run whose job it
    /// does not have.
    async fn heartbeat(&self, run: &RunId, worker: &WorkerInfo, lease: Duration) -> Result<(), StoreError>;

    /// Whether heartbeats stay in the process, so that they may be sent often.
    fn is_in_process(&self) -> bool {
        false
    }

    /// The last heartbeats of the run's workers, without those that have expired, ordered by the worker's id.
    async fn workers(&self, run: &RunId) -> Result<Vec<Heartbeat>, StoreError>;

    /// Stops workers and coordinator from working on the run until it is resumed.
    async fn cancel(&self, run: &RunId) -> Result<(), StoreError>;

    /// Clears the cancellation.
    async fn resume(&self, run: &RunId) -> Result<(), StoreError>;

    async fn is_cancelled(&self, run: &RunId) -> Result<bool, StoreError>;

    /// Stores the manifest of the run, for `bsft status`.
    async fn report(&self, run: &RunId, manifest: &[u8]) -> Result<(), StoreError>;

    /// The stored manifests of all runs, ordered by run id.
    async fn reports(&self) -> Result<Vec<(RunId, Vec<u8>)>, StoreError>;
}

/// The answer to [`Coordination::acquire_lease`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseResult {
    /// This process holds the lease.
    Acquired,
    /// Another coordinator holds it.
    HeldBy {
        process: Process,
        /// The rest of its lease, unless it is renewed.
        left: Duration,
    },
}

/// Identifies a process. A restarted process differs even if host and pid are the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Random, drawn at the start.
    pub id: String,
    /// The host name.
    pub host: String,
    pub pid: u32,
    /// The bsft version.
    pub bsft: String,
}

impl Process {
    /// Describes this process; every call draws another id.
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

/// A worker's last heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    #[serde(flatten)]
    pub worker: WorkerInfo,
    /// Seconds since it was received; 0 if a worker of an earlier version sent it.
    #[serde(default)]
    pub age_secs: u64,
}

/// What a worker's heartbeat contains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerInfo {
    #[serde(flatten)]
    pub process: Process,
    /// Names of the queues it consumes.
    pub lanes: Vec<String>,
    /// The most LM calls in flight.
    pub concurrency: usize,
    /// Names of its configured trainers.
    #[serde(default)]
    pub trainers: Vec<String>,
    /// The LMs that it calls.
    #[serde(default)]
    pub lms: Vec<LmStatus>,
    /// Why it does not take the run's tasks; `None` if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<JobRefusal>,
}

/// Why a worker cannot connect to the LMs of a job, such as a key that it does not allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRefusal {
    /// Digest of the run's job.
    pub job: String,
    pub reason: String,
}

impl WorkerInfo {
    pub fn has_trainer(&self, name: &str) -> bool {
        self.trainers.iter().any(|trainer| trainer == name)
    }

    /// Whether it consumes the queue.
    pub fn takes(&self, queue: &Queue) -> bool {
        self.lanes.iter().any(|taken| taken == queue.name())
    }
}
