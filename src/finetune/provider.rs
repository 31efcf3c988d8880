//! The interface of every provider: request, errors and the trait itself.

use super::job::FinetuneJob;
use super::spec::TrainingSpec;
use super::training::{TrainingId, TrainingState};
use crate::artifacts::{ArtifactError, ArtifactStore};
use crate::task::RunId;
use crate::training_file::TrainingFile;
use async_trait::async_trait;
use std::path::Path;

/// A training that is requested from a provider, with the idempotency key that finds it again.
pub struct TrainingRequest<'a> {
    /// The idempotency key: 32 hexadecimal characters, derived from the spec, the rows and the number of the request.
    pub key: &'a str,
    /// The run that requests it.
    pub run: &'a RunId,
    /// The model, settings and rows of the training.
    pub shard: &'a FinetuneJob,
    /// The store that contains the rows.
    pub artifacts: &'a dyn ArtifactStore,
}

impl TrainingRequest<'_> {
    /// Copies a file of the job to `to` and verifies its digest.
    pub async fn fetch(&self, file: &TrainingFile, to: &Path) -> Result<(), ArtifactError> {
        self.artifacts.get(self.run, file, to).await
    }
}

/// This worker cannot carry out the training; another worker may. The text is the reason and the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// Why a call to a provider failed.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// A transient error, such as a server that is down or busy.
    #[error("{0}")]
    Passing(String),
    /// A permanent error; the text contains the remedy.
    #[error("{0}")]
    Refused(String),
    /// The training runs on another machine, described here, and only that machine can supervise it.
    #[error("the training runs on {0}")]
    Elsewhere(String),
    /// The rows could not be read from the artifact store.
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
}

/// Why starting a training failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The training was not started.
    #[error(transparent)]
    NotStarted(#[from] ProviderError),
    /// The training may have been started: the request was sent and no answer arrived.
    #[error("no answer to the request that starts the training: {0}")]
    Unclear(String),
}

/// A service or trainer that fine-tunes models. Any worker may repeat any call after a crash.
#[async_trait]
pub trait Provider: Send + Sync {
    /// Whether trainings run on the worker's machine. If so, that worker keeps the task's lease and supervises the training until it ends.
    fn is_local(&self) -> bool {
        false
    }

    /// The id of the training of this request. `None` when the provider chooses ids.
    fn deterministic_id(&self, _order: &TrainingRequest<'_>) -> Option<TrainingId> {
        None
    }

    /// When and where the training of this request ended before. `None` if it is unknown.
    fn previous_outcome(&self, _order: &TrainingRequest<'_>) -> Option<String> {
        None
    }

    /// Checks whether a training with these settings would fail, for example because of a missing key, an unreachable server, an
    /// unknown model or a missing trainer. Returns warnings. Starts nothing and costs nothing.
    async fn preflight(&self, recipe: &TrainingSpec) -> Result<Vec<String>, ProviderError>;

    /// The training of this request that was started before and has not failed. `None` if there is none.
    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError>;

    /// Starts the training. Called only after [`Provider::find`] has returned `None`.
    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError>;

    /// The current state of the training.
    async fn poll(
        &self,
        id: &TrainingId,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingState, ProviderError>;

    /// Stops the training; returns once the provider has confirmed. Has no effect on a training that has ended.
    async fn cancel(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError>;

    /// Removes what a training with a stored outcome leaves behind, such as uploaded rows.
    async fn cleanup(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError>;
}
