//! Why a run stops early.

use super::lm_stopped::{AwayLm, ClosedLm, RefusedByWorkers};
use super::outcome_log::OutcomeLogError;
use crate::artifacts::ArtifactError;
use crate::broker::BrokerError;
use crate::command_name::command_name;
use crate::coordination::Process;
use crate::error_action::ErrorAction;
use crate::error_causes::os_error;
use crate::program::BuildError;
use crate::run_dir::RunDir;
use crate::store::StoreError;
use crate::system_error::explained;
use crate::task::RunId;
use std::io;
use std::path::PathBuf;

/// Why a run stops early. The user must fix the cause of all variants but [`RunError::Interrupted`], [`RunError::Cancelled`] and the
/// errors of services.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The process was asked to stop. Running `compile` again resumes the run.
    #[error("interrupted")]
    Interrupted,
    /// The run was cancelled. Running `compile` again resumes it.
    #[error("cancelled")]
    Cancelled,
    /// Another living coordinator has the run's lease.
    #[error(
        "run {run} is in use: {process} coordinates it; wait for it, or stop it with\n  {} cancel {run}",
        command_name()
    )]
    InUse {
        /// The run.
        run: RunId,
        /// The other coordinator.
        process: Process,
    },
    /// Another coordinator acquired the lease while this process was suspended.
    #[error(
        "run {run} is another coordinator's now: {process} has taken it, since this process sent no heartbeat"
    )]
    Replaced {
        /// The run.
        run: RunId,
        /// The other coordinator.
        process: Process,
    },
    /// An LM's account is closed on every worker: a refused key, a used-up quota, an unknown model.
    #[error("{0}")]
    AccountClosed(Box<ClosedLm>),
    /// No worker can connect to the run's LMs.
    #[error("{0}")]
    RefusedByWorkers(RefusedByWorkers),
    /// An LM's server cannot be reached.
    #[error("{0}")]
    LmAway(Box<AwayLm>),
    /// The first examples of a teacher failed for lack of an answer; the others were not tried.
    #[error("the first {examples} examples failed, the last one with: {message}")]
    FirstExamples {
        /// How many.
        examples: usize,
        /// The last failure.
        message: String,
    },
    /// More of the last examples failed than `max_failure_rate` allows.
    #[error(
        "{failed} of the last {ended} examples failed, more than compile.max_failure_rate = {allowed} allows; see {}",
        .dir.failures().display()
    )]
    TooManyFailures {
        /// Failed tasks.
        failed: usize,
        /// Tasks that were judged.
        ended: usize,
        /// The limit.
        allowed: f64,
        /// The run directory, with `failures.jsonl`.
        dir: RunDir,
    },
    /// The metric kept no trace.
    #[error(
        "the metric {metric} kept none of the first {traces} examples; {example}. Correct the metric or the program; \
         compile.max_failure_rate = 1.0 would go on all the same"
    )]
    NoneKept {
        /// The metric as the job file has it.
        metric: String,
        /// How many traces it scored.
        traces: usize,
        /// One prediction beside its label.
        example: String,
    },
    /// Fine-tune jobs that would fail, found before the first LM call.
    #[error("{}\nno LM call was made and no training was started; fix the problem and run the same command again", .0.join("\n"))]
    Preflight(Vec<String>),
    /// Fine-tune jobs without a model, one line each.
    #[error("{}", .0.join("\n"))]
    Training(Vec<String>),
    /// The run directory holds another kind of run.
    #[error("{0}")]
    OtherRun(String),
    /// The program cannot be built, although the check passed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The trainset cannot be read any more.
    #[error("{0}")]
    Trainset(#[from] crate::trainset::TrainsetError),
    /// The outcome log cannot be read or written.
    #[error(transparent)]
    OutcomeLog(#[from] OutcomeLogError),
    /// A file cannot be read or written.
    #[error("{}: {}", .path.display(), explained(.source))]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A training file cannot be put into the artifact store.
    #[error(transparent)]
    Artifacts(ArtifactError),
    /// A worker of this process ended without a request to stop.
    #[error("bug: a worker ended by itself: {0}; please report it")]
    Worker(String),
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The store failed.
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
    /// Whether the same step may succeed later, because a service was away.
    pub fn is_transient(&self) -> bool {
        let action = match self {
            RunError::Broker(error) => error.action(),
            RunError::Store(error) => error.action(),
            _ => return false,
        };
        matches!(action, ErrorAction::Retry)
    }

    /// Whether a file could not be read or written, so that the same step may succeed once there is room or a permission for it.
    pub fn is_of_disk(&self) -> bool {
        match self {
            RunError::File { source, .. } | RunError::OutcomeLog(OutcomeLogError { source, .. }) => {
                os_error(source).is_some()
            }
            RunError::Store(error) => {
                matches!(error, StoreError::Failed { .. } | StoreError::Closed { .. })
            }
            _ => false,
        }
    }

    /// Names the file of an I/O error.
    pub(super) fn with_path(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> RunError {
        let path = path.into();
        move |source| RunError::File { path, source }
    }
}
