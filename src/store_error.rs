//! Why a store, a coordination backend or an artifact store did not do what was asked.

use crate::error_action::ErrorAction;
use crate::task::AttemptRef;
use std::path::PathBuf;

/// Why a call failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The attempt is stale: another attempt has the task, or the task is done.
    #[error("attempt {} of task {} is no longer the current one", .0.attempt, .0.task)]
    Fenced(AttemptRef),
    /// The store cannot be reached or did not answer in time. The write may have happened.
    #[error("the store at {place} cannot be reached: {message}")]
    Unreachable {
        /// The URL without its password, or the path.
        place: String,
        message: String,
    },
    /// The disk or the server rejected the write: full, read-only, out of memory.
    #[error("the store at {place} rejected a write: {message}")]
    Failed {
        /// The URL without its password, or the path.
        place: String,
        /// The cause and what to change.
        message: String,
    },
    /// The server answers, but rejects this user: wrong password, missing permission.
    #[error("the store at {place} refused: {message}")]
    Refused {
        /// The URL without its password.
        place: String,
        /// The server's message and what to change.
        message: String,
    },
    /// The server accepted this user before: the password or a permission was changed. That can be undone,
    /// so the data in flight waits.
    #[error("the store at {place} rejects a user that it accepted before: {message}")]
    LockedOut {
        /// The URL without its password.
        place: String,
        /// The server's message and what to change.
        message: String,
    },
    /// The URL or the server's configuration is unsuitable: it would lose data or cannot be used.
    #[error("the store at {place} cannot be used: {message}")]
    Misconfigured {
        /// The URL without its password.
        place: String,
        /// What is wrong and what to set.
        message: String,
    },
    /// The store contains data that this version does not write.
    #[error(
        "the store at {place} is damaged: {message}; move it away and compile again, which starts from DIR's traces"
    )]
    Corrupt {
        /// The URL without its password, or the path.
        place: String,
        /// What was found.
        message: String,
    },
    /// Some keys of the server contain what bsft did not write. Runs that do not use these keys are not affected.
    #[error(
        "the store at {place} contains data that bsft did not write: {message}; another program may use these keys: choose another \
         namespace, or remove the run (bsft forget RUN) and compile again, which starts from DIR's traces"
    )]
    ForeignData {
        /// The URL without its password.
        place: String,
        /// What was found.
        message: String,
    },
    /// A value of a run is not signed with the key of this process. Other runs are not affected.
    #[error("the store at {place}: {message}")]
    Unsigned {
        /// The URL without its password.
        place: String,
        /// Which value, and what to do.
        message: String,
    },
    /// Another version of bsft wrote the store, in a format that this one does not read.
    #[error(
        "the store at {place} has format {found}, this bsft reads format {known}; compile with the version that wrote it, or move the \
         file away and compile again, which asks for unfinished examples again"
    )]
    OtherFormat {
        /// The path.
        place: String,
        found: u64,
        known: u64,
    },
    /// Another process has the file open.
    #[error("{} is in use: another bsft is running on it; wait for it or stop it first", path.display())]
    InUse { path: PathBuf },
    /// This process closed the store, or its writer thread died.
    #[error("the store at {place} is closed")]
    Closed {
        /// The URL without its password, or the path.
        place: String,
    },
}

impl StoreError {
    /// Whether only the runs whose data it is about are affected.
    pub fn is_of_one_run(&self) -> bool {
        matches!(self, StoreError::ForeignData { .. } | StoreError::Unsigned { .. })
    }

    pub fn action(&self) -> ErrorAction {
        match self {
            StoreError::Fenced(_) => ErrorAction::Discard,
            StoreError::Unreachable { .. } | StoreError::LockedOut { .. } => ErrorAction::Retry,
            StoreError::Failed { .. }
            | StoreError::Refused { .. }
            | StoreError::Misconfigured { .. }
            | StoreError::Corrupt { .. }
            | StoreError::ForeignData { .. }
            | StoreError::Unsigned { .. }
            | StoreError::OtherFormat { .. }
            | StoreError::InUse { .. }
            | StoreError::Closed { .. } => ErrorAction::Halt,
        }
    }
}
