//! `provider = "command"`: a trainer on the worker's own machine, which outlives the worker.
//!
//! All that is known of a training is in its folder, so that any worker of the same place can go on with it. The lock on the folder is
//! held by whoever prepares the training, then by the trainer itself: who gets it knows that no trainer is alive. A trainer's own exit code
//! is what says that it ended; gone without one, it is started again where it was.

mod care;
mod command_check;
mod config;
mod convert;
mod definition;
mod environment;
mod finish;
mod launch;
mod look;
mod measure;
mod parts;
mod placeholders;
mod prepare;
mod procfs;
mod progress;
mod reading;
mod result;
mod serve;
mod stop;
mod subprocess;
mod table;
mod tasks;
mod template;
#[cfg(test)]
mod tests;
mod values;
mod workdir;

pub use config::Trainers;
pub use stop::stop_all;
pub use workdir::UnfinishedTraining;
pub(super) use workdir::unfinished;

use super::{
    CommandSpec, Provider, ProviderError, StartError, TrainingId, TrainingRequest, TrainingSpec,
    TrainingState, Unavailable,
};
use crate::http::http_date;
use async_trait::async_trait;
use care::running;
use config::Trainer;
use finish::blocking;
use look::FolderState;
use prepare::{passing, prepare};
use std::sync::Arc;
use std::time::Duration;
use stop::{StopCause, mark};
use tracing::warn;
use values::{Values, unfit_recipe};
use workdir::WorkDir;

/// How long `check` may take: Python with its largest libraries is there within a minute.
const CHECK: Duration = Duration::from_secs(180);

/// A trainer of this machine.
pub(super) struct CommandProvider {
    name: String,
    trainer: Trainer,
    trainers: Arc<Trainers>,
    place: String,
}

impl CommandProvider {
    /// The trainer that a job names, where this worker has it.
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
        let place = workdir::place(dir).map_err(|error| {
            Unavailable(format!(
                "{} cannot hold trainings: {error}; write another `dir` into the --trainers file",
                dir.display()
            ))
        })?;
        Ok(CommandProvider {
            name,
            trainer,
            trainers: Arc::clone(trainers),
            place,
        })
    }

    fn id(&self, order: &TrainingRequest<'_>) -> TrainingId {
        TrainingId(format!("{}/{}", self.place, order.key))
    }

    fn folder(&self, key: &str) -> Result<WorkDir, ProviderError> {
        let found = WorkDir::of(self.trainers.dir(), key);
        found.ok_or_else(|| ProviderError::Refused(format!("{key:?} cannot be the key of a training")))
    }

    /// The training's folder, where it is in this place.
    fn own(&self, id: &TrainingId) -> Result<WorkDir, ProviderError> {
        match id.0.split_once('/') {
            Some((place, key)) if place == self.place => self.folder(key),
            Some((place, _)) => {
                let host = place.rsplit_once('-').map_or(place, |(host, _)| host);
                Err(ProviderError::Elsewhere(format!(
                    "machine {host} (place {place})"
                )))
            }
            None => Err(ProviderError::Refused(format!(
                "{:?} is not the id of a training here",
                id.0
            ))),
        }
    }

    async fn check(&self, recipe: &TrainingSpec) -> Result<(), String> {
        look::program(&self.trainer)?;
        if self.trainer.check.is_empty() {
            return Ok(());
        }
        let values = Values::of(&self.trainer, recipe);
        let argv = environment::arguments(&self.trainer.check, &values);
        let variables = environment::variables(&self.trainer, &values);
        let ended = subprocess::run(&argv, variables, self.trainers.dir(), CHECK).await;
        let ended = ended.map_err(|error| format!("its `check` cannot be run: {error}"))?;
        match ended.code {
            Some(0) => Ok(()),
            _ => {
                let words = environment::without_secrets(&self.trainer, ended.last_words().to_owned());
                Err(format!("its `check` failed: {words}"))
            }
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
        let mut reasons = unfit_recipe(&self.name, &self.trainer, recipe);
        if let Err(why) = self.check(recipe).await {
            reasons.push(format!("trainer {} cannot run: {why}", self.name));
        }
        if !reasons.is_empty() {
            return Err(ProviderError::Refused(reasons.join("; ")));
        }
        Ok(match self.trainer.measure.is_empty() {
            false => Vec::new(),
            true => vec![format!(
                "trainer {} has no `measure`: rows that are longer than the model takes are cut unseen",
                self.name
            )],
        })
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        let work = self.folder(order.key)?;
        Ok(match self.look(&work).await? {
            FolderState::Absent | FolderState::Done(TrainingState::Failed(_)) => None,
            _ => Some(self.id(order)),
        })
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        let reasons = unfit_recipe(&self.name, &self.trainer, &order.shard.recipe);
        if !reasons.is_empty() {
            return Err(ProviderError::Refused(reasons.join("; ")).into());
        }
        let work = self.folder(order.key)?;
        let failed = passing(&work);
        work.create().map_err(&failed)?;
        let Some(lock) = work.lock("lock").map_err(&failed)? else {
            return Ok(self.id(order));
        };
        if look_started(&work) {
            return Ok(self.id(order));
        }
        let lock = Arc::new(lock);
        let note = UnfinishedTraining {
            run: order.run.clone(),
            key: order.key.to_owned(),
            shard: order.shard.clone(),
        };
        work.write_json("order.json", &note).map_err(&failed)?;
        let prepared = prepare(&self.trainer, &work, order, &lock).await?;
        self.launch(&work, prepared, lock).await?;
        Ok(self.id(order))
    }

    async fn poll(
        &self,
        id: &TrainingId,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingState, ProviderError> {
        let work = self.own(id)?;
        match self.look(&work).await? {
            FolderState::Absent => Ok(TrainingState::Absent),
            FolderState::Preparing => Ok(running("preparing", None)),
            FolderState::Running => self.running(&work).await,
            FolderState::Elsewhere(host) => Err(ProviderError::Elsewhere(format!(
                "machine {host}, which has the same folder"
            ))),
            FolderState::Ended => {
                self.conclude(&work).await?;
                Ok(running("finishing", None))
            }
            FolderState::Lost => self.restart(&work).await,
            FolderState::Done(training) => {
                if let (TrainingState::Succeeded(_), Some(why)) =
                    (&training, self.trainers.other_definition(&self.name, order.key))
                {
                    warn!("fine-tune job of {}: {why}", order.shard);
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
        mark(&work, &StopCause::Cancelled).map_err(passing(&work))?;
        // An upload may go on for hours.
        self.trainers.tasks.abort(&work).await;
        self.conclude(&work).await?;
        self.trainers.tasks.ended(&work).await.map_err(passing(&work))
    }

    async fn cleanup(&self, id: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        let work = self.own(id)?;
        let inner = work.clone();
        let tidied = blocking(move || {
            inner.create()?;
            for name in ["train", "validation", "rows.jsonl"] {
                inner.remove(name)?;
            }
            std::fs::write(inner.path("ended"), [])
        });
        tidied.await.map_err(passing(&work))?;
        self.trainers.tasks.abort(&work).await;
        Ok(())
    }
}

/// Whether a start has nothing to do any more. Asked under the lock.
fn look_started(work: &WorkDir) -> bool {
    work.attempts() > 0 || work.outcome().is_some() || work.stop().is_some()
}
