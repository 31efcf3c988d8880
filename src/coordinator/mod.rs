//! The coordinator: a job in, a compiled student out, in five phases each of which consumes the one before.
//!
//! Prepared, Bootstrapped, Collected, Trained, Compiled: each is rebuilt from DIR and the store on start, so resuming is running.

mod bootstrap;
mod collect;
mod compile;
mod error;
mod leadership;
mod lost_tasks;
mod orphaned_trainings;
mod outcome_log;
mod outstanding_tasks;
mod preflight;
mod prepare;
mod publisher;
mod run_metrics;
mod shard;
mod train;
mod trainings;
mod watchdog;

pub use error::RunError;
pub use orphaned_trainings::{OrphanedTrainings, cancel_orphaned_trainings};
pub use outcome_log::OutcomeLogError;

use crate::artifacts::ArtifactStore;
use crate::broker::Broker;
use crate::command_name::command_name;
use crate::coordination::Coordination;
use crate::finetune::Trainers;
use crate::job::{Job, run_id};
use crate::metrics::{Metrics, Need};
use crate::report::{Manifest, Progress};
use crate::run_dir::RunDir;
use crate::shutdown::Shutdown;
use crate::store::Store;
use crate::task::RunId;
use crate::telemetry::{self, spans};
use leadership::Leadership;
use prepare::Prepared;
use std::path::Path;
use std::sync::Arc;
use tracing::{Instrument as _, debug_span};

/// What the coordinator works with.
pub struct Coordinator {
    /// Where tasks go.
    pub broker: Arc<dyn Broker>,
    /// Where outcomes come from.
    pub store: Arc<dyn Store>,
    /// Where this process and the workers find each other.
    pub coordination: Arc<dyn Coordination>,
    /// Where training files are left for workers.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Where the store is, in words.
    pub place: String,
    /// The store that an earlier process of the run may have left in DIR, when it is not the one above.
    pub earlier: Option<Arc<dyn Store>>,
    /// The run's folder.
    pub dir: RunDir,
    /// Heard between any two steps.
    pub shutdown: Shutdown,
    /// Told how far things are.
    pub progress: Progress,
    /// Where it counts, and says that it lives.
    pub metrics: Arc<Metrics>,
    /// Whether there are no workers but those of this process.
    pub is_alone: bool,
    /// The trainers of the workers of this process: whoever goes on with the run needs them, too.
    pub trainers: Option<Arc<Trainers>>,
    /// LM calls that the workers of this process have in flight at once.
    pub in_flight: usize,
    /// What of the failures that DIR has is forgotten.
    pub retry: Retry,
    /// Whether every LM and provider was swapped for a simulated one.
    pub rehearsal: bool,
}

impl Coordinator {
    /// The command that does anew what has failed.
    fn retry_command(&self) -> String {
        retry_command(&self.dir, self.trainers.as_deref().map(Trainers::file))
    }
}

/// The command that does anew what has failed in a run, for a process that was given these trainers.
pub(crate) fn retry_command(dir: &RunDir, trainers: Option<&Path>) -> String {
    let mut command = format!("{} retry {}", command_name(), dir.root().display());
    if let Some(trainers) = trainers {
        command.push_str(&format!(" --trainers {}", trainers.display()));
    }
    command
}

/// What of an earlier process's failures is forgotten, and so done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: they count.
    Nothing,
    /// Failed examples.
    Examples,
    /// Failed trainings.
    Trainings,
}

impl Retry {
    fn examples(self) -> bool {
        self == Retry::Examples
    }

    fn trainings(self) -> bool {
        self == Retry::Trainings
    }
}

/// Compiles a job; what an earlier run of it has done is not done again.
pub async fn run(coordinator: &Coordinator, job: Job) -> Result<Manifest, RunError> {
    let manifest = coordinator.dir.manifest();
    let before = Manifest::read(&manifest).map_err(RunError::at(manifest))?;
    // A changed job keeps its run, so that what the store still holds of it is found.
    let run = match &before {
        Some(before) => before.run.clone(),
        None => run_id(&job.spec, job.trainset.sha256()),
    };
    telemetry::set_run_context(&run.0, &job.spec.name);
    let span = spans::job(&run, &job.spec.name);
    let ended = Box::pin(led(coordinator, job, before, run))
        .instrument(span.clone())
        .await;
    match &ended {
        Ok(_) => spans::ended(&span, "compiled"),
        Err(RunError::Interrupted) => spans::ended(&span, "interrupted"),
        Err(RunError::Cancelled) => spans::ended(&span, "cancelled"),
        Err(_) => {
            spans::ended(&span, "failed");
            spans::failed(&span);
        }
    }
    ended
}

async fn led(
    coordinator: &Coordinator,
    job: Job,
    before: Option<Manifest>,
    run: RunId,
) -> Result<Manifest, RunError> {
    let leadership = Arc::new(Leadership::take(coordinator, &run).await?);
    let ended = tokio::select! {
        ended = phases(coordinator, job, before, Arc::clone(&leadership)) => ended,
        lost = leadership.keep(coordinator) => return Err(lost),
        never = run_metrics::keep(coordinator, &run) => match never {},
    };
    leadership.resign(coordinator).await;
    match ended {
        Err(RunError::Interrupted) if leadership.is_cancelled() => Err(RunError::Cancelled),
        ended => ended,
    }
}

async fn phases(
    coordinator: &Coordinator,
    job: Job,
    before: Option<Manifest>,
    leadership: Arc<Leadership>,
) -> Result<Manifest, RunError> {
    let prepared = prepare::prepare(coordinator, job, before, leadership)
        .instrument(debug_span!("prepare"))
        .await?;
    coordinator.metrics.health.has(Need::Coordinator);
    // Not before: reading what an earlier process left may take long, and does not let go of the thread meanwhile.
    let watchdog = coordinator.metrics.health.watchdog("coordinator");
    tokio::select! {
        ended = work(coordinator, prepared) => ended,
        never = watchdog.keep_alive() => match never {},
    }
}

async fn work(coordinator: &Coordinator, prepared: Prepared) -> Result<Manifest, RunError> {
    preflight::preflight(coordinator, &prepared)
        .instrument(debug_span!("preflight"))
        .await?;
    let bootstrapped = bootstrap::bootstrap(coordinator, prepared)
        .instrument(debug_span!("bootstrap"))
        .await?;
    let collected = collect::collect(coordinator, bootstrapped)
        .instrument(debug_span!("collect"))
        .await?;
    let trained = train::train(coordinator, collected)
        .instrument(debug_span!("train"))
        .await?;
    compile::compile(coordinator, trained)
        .instrument(debug_span!("compile"))
        .await
}
