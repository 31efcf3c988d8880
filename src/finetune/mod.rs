//! Fine-tuning: the provider seam, what a provider is given and what it gives back.
//!
//! A training is started at most once. The worker keeps that promise (`worker::finetune`) with what a provider offers: to find the
//! training of a key, to start one, and to say honestly when it does not know whether it has.

mod command;
mod conversation;
mod data_files;
mod export;
mod fireworks;
mod http;
mod openai;
mod providers;
pub mod row_formats;
mod simulated;
mod slug;
mod spec;
mod together;
mod train_keys;
mod training_record;

pub use command::{Trainers, UnfinishedTraining, stop_all};
pub use conversation::{ChatMessage, Conversation, RowError, Turn};
pub use data_files::{DataPart, file_name, key_name};
pub use providers::{Providers, Unavailable};
pub use spec::{CommandSpec, ExportSpec, FireworksSpec, ProviderSpec, RowFormat, ServiceSpec, TrainingSpec};
pub use training_record::{
    ID_SLOT, LOOKED_SLOT, NOT_HERE_SLOT, PREFLIGHT_SLOT, PROGRESS_SLOT, Preflight, STARTED_SLOT,
    TrainingRecord, now_ms,
};

pub use crate::training_file::TrainingFile;

use crate::artifacts::{ArtifactError, ArtifactStore};
use crate::task::{RunId, TaskId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// One LM key's training data and what to do with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneJob {
    /// What is trained, how and by whom.
    pub recipe: TrainingSpec,
    /// The rows that are trained on.
    pub data: TrainingFile,
    /// The rows that are kept back to measure with.
    pub validation: Option<TrainingFile>,
}

impl FinetuneJob {
    /// The id of the task that asks for its training for the so manieth time, whose text is the order's key. Derived from all that a
    /// training depends on: the same data and arguments are the same training; another attempt is another one.
    pub fn task(&self, attempt: u32) -> TaskId {
        let recipe = serde_json::to_vec(&self.recipe).expect("plain data serialises");
        let validation = self.validation.as_ref().map_or("", |file| &file.sha256);
        TaskId::derive(&[
            b"finetune",
            &recipe,
            self.data.sha256.as_bytes(),
            validation.as_bytes(),
            &attempt.to_le_bytes(),
        ])
    }

    /// Its files of rows.
    pub fn files(&self) -> impl Iterator<Item = &TrainingFile> {
        [&self.data].into_iter().chain(&self.validation)
    }
}

impl fmt::Display for FinetuneJob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.recipe.fmt(f)
    }
}

/// How far a training is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrainingState {
    /// Not ended: ask again later.
    Running(TrainingProgress),
    /// There is a model.
    Succeeded(TrainingResult),
    /// It ended without a model, for this reason.
    Failed(String),
    /// Somebody stopped it.
    Cancelled,
    /// There is no training of that id. Where ids are chosen by us ([`Provider::deterministic_id`]): it was not started yet.
    Absent,
}

/// What is known of a training that goes on. Everything is optional: providers tell different things.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingProgress {
    /// The provider's own word for its state, such as `validating_files`.
    pub status: Option<String>,
    /// Steps made.
    pub step: Option<u64>,
    /// Of so many.
    pub total_steps: Option<u64>,
    /// Passes over the data.
    pub epoch: Option<f64>,
    /// The latest training loss.
    pub loss: Option<f64>,
    /// How much is done, 0 to 100.
    pub percent: Option<f64>,
    /// The latest thing worth telling, on one line.
    pub message: Option<String>,
}

impl fmt::Display for TrainingProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match (self.step, self.total_steps) {
            (Some(step), Some(total)) => Some(format!("step {step}/{total}")),
            (Some(step), None) => Some(format!("step {step}")),
            (None, _) => None,
        };
        let parts = [
            self.status.clone(),
            self.percent.map(|percent| format!("{percent:.0} %")),
            step,
            self.epoch.map(|epoch| format!("epoch {epoch:.2}")),
            self.loss.map(|loss| format!("loss {loss:.4}")),
            self.message.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(match parts.is_empty() {
            true => "running",
            false => "",
        })?;
        f.write_str(&parts.join(" "))
    }
}

/// What a training gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrainingResult {
    /// The new model, as DSPy's `LM(model=…)` takes it; none: nothing was trained, the rows are for the user to train on.
    pub model: Option<String>,
    /// Where it is served; none: where the student's LM is.
    pub api_base: Option<String>,
    /// Tokens that were trained on, where the provider says so: what is billed.
    pub tokens: Option<u64>,
    /// The last training loss, where it is known.
    pub loss: Option<f64>,
}

/// How a training ended, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingOutcome {
    /// The provider's id; none where nothing was started.
    pub id: Option<TrainingId>,
    /// Never [`TrainingState::Running`] nor [`TrainingState::Absent`].
    pub training: TrainingState,
}

/// The provider's own id of a training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrainingId(pub String);

/// What a provider is asked to train, and the key that finds it again.
pub struct TrainingRequest<'a> {
    /// Derived from the LM key, the rows, the model, the arguments, and how often this was asked for: 32 hexadecimal characters.
    pub key: &'a str,
    /// The run that wants it.
    pub run: &'a RunId,
    /// What.
    pub shard: &'a FinetuneJob,
    /// Where the rows are.
    pub artifacts: &'a dyn ArtifactStore,
}

impl TrainingRequest<'_> {
    /// Brings a file of the shard to that path, whole and as its digest says.
    pub async fn fetch(&self, file: &TrainingFile, to: &Path) -> Result<(), ArtifactError> {
        self.artifacts.get(self.run, file, to).await
    }
}

/// Why a provider did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It may be different soon: a server that is away or busy.
    #[error("{0}")]
    Passing(String),
    /// It will not be different until somebody changes something; says what.
    #[error("{0}")]
    Refused(String),
    /// The training is at another machine, which alone can look after it: which one, in words.
    #[error("the training is looked after at {0}")]
    Elsewhere(String),
    /// The rows could not be had.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
}

/// Why a training was not started, as far as the provider knows.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It was certainly not started.
    #[error(transparent)]
    NotStarted(#[from] ProviderError),
    /// It may have been started: the request went out and no answer came back.
    #[error("no answer to the request that starts the training: {0}")]
    Unclear(String),
}

/// Somebody who trains models. Every method may be called again, by any worker, after any death.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Whether a training goes on at the worker that started it: then that worker holds the task and looks after it until its end.
    fn is_local(&self) -> bool {
        false
    }

    /// The id that the training of this order has or will have, where we choose it.
    fn deterministic_id(&self, _order: &TrainingRequest<'_>) -> Option<TrainingId> {
        None
    }

    /// When and where the training of this order's key ended, in words, where that is known.
    fn previous_outcome(&self, _order: &TrainingRequest<'_>) -> Option<String> {
        None
    }

    /// Whether a training by this recipe would fail for a reason that is there already: no key, no server, an unknown model, a
    /// missing trainer. Gives what is allowed but worth telling. Starts and costs nothing.
    async fn preflight(&self, recipe: &TrainingSpec) -> Result<Vec<String>, ProviderError>;

    /// The training of this order's key, where one was started before and has not failed.
    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError>;

    /// Starts it. Called only when [`Provider::find`] has found none.
    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError>;

    /// How far it is.
    async fn poll(
        &self,
        id: &TrainingId,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingState, ProviderError>;

    /// Stops it; returns when the provider has heard. Harmless when it has ended.
    async fn cancel(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError>;

    /// It has ended and its outcome is stored: removes what nobody needs any more, such as the uploaded rows.
    async fn cleanup(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError>;
}
