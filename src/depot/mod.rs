//! The depot: where the coordinator leaves training files for the workers that train on them.
//!
//! It may lose a file, as it may lose anything: DIR has it, and the coordinator leaves it there again.
//! `tests/conformance/depot.rs` says what each implementation promises.

mod folder;
mod patient;

pub use folder::Folder;
pub use patient::PatientDepot;

use crate::finetune::TrainingFile;
use crate::store::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use std::io;
use std::path::{Path, PathBuf};

/// Where training files change hands. Every method may be called again after an error.
#[async_trait]
pub trait Depot: Send + Sync {
    /// Leaves the file, which stands at `path`, for the run's workers. Again: harmless.
    async fn put(&self, run: &RunId, file: &TrainingFile, path: &Path) -> Result<(), DepotError>;

    /// Whether the file is there, whole.
    async fn has(&self, run: &RunId, file: &TrainingFile) -> Result<bool, DepotError>;

    /// Brings the file to `to`, whole and as its digest says, or not at all. [`DepotError::Missing`]: it is not there, or not any more.
    async fn fetch(&self, run: &RunId, file: &TrainingFile, to: &Path) -> Result<(), DepotError>;

    /// Nobody needs the file any more.
    async fn remove(&self, run: &RunId, file: &TrainingFile) -> Result<(), DepotError>;
}

/// Why a file did not change hands.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
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

impl DepotError {
    /// Names the file of an I/O error.
    pub fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DepotError {
        let path = path.into();
        move |source| DepotError::File { path, source }
    }
}
