//! The store: attempts, recorded answers and outcomes of tasks, until the outcomes are in DIR.
//!
//! Every write names its attempt, so a replaced attempt cannot overwrite its successor.
//! `tests/conformance/store.rs` specifies each implementation.

pub mod embedded;
pub mod redis;

pub use crate::store_error::StoreError;

use crate::task::{Attempt, AttemptRef, RunId, TaskId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Every method may be called again after an error. "Durable" means that the data survives `kill -9` and
/// power loss.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores the run's job for workers, replacing another one. Durable when it returns.
    async fn put_job(&self, run: &RunId, spec: &[u8]) -> Result<(), StoreError>;

    /// The run's job, or `None` if it is not stored.
    async fn job(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError>;

    /// Takes the task's next attempt and returns the records of earlier attempts; of long ones only their lengths.
    async fn claim(&self, run: &RunId, task: TaskId, lease: Duration) -> Result<Claim, StoreError>;

    /// Extends the attempt's lease to `lease` from now. [`StoreError::Fenced`] when the attempt was
    /// replaced.
    async fn renew(&self, run: &RunId, attempt: AttemptRef, lease: Duration) -> Result<(), StoreError>;

    /// Notes whether the attempt waits before its first call. While it does, the end of its lease does not count as a failure, because it
    /// has made no call. [`StoreError::Fenced`] when the attempt was replaced.
    async fn set_waiting(&self, run: &RunId, attempt: AttemptRef, is_waiting: bool)
    -> Result<(), StoreError>;

    /// Stores bytes under the task's slot for later attempts, replacing its content. Durable when it
    /// returns. [`StoreError::Fenced`] when the attempt was replaced.
    async fn record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError>;

    /// As [`Store::record`], for [long](LONG_VALUE) bytes, which the caller keeps: some stores need no copy of them.
    async fn record_long(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.record(run, attempt, slot, bytes.to_vec()).await
    }

    /// Stores the outcome and ends the task. The first outcome wins. Later ones are dropped, with `Ok` for
    /// the same attempt and [`StoreError::Fenced`] for another. Durable when it returns.
    async fn finish(&self, run: &RunId, attempt: AttemptRef, outcome: Vec<u8>) -> Result<(), StoreError>;

    /// As [`Store::finish`], for a [long](LONG_VALUE) outcome, which the caller keeps: some stores need no copy of it.
    async fn finish_long(&self, run: &RunId, attempt: AttemptRef, outcome: &[u8]) -> Result<(), StoreError> {
        self.finish(run, attempt, outcome.to_vec()).await
    }

    /// Returns an interrupted task. This does not count as a failure.
    async fn release(&self, run: &RunId, attempt: AttemptRef) -> Result<(), StoreError>;

    /// The task's outcome, or `None` if it has none or was trimmed.
    async fn outcome(&self, run: &RunId, task: TaskId) -> Result<Option<Vec<u8>>, StoreError>;

    /// At most `limit` outcomes after a position, oldest first, of long ones only their lengths. Waits up to `wait`
    /// for the first one, then returns what exists, or the first megabytes of it.
    async fn outcomes(
        &self,
        run: &RunId,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, StoreError>;

    /// The records of the task's attempts, by slot; empty once the task has an outcome. Needs no lease.
    async fn records(&self, run: &RunId, task: TaskId) -> Result<Vec<(u32, Vec<u8>)>, StoreError>;

    /// The record of one slot. `None` if it has none, or the task has an outcome.
    async fn record_of(&self, run: &RunId, task: TaskId, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let mut records = self.records(run, task).await?;
        let found = records.iter().position(|(number, _)| *number == slot);
        Ok(found.map(|at| records.swap_remove(at).1))
    }

    /// Drops outcomes that are safe elsewhere, and their tasks' records. A later claim of such a task
    /// returns [`Claim::Done`] while the run is in the store. Repeating it is harmless. May become durable
    /// later.
    async fn trim(&self, run: &RunId, stored: &[(Position, TaskId)]) -> Result<(), StoreError>;

    /// Resets those of the tasks that were trimmed, as if they had never run: their outcomes are lost or
    /// have to be computed again. Returns how many there were.
    async fn reopen(&self, run: &RunId, tasks: &[TaskId]) -> Result<usize, StoreError>;

    /// Returns those of the tasks that are without a lease and without a readable outcome: never claimed,
    /// released, left by a dead worker, or trimmed.
    async fn abandoned(&self, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError>;

    /// Stores records as if an attempt had written them, so that the coordinator can reuse the calls of an
    /// older trace. Slots with content keep it. Durable when it returns.
    async fn import(&self, run: &RunId, task: TaskId, records: Vec<(u32, Vec<u8>)>)
    -> Result<(), StoreError>;
}

/// The bytes from which a record or an outcome is long. Long values are not kept in memory, and are returned one by one.
pub const LONG_VALUE: usize = 256 << 10;

/// The most bytes of outcomes that are returned at once; a single one may be longer.
pub const PAGE_BYTES: usize = 4 << 20;

/// The answer to [`Store::claim`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The caller has the task.
    Run {
        /// The new attempt.
        attempt: Attempt,
        /// How many earlier attempts lost their lease, or died with the process more often than chance
        /// explains.
        failures: u32,
        /// Slots and the records of earlier attempts, by slot.
        records: Vec<(u32, Vec<u8>)>,
        /// Slots and the lengths of long records, which [`Store::record_of`] returns.
        long_records: Vec<(u32, usize)>,
    },
    /// The task has an outcome.
    Done,
    /// Another attempt holds the lease.
    Held,
}

/// A position in a run's sequence of outcomes. Positions grow and are never reused. The default is before
/// the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub u64);

/// An outcome with its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub position: Position,
    pub task: TaskId,
    /// The bytes passed to [`Store::finish`]; empty if they are long.
    pub outcome: Vec<u8>,
    /// The length of a long outcome, which [`Store::outcome`] returns; `None` if it is not long.
    pub long: Option<usize>,
}
