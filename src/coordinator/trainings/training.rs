//! One fine-tune job: what `run.json` and the store know of it, what workers are sent.

use super::messages::without_rows;
use crate::coordinator::prepare::Prepared;
use crate::coordinator::{Coordinator, RunError};
use crate::finetune::{FinetuneJob, TrainingOutcome, TrainingRecord, TrainingState};
use crate::message::{FinetuneMessage, FinetuneTask, MESSAGE_VERSION, encode};
use crate::report::TrainingReport;
use crate::task::TaskId;
use crate::telemetry::spans;
use crate::trace::Outcome;
use tokio::time::Instant;
use tracing::Span;

/// The job of one LM key.
pub(super) struct TrackedTraining {
    pub(super) shard: FinetuneJob,
    /// The first attempt's task: what the manifest knows the training by.
    pub(super) name: String,
    /// This attempt's.
    pub(super) task: TaskId,
    pub(super) known: TrainingRecord,
    /// When a worker was seen to look at the training last.
    pub(super) looked: Instant,
    pub(super) ending: Option<TrainingOutcome>,
    /// While it goes on.
    pub(super) span: Span,
}

impl TrackedTraining {
    /// Whether no training is asked for, since there are too few rows.
    pub(super) fn is_empty(&self) -> bool {
        self.shard.data.rows < self.shard.recipe.provider.least_rows()
    }

    /// It has ended.
    pub(super) fn ends(&mut self, ending: TrainingOutcome) {
        let span = std::mem::replace(&mut self.span, Span::none());
        if let Some(id) = &ending.id {
            span.record("training", &id.0);
        }
        spans::training_ended(&span, &ending.training);
        self.ending = Some(ending);
    }

    /// A shard's job as earlier processes have left it.
    pub(super) async fn of(
        coordinator: &Coordinator,
        prepared: &mut Prepared,
        shard: FinetuneJob,
    ) -> Result<TrackedTraining, RunError> {
        let first = shard.task(0);
        let mut job = TrackedTraining {
            name: first.to_string(),
            task: first,
            known: TrainingRecord::default(),
            looked: Instant::now(),
            ending: None,
            span: Span::none(),
            shard,
        };
        if job.is_empty() {
            job.ending = Some(without_rows(prepared, coordinator, &job.shard));
            return Ok(job);
        }
        let mut report = match prepared.manifest.trainings.get(&job.name) {
            Some(report) => report.clone(),
            None => TrainingReport::of(&job.shard),
        };
        loop {
            job.task = job.shard.task(report.attempt);
            job.known.id.clone_from(&report.id);
            job.ending = match &report.ending {
                Some(training) => Some(TrainingOutcome {
                    id: report.id.clone(),
                    training: training.clone(),
                }),
                None => outcome(coordinator, prepared, job.task).await?,
            };
            let is_over = match job.ending.as_ref().map(|ending| &ending.training) {
                // To compile again is to take the cancellation back.
                Some(TrainingState::Cancelled) => true,
                Some(TrainingState::Failed(_)) => coordinator.retry.trainings(),
                _ => false,
            };
            if !is_over {
                break;
            }
            report.attempt += 1;
            (report.id, report.ending) = (None, None);
        }
        prepared.manifest.trainings.insert(job.name.clone(), report);
        if job.ending.is_none() {
            job.span = spans::training(&prepared.run, job.task, &job.shard);
        }
        Ok(job)
    }

    /// What workers are told of it.
    pub(super) fn message(&self, prepared: &Prepared) -> Vec<u8> {
        encode(&FinetuneMessage::Train(FinetuneTask {
            v: MESSAGE_VERSION,
            run: prepared.run.clone(),
            task: self.task,
            shard: self.shard.clone(),
        }))
    }

    /// Leaves its rows where workers find them, unless they are there.
    pub(super) async fn leave(&self, coordinator: &Coordinator, prepared: &Prepared) -> Result<(), RunError> {
        if !self.shard.recipe.provider.reads_rows() {
            return Ok(());
        }
        for file in self.shard.files() {
            if !coordinator.artifacts.exists(&prepared.run, file).await? {
                let path = coordinator.dir.data(&file.name);
                coordinator.artifacts.put(&prepared.run, file, &path).await?;
            }
        }
        Ok(())
    }
}

/// How the task ended, where the store knows.
pub(super) async fn outcome(
    coordinator: &Coordinator,
    prepared: &Prepared,
    task: TaskId,
) -> Result<Option<TrainingOutcome>, RunError> {
    let Some(bytes) = coordinator.store.outcome(&prepared.run, task).await? else {
        return Ok(None);
    };
    Ok(match Outcome::decode(bytes) {
        Ok(Outcome::Training(json)) => serde_json::from_str(&json).ok(),
        _ => None,
    })
}
