//! What a coordinator is started with: its backends, its workers, the run directory and the user's settings.

use super::event_log::EventLog;
use super::retry_command::{Retry, retry_command};
use super::workers::Workers;
use crate::artifacts::ArtifactStore;
use crate::broker::Broker;
use crate::calls_in_flight::CallsInFlight;
use crate::coordination::Coordination;
use crate::finetune::Trainers;
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::report::Progress;
use crate::run_dir::RunDir;
use crate::shutdown::Shutdown;
use crate::store::Store;
use std::sync::Arc;

/// A coordinator; [`run`](super::run) compiles a job with it.
pub struct Coordinator {
    /// The services that it shares with its workers.
    pub backends: Backends,
    /// Where its workers are.
    pub workers: Workers,
    /// The run directory.
    pub dir: RunDir,
    /// The trainers of the workers in this process. The `retry` command names their file.
    pub trainers: Option<Arc<Trainers>>,
    /// Which recorded failures to run again.
    pub retry: Retry,
    /// Whether every LM and provider was replaced by a simulated one.
    pub rehearsal: bool,
    /// Whether to wait also for an LM server that has not answered in this run yet, for up to the job's patience.
    pub wait: bool,
    /// Requests to stop; checked between any two steps.
    pub shutdown: Shutdown,
    /// Shows the phases' progress on stderr.
    pub progress: Progress,
    /// Records what happens to the run.
    pub events: Arc<EventLog>,
    /// Exported metrics and health checks.
    pub metrics: Arc<Metrics>,
    /// What long outcomes may take, shared with the workers of this process.
    pub memory: Arc<MemoryBudget>,
}

impl Coordinator {
    /// The command that runs the failed parts of the run again.
    pub(super) fn retry_command(&self) -> String {
        retry_command(&self.dir, self.trainers.as_deref().map(Trainers::file))
    }
}

/// The services that coordinator and workers share.
pub struct Backends {
    /// Carries tasks to workers and completions back.
    pub broker: Arc<dyn Broker>,
    /// Keeps jobs, recorded answers and outcomes.
    pub store: Arc<dyn Store>,
    /// Elects the coordinator and lists the workers.
    pub coordination: Arc<dyn Coordination>,
    /// Holds the training files that workers upload from.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Marks of the LM calls in flight of the workers in this process. `None` if workers may be elsewhere.
    pub calls_in_flight: Option<Arc<CallsInFlight>>,
    /// The store's URL without its password, or its file: `store` in `run.json`.
    pub store_location: String,
    /// The store that an earlier process of the run left in the run directory, if `store` is another one.
    pub previous_store: Option<Arc<dyn Store>>,
}
