//! `provider = "command"`: a trainer process on the worker's own host, which outlives the worker.
//!
//! A training's folder contains its whole state, so any worker on the same host can resume it. The lock on the folder is held by the
//! worker that prepares the training, then by the trainer itself: the worker that acquires it knows that no trainer is alive. Only the
//! trainer's exit code proves that it ended; a trainer that disappears without one is restarted from its last checkpoint.

mod background_tasks;
mod entry_digest;
mod entry_tables;
mod finish;
mod lifecycle;
mod placeholder_check;
mod preflight;
mod prepare;
mod process;
mod procfs;
mod template;
#[cfg(test)]
mod tests;
mod trainers;
mod trainers_file;
mod trainers_file_forms;
mod trainers_file_keys;
mod work_dir;

pub use process::stop::stop_all;
pub use trainers::Trainers;
#[cfg(test)]
pub(crate) use trainers_file::problems_of_trainers;
pub(crate) use trainers_file::trainers_definition;
pub use work_dir::UnfinishedTraining;
pub(super) use work_dir::unfinished;

use super::{
    CommandSpec, Provider, ProviderError, StartError, TrainingId, TrainingRequest, TrainingSpec,
    TrainingState, Unavailable,
};
use crate::http::http_date;
use async_trait::async_trait;
use background_tasks::blocking;
use lifecycle::{Lifecycle, running};
use preflight::{check_runnable, rejected_settings};
use prepare::prepare;
use process::stop::mark_stopped;
use std::sync::Arc;
use tracing::warn;
use trainers::Trainer;
use work_dir::state::FolderState;
use work_dir::{StopCause, WorkDir};

impl Trainers {
    /// A warning when the training of `key` used an earlier definition of the trainer than the `--trainers` file has now. Its model is
    /// kept, because it was paid for. `None` when the definition is the same, or unknown.
    pub fn other_definition(&self, trainer: &str, key: &str) -> Option<String> {
        let now = &self.trainers.get(trainer)?.definition;
        let work = WorkDir::for_key(self.dir(), key)?;
        let then = work.definition()?;
        (then != *now).then(|| {
            format!(
                "the model was trained with an earlier definition of trainer {trainer}; it is kept and used ({}). To train with the new \
                 definition, rename it, such as [trainer.{trainer}-2], and use that name in the job file",
                work.root().display()
            )
        })
    }
}

/// A trainer of this machine.
pub(super) struct CommandProvider {
    name: String,
    trainer: Trainer,
    trainers: Arc<Trainers>,
    /// The id of this machine's trainings folder, part of every training id.
    folder_id: String,
}

impl CommandProvider {
    /// The trainer that a job names. [`Unavailable`] when this worker's `--trainers` file does not define it.
    pub(super) fn new(trainers: &Arc<Trainers>, spec: &CommandSpec) -> Result<CommandProvider, Unavailable> {
        let name = spec.trainer.clone();
        let Some(trainer) = trainers.trainers.get(&name).cloned() else {
            let known: Vec<&str> = trainers.names().collect();
            let known = known.join(", ");
            return Err(Unavailable(format!(
                "this worker has no trainer `{name}`: its --trainers file has {known}"
            )));
        };
        let dir = trainers.dir();
        let folder_id = work_dir::folder_id(dir).map_err(|error| {
            Unavailable(format!(
                "{} cannot hold trainings: {error}; set another `dir` in the --trainers file",
                dir.display()
            ))
        })?;
        Ok(CommandProvider {
            name,
            trainer,
            trainers: Arc::clone(trainers),
            folder_id,
        })
    }

    fn id(&self, order: &TrainingRequest<'_>) -> TrainingId {
        TrainingId(format!("{}/{}", self.folder_id, order.key))
    }

    fn folder(&self, key: &str) -> Result<WorkDir, ProviderError> {
        let found = WorkDir::for_key(self.trainers.dir(), key);
        found.ok_or_else(|| ProviderError::Refused(format!("{key:?} cannot be the key of a training")))
    }

    fn lifecycle<'a>(&'a self, work: &'a WorkDir) -> Lifecycle<'a> {
        Lifecycle {
            trainer: &self.trainer,
            tasks: &self.trainers.tasks,
            work,
        }
    }

    /// The training's folder. [`ProviderError::Elsewhere`] when the training belongs to another folder.
    fn own(&self, id: &TrainingId) -> Result<WorkDir, ProviderError> {
        match id.0.split_once('/') {
            Some((folder_id, key)) if folder_id == self.folder_id => self.folder(key),
            Some((folder_id, _)) => {
                let machine = folder_id
                    .rsplit_once('-')
                    .map_or(folder_id, |(machine, _)| machine);
                Err(ProviderError::Elsewhere(format!(
                    "machine {machine} (trainings folder {folder_id})"
                )))
            }
            None => Err(ProviderError::Refused(format!("{:?} is not a training id", id.0))),
        }
    }
}

#[async_trait]
impl Provider for CommandProvider {
    fn is_local(&self) -> bool {
        true
    }

    fn deterministic_id(&self, order: &TrainingRequest<'_>) -> Option<TrainingId> {
        Some(self.id(order))
    }

    async fn preflight(&self, recipe: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        let mut reasons = rejected_settings(&self.name, &self.trainer, recipe);
        if let Err(why) = check_runnable(&self.trainer, recipe, self.trainers.dir()).await {
            reasons.push(format!("trainer {} cannot run: {why}", self.name));
        }
        if !reasons.is_empty() {
            return Err(ProviderError::Refused(reasons.join("; ")));
        }
        if !self.trainer.measure.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![format!(
            "trainer {} has no `measure`: rows that exceed the model's context are truncated without a warning",
            self.name
        )])
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        let work = self.folder(order.key)?;
        Ok(match self.lifecycle(&work).state().await? {
            FolderState::Absent | FolderState::Done(TrainingState::Failed(_)) => None,
            _ => Some(self.id(order)),
        })
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        let reasons = rejected_settings(&self.name, &self.trainer, &order.shard.recipe);
        if !reasons.is_empty() {
            return Err(ProviderError::Refused(reasons.join("; ")).into());
        }
        let work = self.folder(order.key)?;
        let failed = work.io_error();
        work.create().map_err(&failed)?;
        let Some(lock) = work.lock("lock").map_err(&failed)? else {
            return Ok(self.id(order));
        };
        if is_started(&work) {
            return Ok(self.id(order));
        }
        let lock = Arc::new(lock);
        let unfinished = UnfinishedTraining {
            run: order.run.clone(),
            key: order.key.to_owned(),
            shard: order.shard.clone(),
        };
        work.write_json("order.json", &unfinished).map_err(&failed)?;
        let prepared = prepare(&self.trainer, &work, order, &lock).await?;
        self.lifecycle(&work).launch(prepared, lock).await?;
        Ok(self.id(order))
    }

    async fn poll(
        &self,
        id: &TrainingId,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingState, ProviderError> {
        let work = self.own(id)?;
        match self.lifecycle(&work).state().await? {
            FolderState::Absent => Ok(TrainingState::Absent),
            FolderState::Preparing => Ok(running("preparing", None)),
            FolderState::Running => self.lifecycle(&work).running().await,
            FolderState::Elsewhere(host) => Err(ProviderError::Elsewhere(format!(
                "machine {host}, which shares this folder"
            ))),
            FolderState::Ended => {
                self.lifecycle(&work).conclude().await?;
                Ok(running("finishing", None))
            }
            FolderState::Lost => self.lifecycle(&work).restart().await,
            FolderState::Done(training) => {
                if let (TrainingState::Succeeded(_), Some(why)) =
                    (&training, self.trainers.other_definition(&self.name, order.key))
                {
                    warn!(job = %order.shard, why, "trainer definition changed");
                }
                Ok(training)
            }
        }
    }

    fn previous_outcome(&self, order: &TrainingRequest<'_>) -> Option<String> {
        let work = self.folder(order.key).ok()?;
        let at = http_date(work.ended_at()?);
        Some(format!("{at}, in {}", work.root().display()))
    }

    async fn cancel(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let work = self.own(id)?;
        mark_stopped(&work, &StopCause::Cancelled).map_err(work.io_error())?;
        // An upload may run for hours.
        self.trainers.tasks.abort(work.root()).await;
        self.lifecycle(&work).conclude().await?;
        self.trainers
            .tasks
            .ended(work.root())
            .await
            .map_err(work.io_error())
    }

    async fn cleanup(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let work = self.own(id)?;
        let inner = work.clone();
        let removed = blocking(move || {
            inner.create()?;
            for name in ["train", "validation", "rows.jsonl"] {
                inner.remove(name)?;
            }
            std::fs::write(inner.path("ended"), [])
        });
        removed.await.map_err(work.io_error())?;
        self.trainers.tasks.abort(work.root()).await;
        Ok(())
    }
}

/// Whether the training was started, ended or stopped before. Called under the lock.
fn is_started(work: &WorkDir) -> bool {
    work.attempts() > 0 || work.outcome().is_some() || work.stop().is_some()
}
