//! Looking after a training from poll to poll: what its folder says is acted on, and nothing waits for it.

use super::CommandProvider;
use super::config::Trainer;
use super::finish::{LEFTOVERS, blocking, finish};
use super::launch;
use super::look::{FolderState, look, overdue};
use super::prepare::passing;
use super::progress;
use super::stop::{StopCause, end_group, mark};
use super::workdir::{PreparedTraining, WorkDir, WorkLock};
use crate::finetune::{ProviderError, TrainingProgress, TrainingState};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How often a training is started again whose trainer vanished: machines go down, but not three times by chance.
const RESTARTS: u32 = 3;

/// How often the lock of another worker is tried that finds out how a training ended, while the training is to be stopped.
const AGAIN: Duration = Duration::from_millis(100);

impl CommandProvider {
    pub(super) async fn look(&self, work: &WorkDir) -> Result<FolderState, ProviderError> {
        let inner = work.clone();
        blocking(move || look(&inner)).await.map_err(passing(work))
    }

    /// Finds out in the background how the training ended, after ending it where that is wanted.
    pub(super) async fn conclude(&self, work: &WorkDir) -> Result<(), ProviderError> {
        let task = || conclude(self.trainer.clone(), work.clone());
        self.trainers
            .tasks
            .ensure(work, task)
            .await
            .map_err(passing(work))
    }

    pub(super) async fn launch(
        &self,
        work: &WorkDir,
        prepared: PreparedTraining,
        lock: Arc<WorkLock>,
    ) -> Result<(), ProviderError> {
        let (trainer, inner) = (self.trainer.clone(), work.clone());
        let launched = blocking(move || match inner.stop() {
            Some(_) => Ok(None),
            None => launch::launch(&trainer, &inner, &prepared, &lock).map(Some),
        });
        if let Some(child) = launched.await.map_err(passing(work))? {
            self.trainers.tasks.reap(child);
        }
        // Somebody may have looked for a trainer to stop just before there was one.
        if work.stop().is_some() {
            self.conclude(work).await?;
        }
        Ok(())
    }

    /// Starts a training again whose trainer vanished.
    pub(super) async fn restart(&self, work: &WorkDir) -> Result<TrainingState, ProviderError> {
        // Children of its that kept nothing open but themselves.
        end_group(work, Some(LEFTOVERS)).await;
        let Some(lock) = work.lock("lock").map_err(passing(work))? else {
            // Somebody else was quicker, or looks just now.
            return Ok(running("starting", None));
        };
        // Under the lock no trainer is alive, and none is started but by us.
        if work.exit_code().is_some() {
            return Ok(running("finishing", None));
        }
        let attempts = work.attempts();
        let failed =
            |why: String| TrainingState::Failed(format!("{why}; its logs are in {}", work.root().display()));
        let outcome = match work.prepared() {
            _ if attempts > RESTARTS => failed(format!(
                "the trainer vanished without an exit code {attempts} times"
            )),
            None => failed("the trainer vanished, and its prepared.json is gone".to_owned()),
            Some(prepared) => {
                warn!(folder = %work.root().display(), attempts, "the trainer vanished without an exit code and is started again");
                self.launch(work, prepared, Arc::new(lock)).await?;
                let message = format!(
                    "the trainer vanished and was started again (attempt {})",
                    attempts + 1
                );
                return Ok(running("running", Some(message)));
            }
        };
        work.write_json("outcome.json", &outcome).map_err(passing(work))?;
        Ok(outcome)
    }

    /// How far a trainer that runs is; stops it where it takes too long.
    pub(super) async fn running(&self, work: &WorkDir) -> Result<TrainingState, ProviderError> {
        let (trainer, inner) = (self.trainer.clone(), work.clone());
        let seen = blocking(move || {
            if let Some(why) = overdue(&trainer, &inner) {
                mark(&inner, &StopCause::Late(why))?;
                return Ok(None);
            }
            let prepared = inner.prepared().unwrap_or_default();
            let mut progress = progress::read(&trainer.progress, &inner, &prepared.values);
            progress.status = Some("running".to_owned());
            progress.message = progress.message.or(prepared.message);
            Ok(Some(progress))
        });
        match seen.await.map_err(passing(work))? {
            Some(progress) => Ok(TrainingState::Running(progress)),
            None => {
                self.conclude(work).await?;
                Ok(running("stopping", None))
            }
        }
    }
}

/// Ends the trainer where that is wanted, then finds out what became of the training.
async fn conclude(trainer: Trainer, work: WorkDir) -> io::Result<()> {
    // Two workers of a place may both look at a training whose lease has just changed hands.
    let _lock = loop {
        match work.lock("finish.lock")? {
            Some(lock) => break lock,
            None if work.stop().is_some() && work.outcome().is_none() => tokio::time::sleep(AGAIN).await,
            None => return Ok(()),
        }
    };
    if work.outcome().is_some() {
        return Ok(());
    }
    if work.stop().is_some() && !end_group(&work, Some(trainer.grace)).await {
        return Err(io::Error::other("the trainer cannot be killed"));
    }
    let outcome = finish(&trainer, &work).await?;
    info!(folder = %work.root().display(), ended = outcome_word(&outcome), "a training has ended");
    work.write_json("outcome.json", &outcome)
}

fn outcome_word(outcome: &TrainingState) -> &'static str {
    match outcome {
        TrainingState::Running(_) => "running",
        TrainingState::Succeeded(_) => "succeeded",
        TrainingState::Failed(_) => "failed",
        TrainingState::Cancelled => "cancelled",
        TrainingState::Absent => "absent",
    }
}

pub(super) fn running(status: &str, message: Option<String>) -> TrainingState {
    TrainingState::Running(TrainingProgress {
        status: Some(status.to_owned()),
        message,
        ..TrainingProgress::default()
    })
}
