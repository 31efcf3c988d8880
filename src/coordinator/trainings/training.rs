//! One fine-tune job of the run: its state in `run.json` and in the store, and the message that workers get.

use crate::coordinator::context::RunContext;
use crate::coordinator::error::RunError;
use crate::coordinator::stored_job::StoredJob;
use crate::finetune::{FinetuneJob, ID_SLOT, TrainingOutcome, TrainingRecord, TrainingState};
use crate::message::{FINETUNE_VERSION, FinetuneMessage, FinetuneTask, encode};
use crate::report::TrainingReport;
use crate::task::TaskId;
use crate::telemetry::spans;
use crate::trace::Outcome;
use tokio::time::Instant;
use tracing::Span;

/// The fine-tune job of one LM key.
pub(super) struct TrackedTraining {
    pub(super) shard: FinetuneJob,
    /// The task of the first attempt: the training's key in the manifest.
    pub(super) name: String,
    /// The task of this attempt.
    pub(super) task: TaskId,
    pub(super) known: TrainingRecord,
    /// When a worker polled the training last.
    pub(super) polled: Instant,
    pub(super) ending: Option<TrainingOutcome>,
    /// The training's span while it is in progress.
    span: Span,
}

impl TrackedTraining {
    fn new(shard: FinetuneJob) -> TrackedTraining {
        let first = shard.task(0);
        TrackedTraining {
            name: first.to_string(),
            task: first,
            known: TrainingRecord::default(),
            polled: Instant::now(),
            ending: None,
            span: Span::none(),
            shard,
        }
    }

    /// A training that fails before it is requested.
    pub(super) fn failed(shard: FinetuneJob, reason: String) -> TrackedTraining {
        TrackedTraining {
            ending: Some(TrainingOutcome {
                id: None,
                training: TrainingState::Failed(reason),
            }),
            ..TrackedTraining::new(shard)
        }
    }

    /// Restores a training from its entry in the manifest and from the store. An ended one that is to run again becomes the next
    /// attempt, in `report`, too.
    pub(super) async fn resume(
        run: RunContext<'_>,
        shard: FinetuneJob,
        report: &mut TrainingReport,
    ) -> Result<TrackedTraining, RunError> {
        let mut training = TrackedTraining::new(shard);
        loop {
            training.task = training.shard.task(report.attempt);
            training.known.id.clone_from(&report.id);
            training.ending = match &report.ending {
                Some(ending) => Some(TrainingOutcome {
                    id: report.id.clone(),
                    training: ending.clone(),
                }),
                None => stored_outcome(run, training.task).await?,
            };
            let is_retried = match training.ending() {
                // Running `compile` again clears the cancellation.
                Some(TrainingState::Cancelled) => true,
                Some(TrainingState::Failed(_)) => run.coordinator.retry.trainings(),
                _ => false,
            };
            if !is_retried {
                break;
            }
            report.attempt += 1;
            (report.id, report.ending) = (None, None);
        }
        if training.ending.is_none() {
            training.span = spans::training(run.id, training.task, &training.shard);
        }
        Ok(training)
    }

    /// Whether the job has too few rows to be requested.
    pub(super) fn has_too_few_rows(&self) -> bool {
        has_too_few_rows(&self.shard)
    }

    pub(super) fn is_open(&self) -> bool {
        self.ending.is_none()
    }

    /// How the training ended. `None` while it is open.
    pub(super) fn ending(&self) -> Option<&TrainingState> {
        self.ending.as_ref().map(|ending| &ending.training)
    }

    /// Reads the training's state from the store. Returns whether it changed.
    pub(super) async fn update(&mut self, run: RunContext<'_>) -> Result<bool, RunError> {
        // Records first: the outcome deletes them.
        let store = &run.backends().store;
        let found = TrainingRecord::from_slots(&store.records(run.id, self.task).await?);
        if let Some(ending) = stored_outcome(run, self.task).await? {
            self.end(ending);
            return Ok(true);
        }
        // A store that lost records knows less than before; the training is where it was.
        let known = TrainingRecord {
            id: found.id.or_else(|| self.known.id.clone()),
            started_ms: found.started_ms.or(self.known.started_ms),
            progress: found.progress.or_else(|| self.known.progress.clone()),
            looked_ms: found.looked_ms,
            ..TrainingRecord::default()
        };
        if known.looked_ms != self.known.looked_ms {
            self.polled = Instant::now();
        }
        let is_changed = (&known.id, &known.progress) != (&self.known.id, &self.known.progress);
        self.known = known;
        // A worker that starts it needs the files, which the artifact store may have lost.
        if !self.known.may_be_started() {
            self.put_files(run).await?;
        }
        Ok(is_changed)
    }

    fn end(&mut self, ending: TrainingOutcome) {
        let span = std::mem::replace(&mut self.span, Span::none());
        if let Some(id) = &ending.id {
            span.record("training", &id.0);
        }
        spans::training_ended(&span, &ending.training);
        self.ending = Some(ending);
    }

    /// The task's message for workers.
    pub(super) fn message(&self, run: RunContext<'_>, job: &StoredJob) -> Vec<u8> {
        let FinetuneJob {
            recipe,
            data,
            validation,
        } = &self.shard;
        encode(&FinetuneMessage::Train(FinetuneTask {
            v: FINETUNE_VERSION,
            run: run.id.clone(),
            job: job.digest.clone(),
            task: self.task,
            lm: recipe.lm.clone(),
            predictor: recipe.predictor.clone(),
            data: data.clone(),
            validation: validation.clone(),
        }))
    }

    /// Puts the training files into the artifact store, unless it has them.
    pub(super) async fn put_files(&self, run: RunContext<'_>) -> Result<(), RunError> {
        if !self.shard.recipe.provider.reads_rows() {
            return Ok(());
        }
        let artifacts = &run.backends().artifacts;
        for file in self.shard.files() {
            if !artifacts.exists(run.id, file).await? {
                let path = run.coordinator.dir.data(&file.name);
                artifacts.put(run.id, file, &path).await?;
            }
        }
        Ok(())
    }

    /// Gives the store the training's id, if that is known: an earlier process may have used another store.
    pub(super) async fn import_id(&self, run: RunContext<'_>) -> Result<(), RunError> {
        if let Some(id) = &self.known.id {
            let records = vec![(ID_SLOT, id.0.clone().into_bytes())];
            run.backends().store.import(run.id, self.task, records).await?;
        }
        Ok(())
    }
}

/// Whether the provider would refuse a training of so few rows.
pub(super) fn has_too_few_rows(shard: &FinetuneJob) -> bool {
    shard.data.rows < shard.recipe.provider.least_rows()
}

/// The task's outcome, if the store has one that is readable.
async fn stored_outcome(run: RunContext<'_>, task: TaskId) -> Result<Option<TrainingOutcome>, RunError> {
    let Some(bytes) = run.backends().store.outcome(run.id, task).await? else {
        return Ok(None);
    };
    Ok(match Outcome::decode(bytes) {
        Ok((Outcome::Training(json), _)) => serde_json::from_str(&json).ok(),
        _ => None,
    })
}
