//! The writer thread of the embedded store: one commit for all pending changes, then what readers want of the file.

use super::file::{Batch, LogFile};
use super::long_value::LongValue;
use super::{EmbeddedShared, EmbeddedState, GATHER, GATHER_STEP, LINGER};
use crate::store::StoreError;
use std::sync::{Arc, OnceLock, PoisonError};
use tokio::sync::{Notify, oneshot};

/// Commits pending changes and wakes their callers, until the store is closed or a write fails.
pub(super) fn write_on(shared: &EmbeddedShared, file: &mut LogFile) {
    let _end = EndsPendingCommit(shared);
    loop {
        let mut state = shared.lock();
        let linger = std::time::Instant::now() + LINGER;
        while state.awaited == 0 && state.reads.is_empty() && !state.closing {
            let left = linger.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                break;
            }
            state = shared
                .work
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        // If most active tasks already wait for this commit, waiting for more gains nothing.
        let gathered = std::time::Instant::now() + GATHER;
        while state.awaited > 0
            && 2 * state.awaited < state.index.at_work
            && !state.closing
            && std::time::Instant::now() < gathered
        {
            drop(state);
            std::thread::sleep(GATHER_STEP);
            state = shared.lock();
        }
        let reads = std::mem::take(&mut state.reads);
        if !state.waits() {
            if state.closing && reads.is_empty() {
                return;
            }
            drop(state);
            reads.into_iter().for_each(|read| read.answer(file));
            continue;
        }
        let cut = file.cut(state.index.live);
        if let Some(cut) = cut {
            state.index.rewrite(cut);
        }
        let (batch, commit) = state.take();
        drop(state);
        let in_flight = CommitInFlight(
            commit,
            StoreError::Closed {
                place: shared.place.clone(),
            },
        );
        let commit = &in_flight.0;
        let result = file.commit(&batch, cut);
        let mut state = shared.lock();
        match &result {
            Ok(()) => {
                let news = state.index.durable < batch.position;
                state.index.durable = batch.position;
                drop(state);
                commit.end(result);
                if news {
                    shared.outcomes.notify_waiters();
                }
                reads.into_iter().for_each(|read| read.answer(file));
            }
            Err(e) => {
                state.broken = Some(e.clone());
                drop(state);
                commit.end(result);
                return;
            }
        }
    }
}

/// Ends a commit that a panic cut short. A commit that has ended stays as it is.
struct CommitInFlight(Arc<Commit>, StoreError);

impl Drop for CommitInFlight {
    fn drop(&mut self) {
        self.0.end(Err(self.1.clone()));
    }
}

/// Ends the pending commit with an error when the writer ends.
struct EndsPendingCommit<'a>(&'a EmbeddedShared);

impl Drop for EndsPendingCommit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        let closed = StoreError::Closed {
            place: self.0.place.clone(),
        };
        let broken = state.broken.get_or_insert(closed).clone();
        let commit = std::mem::take(&mut state.commit);
        // Their readers find out that the store is closed.
        state.reads.clear();
        drop(state);
        commit.end(Err(broken));
        self.0.outcomes.notify_waiters();
    }
}

impl EmbeddedState {
    fn waits(&self) -> bool {
        let index = &self.index;
        self.awaited > 0
            || !index.row.is_empty()
            || !index.trimmed.is_empty()
            || !index.long.is_empty()
            || !self.new_jobs.is_empty()
    }

    fn take(&mut self) -> (Batch, Arc<Commit>) {
        let index = &mut self.index;
        let row_number = index.row_number;
        index.row_number += 1;
        self.awaited = 0;
        let size = index.row.len();
        let batch = Batch {
            row_number,
            row: std::mem::replace(&mut index.row, Vec::with_capacity(size)),
            position: index.position,
            trimmed: std::mem::take(&mut index.trimmed),
            runs: std::mem::take(&mut self.new_runs),
            jobs: std::mem::take(&mut self.new_jobs),
            long: std::mem::take(&mut index.long.written),
            removed: std::mem::take(&mut index.long.removed),
        };
        (batch, std::mem::take(&mut self.commit))
    }
}

/// The wait of a caller for a long value of the file.
pub(super) struct LongRead {
    value: LongValue,
    answer: oneshot::Sender<ReadBytes>,
}

/// The bytes of a long value; `None` if the file has it no more.
type ReadBytes = Result<Option<Vec<u8>>, StoreError>;

impl LongRead {
    pub(super) fn new(value: LongValue) -> (LongRead, oneshot::Receiver<ReadBytes>) {
        let (answer, answered) = oneshot::channel();
        (LongRead { value, answer }, answered)
    }

    fn answer(self, file: &LogFile) {
        if !self.answer.is_closed() {
            // Fails if the reader was dropped.
            let _ = self.answer.send(file.long_value(self.value));
        }
    }
}

/// A future commit, shared by the callers whose changes are in it.
#[derive(Default)]
pub(super) struct Commit {
    result: OnceLock<Result<(), StoreError>>,
    ended: Notify,
}

impl Commit {
    fn end(&self, result: Result<(), StoreError>) {
        // Only the first end counts; later calls come from guards after a normal end.
        if self.result.set(result).is_ok() {
            self.ended.notify_waiters();
        }
    }

    pub(super) async fn wait(&self) -> Result<(), StoreError> {
        let mut ended = std::pin::pin!(self.ended.notified());
        // Registered before the check, so that an end in between is not missed.
        ended.as_mut().enable();
        if let Some(result) = self.result.get() {
            return result.clone();
        }
        ended.await;
        self.result
            .get()
            .expect("the result is set before the notification")
            .clone()
    }
}
