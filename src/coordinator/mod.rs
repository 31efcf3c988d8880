//! The coordinator: compiles a job in five phases, each of which consumes the one before.
//!
//! `Prepared`, `Bootstrapped`, `Collected`, `Trained` and the compiled student are each rebuilt from the run directory and the store, so
//! resuming a run is the same as running it.

mod blocking;
mod bootstrap;
mod collect;
mod compiled_student;
mod configuration;
mod context;
mod error;
mod event_log;
mod failure_guard;
mod first_examples;
mod leadership;
mod lm_stopped;
mod lm_watch;
mod lost_tasks;
mod orphaned_trainings;
mod outcome_drain;
mod outcome_log;
mod outstanding_tasks;
mod preflight;
mod prepare;
mod publisher;
mod retry_command;
mod run_json;
mod run_metrics;
mod shard_files;
mod stored_job;
mod task_plan;
mod train;
mod trainings;
mod watchdog;
mod worker_census;
mod workers;

pub use configuration::{Backends, Coordinator};
pub use error::RunError;
pub use event_log::{Event, EventLog};
pub use lm_stopped::{AwayLm, ClosedLm, RefusedByWorkers};
pub use orphaned_trainings::{OrphanedTrainings, cancel_orphaned_trainings};
pub use outcome_log::OutcomeLogError;
pub use retry_command::Retry;
pub(crate) use retry_command::retry_command;
pub use workers::Workers;

use crate::job::Job;
use crate::metrics::Need;
use crate::report::Manifest;
use crate::spec::run_id;
use crate::task::RunId;
use crate::telemetry::{self, spans};
use context::RunContext;
use leadership::Leadership;
use prepare::Prepared;
use std::convert::Infallible;
use tracing::{Instrument as _, debug_span};

/// Compiles a job. Does not repeat what an earlier process of the run has done.
pub async fn run(coordinator: &Coordinator, job: Job) -> Result<Manifest, RunError> {
    let manifest = coordinator.dir.manifest();
    let previous = Manifest::read(&manifest).map_err(RunError::with_path(manifest))?;
    // A changed job keeps its run id, under which the store has its tasks.
    let id = match &previous {
        Some(previous) => previous.run.clone(),
        None => run_id(&job.spec, job.trainset.sha256()),
    };
    telemetry::set_run_context(&id.0, &job.spec.name);
    let span = spans::job(&id, &job.spec.name);
    let ended = Box::pin(lead(coordinator, &id, job, previous))
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

/// Runs the phases while this process has the run's lease.
async fn lead(
    coordinator: &Coordinator,
    id: &RunId,
    job: Job,
    previous: Option<Manifest>,
) -> Result<Manifest, RunError> {
    let leadership = Leadership::acquire(coordinator, id).await?;
    let run = RunContext {
        id,
        coordinator,
        leadership: &leadership,
    };
    let ended = tokio::select! {
        ended = phases(run, job, previous) => ended,
        replaced = leadership.keep() => return Err(replaced),
        never = run_metrics::poll_services(run) => match never {},
        never = watch_services(run) => match never {},
    };
    leadership.resign().await;
    match ended {
        Err(RunError::Interrupted) if leadership.is_cancelled() => Err(RunError::Cancelled),
        ended => ended,
    }
}

/// Records outages of the services.
async fn watch_services(run: RunContext<'_>) -> Infallible {
    let Backends {
        broker, coordination, ..
    } = run.backends();
    let events = &run.coordinator.events;
    event_log::watch_services(run.id, broker.as_ref(), coordination.as_ref(), events).await
}

async fn phases(run: RunContext<'_>, job: Job, previous: Option<Manifest>) -> Result<Manifest, RunError> {
    let prepared = prepare::prepare(run, job, previous)
        .instrument(debug_span!("prepare"))
        .await?;
    let health = &run.coordinator.metrics.health;
    health.has(Need::Coordinator);
    // Readiness and liveness start here: reading a large run directory may take longer than a probe allows.
    let watchdog = health.watchdog("coordinator");
    tokio::select! {
        ended = phases_after_prepare(run, prepared) => ended,
        never = watchdog.keep_alive() => match never {},
    }
}

async fn phases_after_prepare(run: RunContext<'_>, prepared: Prepared) -> Result<Manifest, RunError> {
    preflight::preflight(run, &prepared)
        .instrument(debug_span!("preflight"))
        .await?;
    let bootstrapped = bootstrap::bootstrap(run, prepared)
        .instrument(debug_span!("bootstrap"))
        .await?;
    let collected = collect::collect(run, bootstrapped)
        .instrument(debug_span!("collect"))
        .await?;
    let trained = train::train(run, collected)
        .instrument(debug_span!("train"))
        .await?;
    compiled_student::compile(run, trained)
        .instrument(debug_span!("compile"))
        .await
}
