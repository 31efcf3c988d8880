//! The store of a self-contained run: one durable file, with everything in memory.
//!
//! A call changes the index under a lock and appends to the pending row. A writer thread commits the row
//! with one fdatasync and wakes every caller whose change is in it. Meanwhile the next row fills, so the
//! cost per call falls with the load.
//!
//! Callers await records, outcomes, imports and jobs. Claims, releases and trims go with the next row, at
//! the latest after [`LINGER`]. That is safe under `kill -9`, because rows are committed whole and in
//! order. A durable record or outcome has its claim before it, so the attempts that count are known. A lost
//! claim left nothing behind; its number is reused by an attempt of another process, which the file's lock
//! guarantees, so no two attempts are confused. A lost release costs one of the forgiven deaths. A lost
//! trim is repeated when the outcome is read again.
//!
//! Values from [`LONG_VALUE`](super::LONG_VALUE) on are not in the index: the row mentions them, the same commit writes them to a table of their own, and the
//! writer thread reads them back.

mod entry;
mod file;
mod index;
mod indexed_task;
mod long_value;
mod writer;

pub use index::DEATHS_FORGIVEN;

use super::{Claim, Position, Store, StoreError, Stored};
use crate::lock::lock;
use crate::task::{AttemptRef, RunId, TaskId};
use async_trait::async_trait;
use file::LogFile;
use index::{Index, IndexedRun, Wait};
use indexed_task::StoredBytes;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use writer::{Commit, LongRead, write_on};

/// How long a change that no caller awaits may stay in memory. Short enough to detect a task that kills its
/// process at once, long enough to cost nothing.
pub const LINGER: Duration = Duration::from_millis(50);

/// How long a caller may wait for others to share its commit. It is short beside an LM call, and turns the
/// commits of slow calls that return one by one into one.
const GATHER: Duration = Duration::from_millis(2);

/// How often the writer checks whether enough callers wait.
const GATHER_STEP: Duration = Duration::from_millis(1);

/// Dropping it commits pending changes and releases the file.
pub struct EmbeddedStore {
    shared: Arc<EmbeddedShared>,
    writer: Option<std::thread::JoinHandle<()>>,
}

struct EmbeddedShared {
    place: String,
    state: Mutex<EmbeddedState>,
    /// Wakes the writer.
    work: Condvar,
    /// Notified when outcomes have become durable.
    outcomes: Notify,
}

struct EmbeddedState {
    index: Index,
    numbers: HashMap<String, u32>,
    new_runs: Vec<(String, u32)>,
    new_jobs: Vec<(u32, Vec<u8>)>,
    /// The commit that will include the pending row.
    commit: Arc<Commit>,
    /// How many callers await it.
    awaited: usize,
    /// What the writer thread is to read after the next commit.
    reads: Vec<LongRead>,
    closing: bool,
    /// Why no call works any more: after a failed write the memory is ahead of the disk.
    broken: Option<StoreError>,
}

impl EmbeddedStore {
    /// Opens or creates the file. [`StoreError::InUse`] when another process has it open.
    pub fn open(path: &Path) -> Result<EmbeddedStore, StoreError> {
        let (mut file, index, names) = LogFile::open(path)?;
        let state = EmbeddedState {
            index,
            numbers: names.into_iter().zip(0..).collect(),
            new_runs: Vec::new(),
            new_jobs: Vec::new(),
            commit: Arc::default(),
            awaited: 0,
            reads: Vec::new(),
            closing: false,
            broken: None,
        };
        let place = path.display().to_string();
        let shared = EmbeddedShared {
            place,
            state: Mutex::new(state),
            work: Condvar::new(),
            outcomes: Notify::new(),
        };
        let shared = Arc::new(shared);
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("store-writer".into());
        let writer = writer
            .spawn(move || write_on(&theirs, &mut file))
            .map_err(|e| StoreError::Failed {
                place: shared.place.clone(),
                message: format!("failed to start its writer thread: {e}"),
            })?;
        Ok(EmbeddedStore {
            shared,
            writer: Some(writer),
        })
    }

    /// Changes the index. Returns the commit to await, if the change needs one.
    fn change<T>(
        &self,
        run: &RunId,
        change: impl FnOnce(&mut Index, u32) -> Result<(T, Wait), StoreError>,
    ) -> Result<(T, Option<Arc<Commit>>), StoreError> {
        let mut state = self.shared.lock();
        if let Some(broken) = &state.broken {
            return Err(broken.clone());
        }
        let number = state.number(run);
        let (done, wait) = change(&mut state.index, number)?;
        let commit = (wait == Wait::Commit).then(|| self.shared.awaited(&mut state));
        Ok((done, commit))
    }

    /// The bytes that `look` finds in the index, from the file if they are long.
    async fn fetched(
        &self,
        run: &RunId,
        look: impl Fn(&Index, u32) -> Option<StoredBytes>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut missing = None;
        loop {
            let (found, _) = self.change(run, |index, run| Ok((look(index, run), Wait::No)))?;
            let value = match found {
                None => return Ok(None),
                Some(StoredBytes::Here(bytes)) => return Ok(Some(bytes)),
                Some(StoredBytes::InFile(value)) => value,
            };
            // It may have been replaced after it was found.
            if missing == Some(value) {
                return Err(StoreError::Corrupt {
                    place: self.shared.place.clone(),
                    message: "a long value is not whole".to_owned(),
                });
            }
            let (read, answered) = LongRead::new(value);
            self.shared.lock().reads.push(read);
            self.shared.work.notify_one();
            let closed = |_| {
                Err(StoreError::Closed {
                    place: self.shared.place.clone(),
                })
            };
            match answered.await.unwrap_or_else(closed)? {
                Some(bytes) => return Ok(Some(bytes)),
                None => missing = Some(value),
            }
        }
    }

    async fn change_and_wait(
        &self,
        run: &RunId,
        change: impl FnOnce(&mut Index, u32) -> Result<Wait, StoreError> + Send,
    ) -> Result<(), StoreError> {
        let ((), commit) = self.change(run, |index, run| Ok(((), change(index, run)?)))?;
        match commit {
            Some(commit) => commit.wait().await,
            None => Ok(()),
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer has already ended every commit with an error.
            let _ = writer.join();
        }
    }
}

impl EmbeddedShared {
    /// No code panics half-way through a change while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, EmbeddedState> {
        lock(&self.state)
    }

    fn awaited(&self, state: &mut EmbeddedState) -> Arc<Commit> {
        state.awaited += 1;
        if state.awaited == 1 {
            self.work.notify_one();
        }
        Arc::clone(&state.commit)
    }
}

impl EmbeddedState {
    fn number(&mut self, run: &RunId) -> u32 {
        if let Some(number) = self.numbers.get(&run.0) {
            return *number;
        }
        let number =
            u32::try_from(self.index.runs.len()).expect("a file of runs ends long before 2^32 of them");
        self.index.runs.push(IndexedRun::default());
        self.numbers.insert(run.0.clone(), number);
        self.new_runs.push((run.0.clone(), number));
        number
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn put_job(&self, run: &RunId, spec: &[u8]) -> Result<(), StoreError> {
        let commit = {
            let mut state = self.shared.lock();
            if let Some(broken) = &state.broken {
                return Err(broken.clone());
            }
            let number = state.number(run);
            state.index.runs[number as usize].job = Some(spec.to_vec());
            state.new_jobs.push((number, spec.to_vec()));
            self.shared.awaited(&mut state)
        };
        commit.wait().await
    }

    async fn job(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let (job, _) = self.change(run, |index, run| {
            Ok((index.runs[run as usize].job.clone(), Wait::No))
        })?;
        Ok(job)
    }

    async fn claim(&self, run: &RunId, task: TaskId, lease: Duration) -> Result<Claim, StoreError> {
        let claim = |index: &mut Index, run: u32| {
            let claim = index.claim(run, task, lease);
            let wait = if claim.is_some() { Wait::No } else { Wait::Commit };
            Ok((claim, wait))
        };
        match self.change(run, claim)? {
            (Some(claim), _) => Ok(claim),
            (None, commit) => {
                if let Some(commit) = commit {
                    commit.wait().await?;
                }
                Ok(Claim::Done)
            }
        }
    }

    async fn renew(&self, run: &RunId, attempt: AttemptRef, lease: Duration) -> Result<(), StoreError> {
        self.change(run, |index, run| {
            Ok((index.renew(run, attempt, lease)?, Wait::No))
        })
        .map(drop)
    }

    async fn set_waiting(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        is_waiting: bool,
    ) -> Result<(), StoreError> {
        self.change(run, |index, run| {
            Ok((index.set_waiting(run, attempt, is_waiting)?, Wait::No))
        })
        .map(drop)
    }

    async fn record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let record = |index: &mut Index, run| index.record(run, attempt, slot, bytes).map(|()| Wait::Commit);
        self.change_and_wait(run, record).await
    }

    async fn finish(&self, run: &RunId, attempt: AttemptRef, outcome: Vec<u8>) -> Result<(), StoreError> {
        self.change_and_wait(run, |index, run| index.finish(run, attempt, outcome))
            .await
    }

    async fn release(&self, run: &RunId, attempt: AttemptRef) -> Result<(), StoreError> {
        self.change(run, |index, run| Ok((index.release(run, attempt)?, Wait::No)))
            .map(drop)
    }

    async fn outcome(&self, run: &RunId, task: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        self.fetched(run, |index, run| index.outcome(run, task)).await
    }

    async fn records(&self, run: &RunId, task: TaskId) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let (slots, _) = self.change(run, |index, run| Ok((index.slots(run, task), Wait::No)))?;
        let mut records = Vec::with_capacity(slots.len());
        for slot in slots {
            if let Some(record) = self.record_of(run, task, slot).await? {
                records.push((slot, record));
            }
        }
        Ok(records)
    }

    async fn record_of(&self, run: &RunId, task: TaskId, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.fetched(run, |index, run| index.record_of(run, task, slot))
            .await
    }

    /// Cancel safe: it changes nothing.
    async fn outcomes(
        &self,
        run: &RunId,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, StoreError> {
        let until = Instant::now() + wait;
        loop {
            let mut news = std::pin::pin!(self.shared.outcomes.notified());
            news.as_mut().enable();
            let (stored, _) = self.change(run, |index, run| {
                Ok((index.outcomes(run, after, limit), Wait::No))
            })?;
            if !stored.is_empty() || limit == 0 || tokio::time::timeout_at(until, news).await.is_err() {
                return Ok(stored);
            }
        }
    }

    async fn trim(&self, run: &RunId, stored: &[(Position, TaskId)]) -> Result<(), StoreError> {
        self.change(run, |index, run| Ok((index.trim(run, stored), Wait::No)))
            .map(drop)
    }

    async fn reopen(&self, run: &RunId, tasks: &[TaskId]) -> Result<usize, StoreError> {
        // Not awaited: the next record of such a task is in the same row or a later one.
        self.change(run, |index, run| Ok((index.reopen(run, tasks), Wait::No)))
            .map(|(reopened, _)| reopened)
    }

    async fn abandoned(&self, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        self.change(run, |index, run| Ok((index.abandoned(run, tasks), Wait::No)))
            .map(|(abandoned, _)| abandoned)
    }

    async fn import(
        &self,
        run: &RunId,
        task: TaskId,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let import = |index: &mut Index, run| {
            index.import(run, task, records);
            Ok(Wait::Commit)
        };
        self.change_and_wait(run, import).await
    }
}
