//! The depot: where the coordinator leaves training files for the workers that train on them.
//!
//! It may lose a file, as it may lose anything: DIR has it, and the coordinator leaves it there again.
//! `tests/conformance/artifacts.rs` says what each implementation promises.

mod dir;

pub use dir::DirArtifacts;

use crate::store::StoreError;
use crate::task::RunId;
use crate::training_file::TrainingFile;
use async_trait::async_trait;
use std::io;
use std::path::{Path, PathBuf};

/// Where training files change hands. Every method may be called again after an error.
#[async_trait]
pub trait ArtifactStore: Send + Sync {
    /// Leaves the file, which stands at `path`, for the run's workers. Again: harmless.
    async fn put(&self, run: &RunId, file: &TrainingFile, path: &Path) -> Result<(), ArtifactError>;

    /// Whether the file is there, whole.
    async fn exists(&self, run: &RunId, file: &TrainingFile) -> Result<bool, ArtifactError>;

    /// Brings the file to `to`, whole and as its digest says, or not at all. [`ArtifactError::Missing`]: it is not there, or not any more.
    async fn get(&self, run: &RunId, file: &TrainingFile, to: &Path) -> Result<(), ArtifactError>;

    /// Nobody needs the file any more.
    async fn delete(&self, run: &RunId, file: &TrainingFile) -> Result<(), ArtifactError>;
}

/// Why a file did not change hands.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is not there (yet, or any more), or not as its digest says: its coordinator leaves it there again.
    #[error("the training file {0} is not there")]
    Missing(String),
    /// The store that holds it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file on this machine.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ArtifactError {
    /// Names the file of an I/O error.
    pub fn with_path(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ArtifactError {
        let path = path.into();
        move |source| ArtifactError::File { path, source }
    }
}
