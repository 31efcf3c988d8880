//! Fine-tuning: the provider seam, what a provider is given and what it gives back.
//!
//! A training is started at most once: the worker stores its intent, asks the provider to find or start the training of that
//! intent, stores the provider's id, and from then on only polls.

mod export;
mod simulated;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::path::PathBuf;

/// One LM key's training data and what to do with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shard {
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor whose rows these are, as DSPy names it; none: of all predictors (`multitask`).
    pub predictor: Option<String>,
    /// The model that is trained, as the job file names it.
    pub model: String,
    /// The provider's name.
    pub provider: String,
    /// DSPy's `train_kwargs`.
    pub train: Map<String, Json>,
    /// The provider's own options.
    pub options: Map<String, Json>,
    /// The training file.
    pub data: PathBuf,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Its rows.
    pub rows: u64,
}

/// How far a training is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Training {
    /// Not ended: ask again later.
    Running,
    /// There is a model.
    Succeeded(Trained),
    /// It ended without a model, for this reason.
    Failed(String),
}

/// What a training gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trained {
    /// The new model, as DSPy's `LM(model=…)` takes it; none: nothing was trained, the rows are for the user to train on.
    pub model: Option<String>,
    /// Where it is served; none: where the student's LM is.
    pub api_base: Option<String>,
}

/// How a training ended, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingOutcome {
    /// The provider's id; none where nothing was started.
    pub id: Option<TrainingId>,
    /// Never [`Training::Running`].
    pub training: Training,
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.predictor {
            None => write!(f, "lm {}", self.lm),
            Some(predictor) => write!(f, "lm {}, predictor {predictor}", self.lm),
        }
    }
}

/// The provider's own id of a training.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrainingId(pub String);

/// Why a provider could not be asked; the training may still be going on.
#[derive(Debug, thiserror::Error)]
#[error("provider {provider}: {message}")]
pub struct ProviderError {
    /// Which provider.
    pub provider: String,
    /// What happened.
    pub message: String,
}

/// Somebody who trains models.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The training of this intent: found where an earlier attempt started it, started otherwise.
    async fn find_or_start(&self, intent: &str, shard: &Shard) -> Result<TrainingId, ProviderError>;

    /// How far it is.
    async fn poll(&self, id: &TrainingId, shard: &Shard) -> Result<Training, ProviderError>;
}

/// The names that `provider = …` knows.
pub const PROVIDERS: [&str; 2] = ["export", "simulated"];

/// The provider of that name.
pub fn provider(name: &str) -> Option<Box<dyn Provider>> {
    match name {
        "export" => Some(Box::new(export::Export)),
        "simulated" => Some(Box::new(simulated::Simulated)),
        _ => None,
    }
}
