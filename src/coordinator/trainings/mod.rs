//! The fine-tune jobs of a run: one per LM key, each with what `run.json` and the store know of it.

mod messages;
mod training;
mod training_metrics;

use super::prepare::Prepared;
use super::{Coordinator, RunError};
use crate::broker::Queue;
use crate::coordination::WorkerInfo;
use crate::finetune::{FinetuneJob, ID_SLOT, ProviderSpec, TrainingRecord, TrainingState};
use crate::task::TaskId;
use messages::{report_changes, report_others, report_trainers};
use std::collections::HashSet;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};
use training::{TrackedTraining, outcome};

/// The jobs, in the order of the LM keys.
pub(in crate::coordinator) struct Trainings {
    jobs: Vec<TrackedTraining>,
}

impl Trainings {
    /// What is to be trained, and what of it has been.
    pub(in crate::coordinator) async fn plan(
        coordinator: &Coordinator,
        prepared: &mut Prepared,
        shards: Vec<FinetuneJob>,
    ) -> Result<Trainings, RunError> {
        let before: HashSet<String> = prepared.manifest.trainings.keys().cloned().collect();
        let mut jobs = Vec::with_capacity(shards.len());
        for shard in shards {
            jobs.push(TrackedTraining::of(coordinator, prepared, shard).await?);
        }
        report_changes(prepared, &jobs, &before);
        report_others(prepared, &jobs);
        report_trainers(coordinator, &jobs);
        let mut jobs = Trainings { jobs };
        jobs.enter(prepared);
        jobs.show(&coordinator.metrics.run);
        Ok(jobs)
    }

    /// Whether every job has ended.
    pub(in crate::coordinator) fn have_ended(&self) -> bool {
        self.jobs.iter().all(|job| job.ending.is_some())
    }

    /// Whether somebody stopped a training.
    pub(in crate::coordinator) fn are_any_cancelled(&self) -> bool {
        let mut endings = self.jobs.iter().filter_map(|job| job.ending.as_ref());
        endings.any(|ending| ending.training == TrainingState::Cancelled)
    }

    /// Whether a training may go on somewhere.
    pub(in crate::coordinator) fn are_at_work(&self) -> bool {
        self.open().any(|job| job.known.may_be_started())
    }

    /// How many have ended, of how many.
    pub(in crate::coordinator) fn count(&self) -> (usize, usize) {
        let ended = self.jobs.iter().filter(|job| job.ending.is_some());
        (ended.count(), self.jobs.len())
    }

    /// Trainers that jobs wait for and none of the workers has.
    pub(in crate::coordinator) fn without_trainer(&self, workers: &[WorkerInfo]) -> Vec<&str> {
        let trainers = self.open().filter_map(|job| match &job.shard.recipe.provider {
            ProviderSpec::Command(command) => Some(command.trainer.as_str()),
            _ => None,
        });
        trainers
            .filter(|trainer| !workers.iter().any(|worker| worker.has_trainer(trainer)))
            .collect()
    }

    /// The tasks that have not ended and that no worker was seen at for so long.
    pub(in crate::coordinator) fn unseen(&self, patience: Duration) -> Vec<TaskId> {
        let unseen = self.open().filter(|job| job.looked.elapsed() >= patience);
        unseen.map(|job| job.task).collect()
    }

    /// Leaves the rows where workers find them, and publishes every job that has not ended.
    pub(in crate::coordinator) async fn publish(
        &self,
        coordinator: &Coordinator,
        prepared: &Prepared,
    ) -> Result<(), RunError> {
        for job in self.open() {
            job.leave(coordinator, prepared).await?;
            // An earlier store may have known it; the one that there is now may not.
            if let Some(id) = &job.known.id {
                let id = vec![(ID_SLOT, id.0.clone().into_bytes())];
                coordinator.store.import(&prepared.run, job.task, id).await?;
            }
        }
        let messages = self.open().map(|job| job.message(prepared)).collect();
        Ok(coordinator.broker.publish(&Queue::Finetune, messages).await?)
    }

    /// Publishes a job whose message is lost.
    pub(in crate::coordinator) async fn publish_again(
        &self,
        coordinator: &Coordinator,
        prepared: &Prepared,
        task: TaskId,
    ) -> Result<(), RunError> {
        let Some(job) = self.open().find(|job| job.task == task) else {
            return Ok(());
        };
        warn!(shard = %job.shard, "nobody has this fine-tune task and no message of it is left: publishing it again");
        coordinator.metrics.run.republished(1);
        let message = job.message(prepared);
        Ok(coordinator
            .broker
            .publish(&Queue::Finetune, vec![message])
            .await?)
    }

    /// Takes in what the store knows by now.
    pub(in crate::coordinator) async fn look(
        &mut self,
        coordinator: &Coordinator,
        prepared: &mut Prepared,
    ) -> Result<(), RunError> {
        let (store, run) = (&coordinator.store, prepared.run.clone());
        let mut has_news = false;
        for job in self.jobs.iter_mut().filter(|job| job.ending.is_none()) {
            // Records first: they are gone once there is an outcome.
            let known = TrainingRecord::of(&store.records(&run, job.task).await?);
            if let Some(ending) = outcome(coordinator, prepared, job.task).await? {
                job.ends(ending);
                has_news = true;
                continue;
            }
            // What it knew before and does not now, it has lost; the training is where it was.
            let known = TrainingRecord {
                id: known.id.or_else(|| job.known.id.clone()),
                started_ms: known.started_ms.or(job.known.started_ms),
                progress: known.progress.or_else(|| job.known.progress.clone()),
                looked_ms: known.looked_ms,
                ..TrainingRecord::default()
            };
            if known.looked_ms != job.known.looked_ms {
                job.looked = Instant::now();
            }
            has_news |= (&known.id, &known.progress) != (&job.known.id, &job.known.progress);
            job.known = known;
            // The rows of what is not started are needed yet.
            if !job.known.may_be_started() {
                job.leave(coordinator, prepared).await?;
            }
        }
        if has_news {
            self.enter(prepared);
            prepared.tell(coordinator).await?;
        }
        coordinator.progress.training(self.count(), &self.progress());
        self.show(&coordinator.metrics.run);
        Ok(())
    }

    /// Removes the rows from where workers find them: everything has ended.
    pub(in crate::coordinator) async fn clear_away(&self, coordinator: &Coordinator, prepared: &Prepared) {
        for job in self
            .jobs
            .iter()
            .filter(|job| job.shard.recipe.provider.reads_rows())
        {
            for file in job.shard.files() {
                if let Err(error) = coordinator.artifacts.delete(&prepared.run, file).await {
                    debug!(%error, "training file left behind; it goes away by itself");
                }
            }
        }
    }

    fn open(&self) -> impl Iterator<Item = &TrackedTraining> {
        self.jobs.iter().filter(|job| job.ending.is_none())
    }
}
