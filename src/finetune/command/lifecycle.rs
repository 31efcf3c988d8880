//! The life of a training, poll by poll: acts on what its folder contains and never waits for the trainer.

use super::background_tasks::{Tasks, blocking};
use super::finish::finish;
use super::process::launch;
use super::process::stop::{LEFTOVER_GRACE, end_group, mark_stopped};
use super::trainers::Trainer;
use super::work_dir::state::{FolderState, read_state};
use super::work_dir::{PreparedTraining, StopCause, WorkDir, WorkLock, progress};
use crate::finetune::{ProviderError, TrainingProgress, TrainingState};
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tracing::{info, warn};

/// How often a trainer that disappeared without an exit code is restarted. Machines go down, but rarely three times in one training.
const MAX_RESTARTS: u32 = 3;

/// How often `finish.lock` is retried while another worker finishes a training that must be stopped.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// One training and what is needed to act on it.
pub(super) struct Lifecycle<'a> {
    pub(super) trainer: &'a Trainer,
    pub(super) tasks: &'a Tasks,
    pub(super) work: &'a WorkDir,
}

impl Lifecycle<'_> {
    pub(super) async fn state(&self) -> Result<FolderState, ProviderError> {
        let inner = self.work.clone();
        let state = blocking(move || read_state(&inner)).await;
        state.map_err(self.work.io_error())
    }

    /// Determines the outcome in the background, after it has stopped the trainer where `stop.json` asks for that.
    pub(super) async fn conclude(&self) -> Result<(), ProviderError> {
        let task = || conclude(self.trainer.clone(), self.work.clone());
        let running = self.tasks.ensure(self.work.root(), task).await;
        running.map_err(self.work.io_error())
    }

    pub(super) async fn launch(
        &self,
        prepared: PreparedTraining,
        lock: Arc<WorkLock>,
    ) -> Result<(), ProviderError> {
        let (trainer, inner) = (self.trainer.clone(), self.work.clone());
        let launched = blocking(move || match inner.stop() {
            Some(_) => Ok(None),
            None => launch::launch(&trainer, &inner, &prepared, &lock).map(Some),
        });
        if let Some(child) = launched.await.map_err(self.work.io_error())? {
            self.tasks.reap(child);
        }
        // A cancellation may have searched for the trainer just before it existed.
        if self.work.stop().is_some() {
            self.conclude().await?;
        }
        Ok(())
    }

    /// Restarts a trainer that disappeared without an exit code.
    pub(super) async fn restart(&self) -> Result<TrainingState, ProviderError> {
        let work = self.work;
        // Child processes that outlived the trainer and hold no lock.
        end_group(work, Some(LEFTOVER_GRACE)).await;
        let Some(lock) = work.lock("lock").map_err(work.io_error())? else {
            // Another worker restarts it, or reads its state at this moment.
            return Ok(running("starting", None));
        };
        // While we hold the lock, no trainer is alive and no other worker starts one.
        if work.exit_code().is_some() {
            return Ok(running("finishing", None));
        }
        let attempts = work.attempts();
        let failed =
            |why: String| TrainingState::Failed(format!("{why}; its logs are in {}", work.root().display()));
        let outcome = match work.prepared() {
            _ if attempts > MAX_RESTARTS => failed(format!(
                "the trainer disappeared without an exit code {attempts} times"
            )),
            None => failed("the trainer disappeared, and its prepared.json is missing".to_owned()),
            Some(prepared) => {
                warn!(folder = %work.root().display(), attempts, "trainer disappeared without an exit code: restarting");
                self.launch(prepared, Arc::new(lock)).await?;
                let message = format!(
                    "the trainer disappeared and was restarted (attempt {})",
                    attempts + 1
                );
                return Ok(running("running", Some(message)));
            }
        };
        work.write_json("outcome.json", &outcome)
            .map_err(work.io_error())?;
        Ok(outcome)
    }

    /// The progress of a running trainer. Stops it when it exceeds `timeout_secs` or `silence_secs`.
    pub(super) async fn running(&self) -> Result<TrainingState, ProviderError> {
        let (trainer, inner) = (self.trainer.clone(), self.work.clone());
        let read = blocking(move || {
            if let Some(why) = overdue(&trainer, &inner) {
                mark_stopped(&inner, &StopCause::Late(why))?;
                return Ok(None);
            }
            let prepared = inner.prepared().unwrap_or_default();
            let mut progress = progress::read(&trainer.progress, &inner, &prepared.values);
            progress.status = Some("running".to_owned());
            progress.message = progress.message.or(prepared.message);
            Ok(Some(progress))
        });
        match read.await.map_err(self.work.io_error())? {
            Some(progress) => Ok(TrainingState::Running(progress)),
            None => {
                self.conclude().await?;
                Ok(running("stopping", None))
            }
        }
    }
}

/// Why a running trainer must be stopped. `None` while it is within its limits.
fn overdue(trainer: &Trainer, work: &WorkDir) -> Option<String> {
    let since = |time: SystemTime| SystemTime::now().duration_since(time).unwrap_or_default();
    let started = fs::metadata(work.path("attempts")).ok()?.modified().ok()?;
    let logs = work.root().display();
    let secs = |time: Duration| time.as_secs_f64();
    if since(started) > trainer.timeout {
        let limit = secs(trainer.timeout);
        return Some(format!(
            "it took longer than `timeout_secs` = {limit}; its logs are in {logs}"
        ));
    }
    let written = progress::last_output(&trainer.progress, work)?;
    (since(written) > trainer.silence).then(|| {
        let limit = secs(trainer.silence);
        format!("it wrote no output for `silence_secs` = {limit}; its logs are in {logs}")
    })
}

/// Stops the trainer where `stop.json` asks for that, then determines the outcome and stores it in `outcome.json`.
async fn conclude(trainer: Trainer, work: WorkDir) -> io::Result<()> {
    // Two workers on one host may both observe a training whose lease has just changed hands.
    let _lock = loop {
        match work.lock("finish.lock")? {
            Some(lock) => break lock,
            None if work.stop().is_some() && work.outcome().is_none() => {
                tokio::time::sleep(LOCK_RETRY_INTERVAL).await;
            }
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
    info!(folder = %work.root().display(), outcome = outcome_name(&outcome), "training ended");
    work.write_json("outcome.json", &outcome)
}

fn outcome_name(outcome: &TrainingState) -> &'static str {
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
