//! The store: what is known of each task, and its outcomes on their way to DIR.
//!
//! Every write names its attempt, so a worker that was given up cannot overwrite its successor.
//! `tests/conformance/store.rs` says what each implementation promises.

pub mod embedded;
pub mod redis;

use crate::recourse::Recourse;
use crate::task::{Attempt, AttemptRef, RunId, TaskId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// Where jobs, attempts, records and outcomes are kept. Every method may be called again after an error.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores the run's job, for workers to read. Durable when it returns; again with other bytes replaces it.
    async fn put_job(&self, run: &RunId, spec: &[u8]) -> Result<(), StoreError>;

    /// The run's job.
    async fn job(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Takes the task's next attempt, with what earlier attempts recorded.
    async fn claim(&self, run: &RunId, task: TaskId, lease: Duration) -> Result<Claim, StoreError>;

    /// Holds the attempt for `lease` from now. [`StoreError::Fenced`]: it is no longer ours.
    async fn renew(&self, run: &RunId, attempt: AttemptRef, lease: Duration) -> Result<(), StoreError>;

    /// Keeps bytes under the task's slot for later attempts, in place of what the slot held. Durable (it survives kill -9 and
    /// power loss) when it returns; [`StoreError::Fenced`] for a stale attempt.
    async fn record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError>;

    /// Stores the outcome and ends the task. The first outcome wins: later ones are dropped, with `Ok`, when they come from the
    /// same attempt, and [`StoreError::Fenced`] otherwise. Durable when it returns.
    async fn finish(&self, run: &RunId, attempt: AttemptRef, outcome: Vec<u8>) -> Result<(), StoreError>;

    /// Gives the task back: interrupted, costs no failure.
    async fn release(&self, run: &RunId, attempt: AttemptRef) -> Result<(), StoreError>;

    /// The task's outcome, as long as it was not trimmed.
    async fn outcome(&self, run: &RunId, task: TaskId) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` outcomes after a position, oldest first; waits up to `wait` for the first and then gives what is there.
    async fn outcomes(
        &self,
        run: &RunId,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, StoreError>;

    /// What attempts of the task have recorded, by slot; nothing once it has an outcome. Anybody may look.
    async fn records(&self, run: &RunId, task: TaskId) -> Result<Vec<(u32, Vec<u8>)>, StoreError>;

    /// These outcomes are safe elsewhere: drops them and their tasks' records. A later claim of such a task says
    /// [`Claim::Done`] as long as the run lives in the store. Again: harmless. May become durable a little later.
    async fn trim(&self, run: &RunId, stored: &[(Position, TaskId)]) -> Result<(), StoreError>;

    /// The outcomes of these tasks are no longer where they were brought to be safe, or are to be made again: those of them that were
    /// trimmed are as if nobody had ever worked on them. Gives how many these were.
    async fn reopen(&self, run: &RunId, tasks: &[TaskId]) -> Result<usize, StoreError>;

    /// Those of the tasks that nobody holds and that have no outcome to read: never claimed, released, left by a dead worker, or trimmed.
    async fn abandoned(&self, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError>;

    /// Records of a task as if an attempt had recorded them, for the coordinator to import what an older trace knows.
    /// Slots that hold something keep it. Durable when it returns.
    async fn import(&self, run: &RunId, task: TaskId, records: Vec<(u32, Vec<u8>)>)
    -> Result<(), StoreError>;
}

/// What a claim found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The task is ours.
    Run {
        /// Our attempt.
        attempt: Attempt,
        /// How many earlier attempts lost their lease, or died with the process too often to be chance.
        failures: u32,
        /// Slots and what earlier attempts recorded there, by slot.
        records: Vec<(u32, Vec<u8>)>,
    },
    /// The task has its outcome.
    Done,
    /// Another attempt's lease runs.
    Held,
}

/// A place in a run's sequence of outcomes: strictly growing, never given twice. The default is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// An outcome in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its place.
    pub position: Position,
    /// Whose it is.
    pub task: TaskId,
    /// The bytes that [`Store::finish`] was given.
    pub outcome: Vec<u8>,
}

/// Why the store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The attempt is stale: the task was given to another or is done.
    #[error("attempt {} of task {} is no longer the current one", .0.attempt, .0.task)]
    Fenced(AttemptRef),
    /// The store cannot be reached or did not answer in time; the write may have happened.
    #[error("the store at {place} cannot be reached: {message}")]
    Unreachable {
        /// URL without its password, or path.
        place: String,
        /// What happened.
        message: String,
    },
    /// The disk or the server did not take the write: full, read-only, out of memory.
    #[error("the store at {place} did not take a write: {message}")]
    Failed {
        /// URL without its password, or path.
        place: String,
        /// What happened and what to change.
        message: String,
    },
    /// The server answers, but not to this user: wrong password, missing right.
    #[error("the store at {place} refused: {message}")]
    Refused {
        /// URL without its password.
        place: String,
        /// Its own words and what to change.
        message: String,
    },
    /// The server let this user in before and does not any more: the password was changed, or a right taken. That can be undone, and
    /// what is in flight waits for it.
    #[error("the store at {place} refuses a user whom it has let in before: {message}")]
    LockedOut {
        /// URL without its password.
        place: String,
        /// Its own words and what to change.
        message: String,
    },
    /// What we were told of the store, or how it is set up, will not do: it would lose what it is given, or cannot be used at all.
    #[error("the store at {place} cannot be used: {message}")]
    Misconfigured {
        /// URL without its password.
        place: String,
        /// What is wrong and what to set.
        message: String,
    },
    /// The store holds something that this version cannot have written.
    #[error(
        "the store at {place} is damaged: {message}; move it away and compile again, which starts from DIR's traces"
    )]
    Corrupt {
        /// URL without its password, or path.
        place: String,
        /// What was found.
        message: String,
    },
    /// Another process has the file open.
    #[error("{} is in use: another bsft is running on it; wait for it or stop it first", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// The store was closed, by us, or its writer died.
    #[error("the store at {place} is closed")]
    Closed {
        /// URL without its password, or path.
        place: String,
    },
}

impl StoreError {
    /// What to do about it.
    pub fn recourse(&self) -> Recourse {
        match self {
            StoreError::Fenced(_) => Recourse::Discard,
            StoreError::Unreachable { .. } | StoreError::LockedOut { .. } => Recourse::Retry,
            StoreError::Failed { .. }
            | StoreError::Refused { .. }
            | StoreError::Misconfigured { .. }
            | StoreError::Corrupt { .. }
            | StoreError::InUse { .. }
            | StoreError::Closed { .. } => Recourse::Halt,
        }
    }
}
