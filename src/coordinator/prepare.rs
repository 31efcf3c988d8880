//! The first phase: reads what earlier processes of the run have done, and stores the job for the workers.

use super::blocking::blocking;
use super::configuration::Coordinator;
use super::context::RunContext;
use super::error::RunError;
use super::event_log::Event;
use super::outcome_drain::OutcomeDrain;
use super::outcome_log::OutcomeLog;
use super::run_json;
use super::stored_job::StoredJob;
use super::task_plan::{LineOrigin, TaskPlan};
use crate::calls_in_flight::CallsInFlight;
use crate::coordination::Process;
use crate::job::Job;
use crate::report::{Manifest, Phase};
use crate::run_dir::RunDir;
use crate::spec::ServerInIds;
use tracing::{info, warn};

/// A job with its tasks, and the outcomes that earlier processes left.
pub(super) struct Prepared {
    pub(super) tasks: TaskPlan,
    pub(super) stored: StoredJob,
    pub(super) log: OutcomeLog,
    pub(super) manifest: Manifest,
}

/// `previous` is the manifest of the last process that worked on the run.
pub(super) async fn prepare(
    run: RunContext<'_>,
    job: Job,
    previous: Option<Manifest>,
) -> Result<Prepared, RunError> {
    let coordinator = run.coordinator;
    refuse_rehearsal_of_real_run(coordinator, previous.as_ref())?;
    let stored = StoredJob::new(&job);
    stored.put(run).await?;

    // A run keeps the ids with which it was started.
    let is_of_0_1 = previous.as_ref().is_some_and(|previous| previous.server_in_ids);
    let server = if is_of_0_1 {
        ServerInIds::Yes
    } else {
        ServerInIds::No
    };
    let (mut tasks, mut log) = open_log(coordinator.dir.clone(), TaskPlan::new(job, server)).await?;
    if coordinator.retry.examples() {
        (tasks, log) = take_failures_back(run, tasks, log).await?;
    }
    enter_calls_in_flight(run, &mut log).await?;
    log_earlier_outcomes(&log, tasks.len(), previous.is_some());
    // Reading a large log may have outlasted the lease.
    run.leadership.confirm().await?;

    warn_of_other_store(coordinator, previous.as_ref());
    let mut manifest = Manifest::start(
        &tasks.job,
        run.id.clone(),
        coordinator.dir.root(),
        coordinator.rehearsal,
        previous,
    );
    manifest.store.clone_from(&coordinator.backends.store_location);
    let trainers = coordinator.trainers.as_ref();
    manifest.trainings_dir = trainers.map(|trainers| trainers.dir().to_owned());
    manifest.record_counts(log.counts(), &tasks.job);
    let process = Process::current();
    coordinator.events.record(&Event::Started {
        start: manifest.starts,
        bsft: env!("CARGO_PKG_VERSION"),
        host: process.host,
        pid: process.pid,
        tasks: tasks.len(),
        ended: log.counts().done(),
    });
    run_json::publish(run, &mut manifest).await?;
    Ok(Prepared {
        tasks,
        stored,
        log,
        manifest,
    })
}

fn refuse_rehearsal_of_real_run(
    coordinator: &Coordinator,
    previous: Option<&Manifest>,
) -> Result<(), RunError> {
    let is_real = previous.is_some_and(|previous| !previous.rehearsal);
    if coordinator.rehearsal && is_real {
        return Err(RunError::OtherRun(format!(
            "{} holds a real run, which a rehearsal would overwrite; rehearse with another --out",
            coordinator.dir.root().display()
        )));
    }
    Ok(())
}

async fn open_log(dir: RunDir, tasks: TaskPlan) -> Result<(TaskPlan, OutcomeLog), RunError> {
    blocking(move || {
        let student = tasks.job.spec.student.predictors.iter();
        let predictors = student.map(|predictor| predictor.predictor_name()).collect();
        let cut_answers = tasks.job.spec.cut_answers;
        let task_of = |line: LineOrigin<'_>| tasks.task_of_outcome(line);
        let mut log = OutcomeLog::open(&dir, tasks.len(), predictors, cut_answers, task_of)?;
        // Before any outcome is drained: which of its answers are new depends on what its task used again.
        log.find_replays(|line| tasks.task_of_answers(line))?;
        Ok((tasks, log))
    })
    .await
}

/// Archives the failures, after those that earlier processes left in a store.
async fn take_failures_back(
    run: RunContext<'_>,
    tasks: TaskPlan,
    mut log: OutcomeLog,
) -> Result<(TaskPlan, OutcomeLog), RunError> {
    let backends = run.backends();
    for store in backends.previous_store.iter().chain([&backends.store]) {
        let mut drain = OutcomeDrain::new(run, store.as_ref(), &tasks);
        drain.take_all(&mut log).await?;
    }
    blocking(move || {
        log.archive_failures()?;
        log.find_replays(|line| tasks.task_of_answers(line))?;
        Ok((tasks, log))
    })
    .await
}

/// Enters the calls that a killed process had in flight: those without a recorded answer may have been paid.
async fn enter_calls_in_flight(run: RunContext<'_>, log: &mut OutcomeLog) -> Result<(), RunError> {
    let path = run.coordinator.dir.calls_in_flight();
    let left = CallsInFlight::left(&path).map_err(RunError::with_path(&path))?;
    let backends = run.backends();
    let mut unsettled = Vec::new();
    for call in left {
        let mut is_recorded = false;
        for store in backends.previous_store.iter().chain([&backends.store]) {
            let records = store.records(run.id, call.task).await?;
            is_recorded |= records.iter().any(|(slot, _)| *slot == call.call);
        }
        if !is_recorded {
            unsettled.push(call);
        }
    }
    if !unsettled.is_empty() {
        let calls = unsettled.len();
        info!(calls, "LM calls of a killed process are unsettled");
        log.append_sent(&unsettled).await?;
    }
    CallsInFlight::clear(&path).map_err(RunError::with_path(&path))
}

fn log_earlier_outcomes(log: &OutcomeLog, tasks: usize, is_resumed: bool) {
    if is_resumed {
        let counts = log.counts();
        info!(
            done = counts.done(),
            failed = counts.failed(),
            tasks,
            "resuming an earlier run"
        );
    }
    if log.stale() > 0 {
        info!(
            lines = log.stale(),
            "job changed; outdated outcomes moved to stale.jsonl"
        );
    }
}

fn warn_of_other_store(coordinator: &Coordinator, previous: Option<&Manifest>) {
    let backends = &coordinator.backends;
    if let Some(previous) = previous
        && previous.phase != Phase::Compiled
        && !previous.store.is_empty()
        && previous.store != backends.store_location
        && backends.previous_store.is_none()
    {
        warn!(
            previous_store = previous.store,
            "store changed; results missing in DIR are recomputed"
        );
    }
}
