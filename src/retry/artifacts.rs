//! An artifact store decorator that outlasts outages.

use super::{RetryUntilShutdown, Transient};
use crate::artifacts::{ArtifactError, ArtifactStore};
use crate::metrics::Waits;
use crate::shutdown::Shutdown;
use crate::task::RunId;
use crate::training_file::TrainingFile;
use async_trait::async_trait;
use std::path::Path;
use std::sync::Arc;

/// Retries every call until it succeeds or the process aborts.
pub struct RetryingArtifacts {
    artifacts: Arc<dyn ArtifactStore>,
    retry: RetryUntilShutdown,
}

impl RetryingArtifacts {
    /// Retries end when `shutdown` aborts; `waits` counts the calls that had to be retried.
    pub fn new(artifacts: Arc<dyn ArtifactStore>, shutdown: Shutdown, waits: Waits) -> RetryingArtifacts {
        RetryingArtifacts {
            artifacts,
            retry: RetryUntilShutdown::new(shutdown, waits),
        }
    }
}

impl Transient for ArtifactError {
    fn is_transient(&self) -> bool {
        match self {
            ArtifactError::Store(error) => error.is_transient(),
            ArtifactError::Missing(_) | ArtifactError::File { .. } => false,
        }
    }

    fn needs_operator(&self) -> bool {
        matches!(self, ArtifactError::Store(error) if error.needs_operator())
    }
}

#[async_trait]
impl ArtifactStore for RetryingArtifacts {
    async fn put(&self, run: &RunId, file: &TrainingFile, path: &Path) -> Result<(), ArtifactError> {
        self.retry.retry(|| self.artifacts.put(run, file, path)).await
    }

    async fn exists(&self, run: &RunId, file: &TrainingFile) -> Result<bool, ArtifactError> {
        self.retry.retry(|| self.artifacts.exists(run, file)).await
    }

    async fn get(&self, run: &RunId, file: &TrainingFile, to: &Path) -> Result<(), ArtifactError> {
        self.retry.retry(|| self.artifacts.get(run, file, to)).await
    }

    async fn delete(&self, run: &RunId, file: &TrainingFile) -> Result<(), ArtifactError> {
        self.retry.retry(|| self.artifacts.delete(run, file)).await
    }
}
