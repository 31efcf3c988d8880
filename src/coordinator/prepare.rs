//! Phase one: what is to be done, and what of it an earlier run has done already.

use super::leadership::Leadership;
use super::outcome_log::{LineClass, OutcomeLog};
use super::{Coordinator, RunError, run_metrics};
use crate::dataset::{LmKey, lm_keys};
use crate::job::{Job, TeacherIdentity, made_by, spec_digest, trace_shape};
use crate::report::{Manifest, Phase};
use crate::run_dir::write_whole;
use crate::task::{RunId, TaskId};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::{debug, info, warn};

/// A job with its run, its tasks and its outcome_log.
pub(super) struct Prepared {
    pub(super) job: Job,
    pub(super) run: RunId,
    pub(super) leadership: Arc<Leadership>,
    /// The job spec's bytes.
    pub(super) spec: Vec<u8>,
    /// Of the job spec as the store has it.
    pub(super) spec_digest: String,
    pub(super) identities: Vec<TeacherIdentity>,
    /// As DSPy's `named_predictors()` names them.
    pub(super) predictors: Vec<String>,
    /// The job's part in what its traces are made by.
    pub(super) shape: String,
    pub(super) keys: Vec<LmKey>,
    pub(super) outcome_log: OutcomeLog,
    pub(super) manifest: Manifest,
}

impl Prepared {
    /// Brings `run.json` up to date, and what others see of the run.
    pub(super) async fn tell(&mut self, coordinator: &Coordinator) -> Result<(), RunError> {
        self.manifest.updated = unix_seconds();
        run_metrics::show(&coordinator.metrics.run, &self.manifest);
        let path = coordinator.dir.manifest();
        let bytes = self.manifest.to_bytes();
        write_whole(&path, &bytes).map_err(RunError::at(path))?;
        if let Err(error) = coordinator.coordination.report(&self.run, &bytes).await {
            debug!(%error, "not reported; run.json has it");
        }
        Ok(())
    }

    /// All tasks: every teacher on every example.
    pub(super) fn tasks(&self) -> usize {
        self.identities.len() * self.job.trainset.len()
    }

    /// Teacher and example of a task number.
    pub(super) fn place(&self, task: usize) -> (u32, u32) {
        let examples = self.job.trainset.len();
        ((task / examples) as u32, (task % examples) as u32)
    }

    /// The id of a task number.
    pub(super) fn task_id(&self, task: usize) -> TaskId {
        let (teacher, example) = self.place(task);
        id(&self.job, &self.identities, teacher, example)
    }

    /// Looks for answers that are paid for among the outcomes that were set aside.
    pub(super) fn find_replays(&mut self) -> Result<(), RunError> {
        let (job, identities) = (&self.job, &self.identities);
        self.outcome_log.find_replays(|line| {
            number(job, identities, line.teacher, line.example)
                .filter(|_| id(job, identities, line.teacher, line.example) == line.task)
        })?;
        if self.outcome_log.replays() > 0 {
            info!(
                tasks = self.outcome_log.replays(),
                "tasks are made anew from answers that are already paid for"
            );
        }
        Ok(())
    }

    /// What a trace of this example is made by.
    pub(super) fn made_by(&self, example: u32) -> String {
        made_by_of(&self.job, &self.shape, example)
    }

    /// The number of the task of a teacher and an example.
    pub(super) fn number(&self, teacher: u32, example: u32) -> Option<usize> {
        number(&self.job, &self.identities, teacher, example)
    }
}

/// Reads what is there and puts the job where workers find it.
pub(super) async fn prepare(
    coordinator: &Coordinator,
    job: Job,
    before: Option<Manifest>,
    leadership: Arc<Leadership>,
) -> Result<Prepared, RunError> {
    let dir = &coordinator.dir;
    if let Some(before) = &before
        && coordinator.rehearsal
        && !before.rehearsal
    {
        return Err(RunError::OtherRun(format!(
            "{} holds a real run, which a rehearsal would overwrite; rehearse with another --out",
            dir.root().display()
        )));
    }
    let spec = serde_json::to_vec(&job.spec).expect("a job spec is plain data with string keys");
    let spec_digest = spec_digest(&spec);
    let run = leadership.run().clone();
    coordinator.store.put_job(&run, &spec).await?;

    let identities: Vec<TeacherIdentity> = (0..job.spec.teachers.len())
        .map(|teacher| TeacherIdentity::of(&job.spec, teacher))
        .collect();
    let predictors: Vec<String> = job
        .spec
        .student
        .predictors
        .iter()
        .map(|predictor| predictor.predictor_name())
        .collect();
    let tasks = identities.len() * job.trainset.len();
    let shape = trace_shape(&job.spec);
    let judge = |teacher, example, found: TaskId, by: &str| match number(&job, &identities, teacher, example)
    {
        Some(task)
            if by == made_by_of(&job, &shape, example)
                && id(&job, &identities, teacher, example) == found =>
        {
            LineClass::Task(task)
        }
        _ => LineClass::Stale,
    };
    if coordinator.retry.examples() {
        forget(&dir.failures())?;
    }
    let outcome_log = OutcomeLog::open(
        dir,
        tasks,
        &predictors,
        |line| judge(line.teacher, line.example, line.task, &line.made_by),
        |failure| judge(failure.teacher, failure.example, failure.task, &failure.made_by),
    )?;
    report(&outcome_log, tasks, before.is_some());
    // Reading much took long.
    leadership.confirm(coordinator).await?;

    let keys = lm_keys(&job.spec);
    if let Some(before) = &before
        && before.phase != Phase::Compiled
        && !before.store.is_empty()
        && before.store != coordinator.place
        && coordinator.earlier.is_none()
    {
        warn!(
            "this run began with its state in {}: answers and outcomes that did not come to DIR are made again",
            before.store
        );
    }
    let mut manifest = Manifest::start(&job, run.clone(), dir.root(), coordinator.rehearsal, before);
    manifest.store.clone_from(&coordinator.place);
    let trainers = coordinator.trainers.as_ref();
    manifest.trainings_dir = trainers.map(|trainers| trainers.dir().to_owned());
    let mut prepared = Prepared {
        job,
        run,
        leadership,
        spec,
        spec_digest,
        identities,
        predictors,
        shape,
        keys,
        outcome_log,
        manifest,
    };
    prepared
        .manifest
        .count(prepared.outcome_log.counts(), &prepared.job);
    prepared.tell(coordinator).await?;
    Ok(prepared)
}

fn forget(failures: &Path) -> Result<(), RunError> {
    match fs::remove_file(failures) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(RunError::at(failures)(error)),
        _ => Ok(()),
    }
}

fn report(outcome_log: &OutcomeLog, tasks: usize, resumed: bool) {
    if resumed {
        let counts = outcome_log.counts();
        info!(
            done = counts.done(),
            failed = counts.failed(),
            tasks,
            "going on with an earlier run"
        );
    }
    if outcome_log.stale() > 0 {
        info!(
            lines = outcome_log.stale(),
            "the job or its data have changed: outcomes that no longer fit are kept in stale.jsonl"
        );
    }
}

fn made_by_of(job: &Job, shape: &str, example: u32) -> String {
    made_by(
        shape,
        job.trainset.label_digest(example as usize).unwrap_or_default(),
    )
}

fn id(job: &Job, identities: &[TeacherIdentity], teacher: u32, example: u32) -> TaskId {
    identities[teacher as usize].task(
        example,
        job.trainset.row_digest(example as usize).unwrap_or_default(),
    )
}

fn number(job: &Job, identities: &[TeacherIdentity], teacher: u32, example: u32) -> Option<usize> {
    let (teacher, example) = (teacher as usize, example as usize);
    (teacher < identities.len() && example < job.trainset.len())
        .then(|| teacher * job.trainset.len() + example)
}

fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
