//! Why a run stops before its end.

use super::outcome_log::OutcomeLogError;
use crate::artifacts::ArtifactError;
use crate::broker::{BrokerError, Recourse};
use crate::command_name::command_name;
use crate::coordination::Process;
use crate::program::BuildError;
use crate::run_dir::RunDir;
use crate::store::StoreError;
use crate::task::RunId;
use std::io;
use std::path::PathBuf;

/// Why a run stops. All but [`RunError::Interrupted`] and the services' errors are for the user to mend.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Somebody asked for it; running again goes on.
    #[error("interrupted")]
    Interrupted,
    /// Somebody cancelled the run; running again goes on.
    #[error("cancelled")]
    Cancelled,
    /// Another coordinator has the run, and is alive.
    #[error(
        "run {run} is in use: {process} coordinates it; wait for it, or stop it with\n  {} cancel {run}",
        command_name()
    )]
    InUse {
        /// The run.
        run: RunId,
        /// Which coordinator.
        process: Process,
    },
    /// This process stood still for so long that another has taken the run.
    #[error(
        "run {run} is another coordinator's now: {process} has taken it, since this one gave no sign of life"
    )]
    Replaced {
        /// The run.
        run: RunId,
        /// Which coordinator.
        process: Process,
    },
    /// More examples failed than `max_failure_rate` allows.
    #[error(
        "{failed} of {tasks} examples failed, more than compile.max_failure_rate = {allowed} allows; \
         {} says why. Mend what it names and run them again with\n  {}\nor allow more",
        .dir.failures().display(), .retry
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
        /// The command that runs them again.
        retry: String,
    },
    /// Fine-tune jobs that would fail, found before anything was spent.
    #[error("{}\nno LM was asked, no training was started; mend it and give the same command again", .0.join("\n"))]
    Preflight(Vec<String>),
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
    OutcomeLog(#[from] OutcomeLogError),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A training file cannot be left where workers find it.
    #[error(transparent)]
    Artifacts(ArtifactError),
    /// A worker inside the process ended although nobody asked it to.
    #[error("bug: a worker ended by itself: {0}; please report it")]
    Worker(String),
    /// The queue.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ArtifactError> for RunError {
    fn from(error: ArtifactError) -> RunError {
        match error {
            ArtifactError::Store(error) => RunError::Store(error),
            ArtifactError::File { path, source } => RunError::File { path, source },
            error @ ArtifactError::Missing(_) => RunError::Artifacts(error),
        }
    }
}

impl RunError {
    /// Whether it may pass by itself: a service is away.
    pub fn passes(&self) -> bool {
        let recourse = match self {
            RunError::Broker(error) => error.recourse(),
            RunError::Store(error) => error.recourse(),
            _ => return false,
        };
        matches!(recourse, Recourse::Retry)
    }

    /// Names the file of an I/O error.
    pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RunError {
        let path = path.into();
        move |source| RunError::File { path, source }
    }
}
