//! The fine-tune jobs of a run, one for each LM key: requested through the broker, followed in the store.

mod conclusion;
mod log_messages;
mod manifest_record;
mod training;
mod training_metrics;

use super::context::RunContext;
use super::error::RunError;
use super::run_json;
use super::stored_job::StoredJob;
use crate::broker::Queue;
use crate::coordination::WorkerInfo;
use crate::finetune::{FinetuneJob, ProviderSpec, TrainingResult, TrainingState};
use crate::report::{Manifest, TrainingReport};
use crate::task::TaskId;
use std::collections::HashSet;
use std::time::Duration;
use tracing::{debug, warn};
use training::{TrackedTraining, has_too_few_rows};

/// The trainings, in the order of the LM keys.
pub(super) struct Trainings {
    trainings: Vec<TrackedTraining>,
    job: StoredJob,
}

/// How long a training is not polled before the coordinator checks that the store has the job, without which no worker can poll it.
const UNPOLLED: Duration = Duration::from_secs(10);

impl Trainings {
    /// Restores the trainings of the shards from the manifest and the store, and records them in the manifest.
    pub(super) async fn resume(
        run: RunContext<'_>,
        manifest: &mut Manifest,
        shards: Vec<FinetuneJob>,
        job: StoredJob,
    ) -> Result<Trainings, RunError> {
        let before: HashSet<String> = manifest.trainings.keys().cloned().collect();
        let mut trainings = Vec::with_capacity(shards.len());
        for shard in shards {
            trainings.push(resume_one(run, manifest, shard).await?);
        }
        log_messages::report_changes(manifest, &trainings, &before);
        log_messages::report_others(manifest, &trainings);
        log_messages::report_changed_trainers(run.coordinator.trainers.as_deref(), &trainings);
        let trainings = Trainings { trainings, job };
        trainings.record(manifest);
        training_metrics::export(&trainings.trainings, &run.coordinator.metrics.run);
        Ok(trainings)
    }

    /// Whether every training has ended.
    pub(super) fn have_ended(&self) -> bool {
        self.open().next().is_none()
    }

    /// Whether some training was cancelled.
    pub(super) fn are_any_cancelled(&self) -> bool {
        let mut endings = self.trainings.iter().filter_map(TrackedTraining::ending);
        endings.any(|ending| *ending == TrainingState::Cancelled)
    }

    /// Whether some training may be in progress at its provider.
    pub(super) fn may_be_running(&self) -> bool {
        self.open().any(|training| training.known.may_be_started())
    }

    /// How many trainings have ended, and how many there are.
    pub(super) fn count(&self) -> (usize, usize) {
        let all = self.trainings.len();
        (all - self.open().count(), all)
    }

    /// Names the trainings that may be in progress after a cancellation.
    pub(super) fn left_running(&self) -> String {
        log_messages::left_running(self.open())
    }

    /// Trainers that open trainings need and no worker has.
    pub(super) fn missing_trainers(&self, workers: &[WorkerInfo]) -> Vec<&str> {
        let trainers = self
            .open()
            .filter_map(|training| match &training.shard.recipe.provider {
                ProviderSpec::Command(command) => Some(command.trainer.as_str()),
                _ => None,
            });
        trainers
            .filter(|trainer| !workers.iter().any(|worker| worker.has_trainer(trainer)))
            .collect()
    }

    /// The tasks of open trainings that no worker has polled for this long.
    pub(super) fn unpolled(&self, age: Duration) -> Vec<TaskId> {
        let unpolled = self.open().filter(|training| training.polled.elapsed() >= age);
        unpolled.map(|training| training.task).collect()
    }

    /// Publishes the task of every open training, after its files.
    pub(super) async fn publish(&self, run: RunContext<'_>) -> Result<(), RunError> {
        for training in self.open() {
            training.put_files(run).await?;
            training.import_id(run).await?;
        }
        let messages = self
            .open()
            .map(|training| training.message(run, &self.job))
            .collect();
        Ok(run.backends().broker.publish(&Queue::Finetune, messages).await?)
    }

    /// Republishes a task whose message is lost.
    pub(super) async fn republish(&self, run: RunContext<'_>, task: TaskId) -> Result<(), RunError> {
        let Some(training) = self.open().find(|training| training.task == task) else {
            return Ok(());
        };
        warn!(shard = %training.shard, "republishing fine-tune task that has no message");
        run.coordinator.metrics.run.republished(1);
        let messages = vec![training.message(run, &self.job)];
        // A store that lost the task may have lost the job, too.
        self.job.put(run).await?;
        Ok(run.backends().broker.publish(&Queue::Finetune, messages).await?)
    }

    /// Reads the state of the open trainings from the store, and publishes the manifest if it changed.
    pub(super) async fn update(
        &mut self,
        run: RunContext<'_>,
        manifest: &mut Manifest,
    ) -> Result<(), RunError> {
        let mut is_changed = false;
        for training in self.trainings.iter_mut().filter(|training| training.is_open()) {
            is_changed |= training.update(run).await?;
        }
        if is_changed {
            self.record(manifest);
            run_json::publish(run, manifest).await?;
        }
        if !self.unpolled(UNPOLLED).is_empty() {
            self.job.put_again(run).await?;
        }
        let progress = log_messages::progress(self.open());
        run.coordinator.progress.training(self.count(), &progress);
        training_metrics::export(&self.trainings, &run.coordinator.metrics.run);
        Ok(())
    }

    /// Deletes the training files from the artifact store. Call it when every training has ended.
    pub(super) async fn delete_files(&self, run: RunContext<'_>) {
        let trainings = self.trainings.iter();
        for training in trainings.filter(|training| training.shard.recipe.provider.reads_rows()) {
            for file in training.shard.files() {
                if let Err(error) = run.backends().artifacts.delete(run.id, file).await {
                    debug!(%error, "training file not deleted; it expires");
                }
            }
        }
    }

    /// Records the endings in the manifest. Returns the models, or why some trainings have none.
    pub(super) fn conclude(
        &self,
        run: RunContext<'_>,
        manifest: &mut Manifest,
    ) -> Result<Vec<TrainingResult>, RunError> {
        self.record(manifest);
        conclusion::conclude(&self.trainings, &run.coordinator.retry_command())
    }

    fn record(&self, manifest: &mut Manifest) {
        manifest_record::record(&self.trainings, manifest);
    }

    fn open(&self) -> impl Iterator<Item = &TrackedTraining> {
        self.trainings.iter().filter(|training| training.is_open())
    }
}

async fn resume_one(
    run: RunContext<'_>,
    manifest: &mut Manifest,
    shard: FinetuneJob,
) -> Result<TrackedTraining, RunError> {
    if has_too_few_rows(&shard) {
        let coordinator = run.coordinator;
        let reason = log_messages::too_few_rows(
            &shard,
            &manifest.counts,
            &coordinator.dir,
            &coordinator.retry_command(),
        );
        return Ok(TrackedTraining::failed(shard, reason));
    }
    let name = shard.task(0).to_string();
    let mut report = match manifest.trainings.get(&name) {
        Some(report) => report.clone(),
        None => TrainingReport::new(&shard),
    };
    let training = TrackedTraining::resume(run, shard, &mut report).await?;
    manifest.trainings.insert(name, report);
    Ok(training)
}
