//! Why a run stops before its end.

use super::ledger::LedgerError;
use crate::program::BuildError;
use crate::queue::QueueError;
use crate::run_dir::RunDir;
use crate::store::StoreError;
use std::io;
use std::path::PathBuf;

/// Why a run stops. All but [`RunError::Interrupted`] and the services' errors are for the user to mend.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Somebody asked for it; running again goes on.
    #[error("interrupted")]
    Interrupted,
    /// More examples failed than `max_failure_rate` allows.
    #[error(
        "{failed} of {tasks} examples failed, more than compile.max_failure_rate = {allowed} allows; \
         {} says why. Mend what it names and run them again with\n  bsft-coordinator retry {}\nor allow more",
        .dir.failures().display(), .dir.root().display()
    )]
    TooManyFailures {
        /// Failed tasks.
        failed: usize,
        /// All tasks.
        tasks: usize,
        /// The limit.
        allowed: f64,
        /// Where the failure ledger is.
        dir: RunDir,
    },
    /// Shards that could not be trained.
    #[error("{}", .0.join("\n"))]
    Training(Vec<String>),
    /// DIR holds another kind of run.
    #[error("{0}")]
    OtherRun(String),
    /// The program cannot be built, although the check passed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The trainset cannot be read any more.
    #[error("{0}")]
    Trainset(#[from] crate::trainset::TrainsetError),
    /// The ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A worker inside the process ended although nobody asked it to.
    #[error("bug: a worker ended by itself: {0}; please report it")]
    Worker(String),
    /// The queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl RunError {
    /// Names the file of an I/O error.
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RunError {
        let path = path.into();
        move |source| RunError::File { path, source }
    }
}
