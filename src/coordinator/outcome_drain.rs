//! Moves outcomes from the store to the outcome log, and lets the store delete those that are on the disk.

use super::context::RunContext;
use super::error::RunError;
use super::outcome_log::OutcomeLog;
use super::outstanding_tasks::OutstandingTasks;
use super::task_plan::{LineOrigin, TaskPlan};
use crate::memory::MemoryShare;
use crate::store::{Position, Store, Stored};
use crate::task::TaskId;
use crate::trace::{AnswerNotes, FailureIndex, LineIndex, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Outcomes that are fetched in one call: about 2 MB of small traces.
const FETCH_LIMIT: usize = 1024;

/// How long flushed outcomes may wait for an fsync. The store keeps them until then.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// How many flushed bytes cause an earlier fsync.
const SYNC_BYTES: usize = 8 << 20;

/// After how long without an outcome the drain reads the store from the start again.
const REWIND_AFTER: Duration = Duration::from_secs(60);

/// A task whose first outcome was taken.
#[derive(Clone, Debug)]
pub(super) struct EndedTask {
    pub(super) task: usize,
    /// Whether the metric kept its trace.
    pub(super) is_kept: bool,
    /// Why it has no trace.
    pub(super) failure: Option<FailureIndex>,
}

/// Drains one store.
pub(super) struct OutcomeDrain<'a> {
    run: RunContext<'a>,
    store: &'a dyn Store,
    tasks: &'a TaskPlan,
    position: Position,
    /// Outcomes in the log's files that may not be on the disk yet. The store still has them.
    unsynced: Vec<(Position, TaskId)>,
    unsynced_bytes: usize,
    synced_at: Instant,
    taken_at: Instant,
    pub(super) outstanding: OutstandingTasks,
    /// Tasks that ended since the last [`take_ended`](OutcomeDrain::take_ended).
    ended: Vec<EndedTask>,
    /// How many outcomes could not be decoded.
    unreadable: usize,
    /// For one long outcome at a time.
    memory: MemoryShare,
}

/// What a fetched outcome is to the log.
enum Fetched {
    /// The first outcome of this task.
    New(usize),
    /// The log has an outcome of this task: outcomes may be fetched twice.
    Repeated(usize),
    /// It is of an earlier form of the job.
    Stale,
}

impl<'a> OutcomeDrain<'a> {
    pub(super) fn new(run: RunContext<'a>, store: &'a dyn Store, tasks: &'a TaskPlan) -> OutcomeDrain<'a> {
        OutcomeDrain {
            run,
            store,
            tasks,
            position: Position::default(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            synced_at: Instant::now(),
            taken_at: Instant::now(),
            outstanding: OutstandingTasks::default(),
            ended: Vec::new(),
            unreadable: 0,
            memory: MemoryShare::new(&run.coordinator.memory),
        }
    }

    /// The tasks that ended since the last call.
    pub(super) fn take_ended(&mut self) -> Vec<EndedTask> {
        std::mem::take(&mut self.ended)
    }

    /// Takes every outcome that the store has now, and syncs.
    pub(super) async fn take_all(&mut self, log: &mut OutcomeLog) -> Result<(), RunError> {
        while self.take(log, Duration::ZERO).await? > 0 {}
        self.sync(log).await
    }

    /// Takes one batch, waiting up to `wait` for its first outcome. Returns how many it took. Cancel safe: what was fetched is fetched
    /// again unless it is in the log's buffers, and nothing is awaited in between.
    pub(super) async fn take(&mut self, log: &mut OutcomeLog, wait: Duration) -> Result<usize, RunError> {
        let fetched = self
            .store
            .outcomes(self.run.id, self.position, FETCH_LIMIT, wait)
            .await?;
        let taken = fetched.len();
        if taken > 0 {
            self.taken_at = Instant::now();
        }
        for stored in fetched {
            match stored.long {
                None => self.enter(log, stored)?,
                Some(len) => {
                    self.unsynced_bytes += log.flush()?;
                    Box::pin(self.take_long(log, stored, len)).await?;
                }
            }
        }
        self.unsynced_bytes += log.flush()?;
        Ok(taken)
    }

    /// Takes an outcome of that many bytes, once there is memory for it.
    async fn take_long(&mut self, log: &mut OutcomeLog, stored: Stored, len: usize) -> Result<(), RunError> {
        self.memory.reach(len).await;
        // Without its bytes it counts as unreadable: another process may have trimmed it.
        let outcome = self.store.outcome(self.run.id, stored.task).await?;
        let stored = Stored {
            outcome: outcome.unwrap_or_default(),
            ..stored
        };
        let budget = Arc::clone(&self.run.coordinator.memory);
        budget.work_on(len, || self.enter(log, stored)).await?;
        self.unsynced_bytes += len + log.flush()?;
        self.memory.shrink_to(0);
        Ok(())
    }

    /// Enters an outcome in the log.
    fn enter(&mut self, log: &mut OutcomeLog, stored: Stored) -> Result<(), RunError> {
        let Stored {
            position,
            task,
            outcome,
            ..
        } = stored;
        self.position = position;
        match Outcome::decode(outcome) {
            Ok((Outcome::Trace(line), notes)) => self.enter_trace(log, &line, &notes)?,
            Ok((Outcome::Failure(line), notes)) => self.enter_failure(log, &line, &notes)?,
            // The train phase looks these up by their task.
            Ok((Outcome::Training(_), _)) => return Ok(()),
            Err(error) => self.skip_unreadable(task, &error),
        }
        self.unsynced.push((position, task));
        Ok(())
    }

    /// Reads from the start again after a long time without outcomes: a store that lost its last second may number new outcomes with
    /// positions that were read before. Outcomes that the log has are skipped.
    pub(super) fn rewind_when_stuck(&mut self) {
        if self.taken_at.elapsed() >= REWIND_AFTER && self.outstanding.len() > 0 {
            self.taken_at = Instant::now();
            self.position = Position::default();
        }
    }

    pub(super) async fn sync_when_due(&mut self, log: &mut OutcomeLog) -> Result<(), RunError> {
        let is_due = self.unsynced_bytes >= SYNC_BYTES || self.synced_at.elapsed() >= SYNC_EVERY;
        if is_due && !self.unsynced.is_empty() {
            self.sync(log).await
        } else {
            Ok(())
        }
    }

    /// Syncs the log, then lets the store delete what it took.
    pub(super) async fn sync(&mut self, log: &mut OutcomeLog) -> Result<(), RunError> {
        log.sync().await?;
        // Outcomes must not be deleted under another coordinator.
        self.run.leadership.confirm().await?;
        self.store.trim(self.run.id, &self.unsynced).await?;
        self.unsynced.clear();
        self.unsynced_bytes = 0;
        self.synced_at = Instant::now();
        Ok(())
    }

    fn enter_trace(&mut self, log: &mut OutcomeLog, line: &str, notes: &AnswerNotes) -> Result<(), RunError> {
        let index = LineIndex::parse(line).ok();
        match index.map(|index| (self.classify(log, (&index).into()), index)) {
            Some((Fetched::New(task), index)) => {
                let is_kept = index.kept;
                log.append_trace(task, line, index, notes)?;
                self.ended.push(EndedTask {
                    task,
                    is_kept,
                    failure: None,
                });
            }
            Some((Fetched::Repeated(task), _)) => log.append_notes(task, notes),
            Some((Fetched::Stale, _)) | None => log.append_stale(line, notes)?,
        }
        Ok(())
    }

    fn enter_failure(
        &mut self,
        log: &mut OutcomeLog,
        line: &str,
        notes: &AnswerNotes,
    ) -> Result<(), RunError> {
        let failure = FailureIndex::parse(line).ok();
        match failure.map(|failure| (self.classify(log, (&failure).into()), failure)) {
            Some((Fetched::New(task), failure)) => {
                log.append_failure(task, line, failure.clone(), notes)?;
                self.ended.push(EndedTask {
                    task,
                    is_kept: false,
                    failure: Some(failure),
                });
            }
            Some((Fetched::Repeated(task), _)) => log.append_notes(task, notes),
            Some((Fetched::Stale, _)) | None => log.append_stale(line, notes)?,
        }
        Ok(())
    }

    fn classify(&mut self, log: &OutcomeLog, line: LineOrigin<'_>) -> Fetched {
        let Some(task) = self.tasks.task_of_outcome(line) else {
            return Fetched::Stale;
        };
        self.outstanding.done(task);
        if log.has(task) {
            Fetched::Repeated(task)
        } else {
            Fetched::New(task)
        }
    }

    /// A worker of another version may store many of these; only the first is a warning.
    fn skip_unreadable(&mut self, task: TaskId, why: &dyn std::fmt::Display) {
        if self.unreadable == 0 {
            warn!(run = %self.run.id, %task, %why, "unreadable outcome skipped; its task will run again");
        }
        self.unreadable += 1;
        debug!(%task, %why, "unreadable outcome skipped");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::trace::FailureKind;

    pub(in crate::coordinator) fn kept(task: usize) -> EndedTask {
        EndedTask {
            task,
            is_kept: true,
            failure: None,
        }
    }

    pub(in crate::coordinator) fn dropped(task: usize) -> EndedTask {
        EndedTask {
            is_kept: false,
            ..kept(task)
        }
    }

    pub(in crate::coordinator) fn failed(task: usize) -> EndedTask {
        failed_by(FailureKind::Lm, task)
    }

    pub(in crate::coordinator) fn failed_by(kind: FailureKind, task: usize) -> EndedTask {
        let line = serde_json::json!({
            "teacher": 0, "example": task, "kind": kind, "message": "HTTP 400: too long", "attempts": 1,
            "task": TaskId([0; 16]), "made_by": "",
        });
        EndedTask {
            failure: FailureIndex::parse(&line.to_string()).ok(),
            ..dropped(task)
        }
    }
}
