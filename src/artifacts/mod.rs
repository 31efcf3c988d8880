//! Artifacts: the training files that the coordinator uploads for the workers that train on them.
//!
//! A store may lose a file: DIR keeps the original, and the coordinator uploads it again.
//! `tests/conformance/artifacts.rs` specifies each implementation.

mod embedded;

pub use embedded::DirArtifacts;

use crate::store_error::StoreError;
use crate::system_error::explained;
use crate::task::RunId;
use crate::training_file::TrainingFile;
use async_trait::async_trait;
use std::io;
use std::path::{Path, PathBuf};

/// Every method may be called again after an error.
#[async_trait]
pub trait ArtifactStore: Send + Sync {
    /// Uploads the file at `path`. Repeating it is harmless.
    async fn put(&self, run: &RunId, file: &TrainingFile, path: &Path) -> Result<(), ArtifactError>;

    /// Whether the complete file is stored.
    async fn exists(&self, run: &RunId, file: &TrainingFile) -> Result<bool, ArtifactError>;

    /// Downloads the file to `to` and checks its digest. After an error `to` does not exist;
    /// [`ArtifactError::Missing`] when the file is not stored or no longer.
    async fn get(&self, run: &RunId, file: &TrainingFile, to: &Path) -> Result<(), ArtifactError>;

    /// Deletes the file, which no training needs any more.
    async fn delete(&self, run: &RunId, file: &TrainingFile) -> Result<(), ArtifactError>;
}

/// Why a file was not transferred.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The file is not stored, or its digest is wrong: the coordinator uploads it again.
    #[error("the training file {0} is missing")]
    Missing(String),
    /// The store that holds the file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A local file operation failed.
    #[error("{}: {}", .path.display(), explained(.source))]
    File { path: PathBuf, source: io::Error },
}

impl ArtifactError {
    /// Adds the path to an I/O error.
    pub fn with_path(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ArtifactError {
        let path = path.into();
        move |source| ArtifactError::File { path, source }
    }
}
