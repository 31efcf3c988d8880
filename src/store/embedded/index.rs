//! The in-memory index of the embedded store: serves every read, and turns every write into log entries.
//!
//! It holds the active tasks with their bytes, unless these are long, and 16 bytes for each task whose outcome was trimmed.

use super::entry::{LogEntry, OVERHEAD};
use super::indexed_task::{IndexedTask, LongChanges, StoredBytes};
use crate::store::{Claim, PAGE_BYTES, Position, StoreError, Stored};
use crate::task::{Attempt, AttemptRef, TaskId};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// Attempts of a task that may die with the process before each further one counts as a failure. A machine
/// that reboots is not the task's fault; a task that kills its process every time is.
pub const DEATHS_FORGIVEN: u32 = 5;

/// The runs by their number in the file, and the pending row.
#[derive(Default)]
pub(super) struct Index {
    pub(super) runs: Vec<IndexedRun>,
    /// Entries that are not committed yet, in order.
    pub(super) row: Vec<u8>,
    /// The number of the pending row.
    pub(super) row_number: u64,
    /// Trimmed tasks that the file does not list yet.
    pub(super) trimmed: Vec<(u32, TaskId)>,
    /// The last position assigned.
    pub(super) position: u64,
    /// The last durable position. Readers see no further: an outcome that was read and then lost in a crash
    /// would give its position to another.
    pub(super) durable: u64,
    /// Tasks whose latest attempt is active.
    pub(super) at_work: usize,
    /// Bytes that a rewrite of everything would take.
    pub(super) live: usize,
    pub(super) long: LongChanges,
}

#[derive(Default)]
pub(super) struct IndexedRun {
    pub(super) job: Option<Vec<u8>>,
    pub(super) done: HashSet<TaskId>,
    tasks: HashMap<TaskId, IndexedTask>,
    outcomes: BTreeMap<u64, TaskId>,
}

/// Whether a call is complete in memory or awaits the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Complete.
    No,
    /// Complete when the pending row is durable.
    Commit,
}

impl Index {
    /// `None` when the task's outcome is not durable yet: call again after the commit.
    pub(super) fn claim(&mut self, run: u32, id: TaskId, lease: Duration) -> Option<Claim> {
        let of = &mut self.runs[run as usize];
        if of.done.contains(&id) {
            return Some(Claim::Done);
        }
        let task = of.tasks.entry(id).or_insert_with(|| {
            self.live += OVERHEAD;
            IndexedTask::new(self.row_number)
        });
        if let Some((position, _)) = task.outcome {
            return (position <= self.durable).then_some(Claim::Done);
        }
        let now = Instant::now();
        if task.attempts.held {
            if now < task.until {
                return Some(Claim::Held);
            }
            task.attempts.lost += u32::from(!task.is_waiting);
        } else {
            self.at_work += 1;
        }
        task.attempts.attempt += 1;
        task.attempts.held = true;
        task.is_waiting = false;
        task.until = now + lease;
        LogEntry::Attempts(task.attempts).write(run, id, &mut self.row);
        let (mut records, mut long_records) = (Vec::new(), Vec::new());
        for (slot, bytes) in &task.records {
            match bytes {
                StoredBytes::Here(bytes) => records.push((*slot, bytes.clone())),
                StoredBytes::InFile(value) => long_records.push((*slot, value.len as usize)),
            }
        }
        Some(Claim::Run {
            attempt: Attempt(task.attempts.attempt),
            failures: task.attempts.lost + task.attempts.deaths.saturating_sub(DEATHS_FORGIVEN),
            records,
            long_records,
        })
    }

    pub(super) fn renew(&mut self, run: u32, attempt: AttemptRef, lease: Duration) -> Result<(), StoreError> {
        held(&mut self.runs, run, attempt)?.until = Instant::now() + lease;
        Ok(())
    }

    pub(super) fn set_waiting(
        &mut self,
        run: u32,
        attempt: AttemptRef,
        is_waiting: bool,
    ) -> Result<(), StoreError> {
        let task = held(&mut self.runs, run, attempt)?;
        task.is_waiting = is_waiting;
        LogEntry::Attempts(task.logged_attempts()).write(run, attempt.task, &mut self.row);
        Ok(())
    }

    pub(super) fn release(&mut self, run: u32, attempt: AttemptRef) -> Result<(), StoreError> {
        let task = held(&mut self.runs, run, attempt)?;
        task.attempts.held = false;
        LogEntry::Attempts(task.attempts).write(run, attempt.task, &mut self.row);
        self.at_work -= 1;
        Ok(())
    }

    pub(super) fn record(
        &mut self,
        run: u32,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let task = held(&mut self.runs, run, attempt)?;
        let bytes = self.long.place(bytes);
        bytes.record(slot).write(run, attempt.task, &mut self.row);
        self.live += bytes.in_log();
        if let Some(old) = task.records.insert(slot, bytes) {
            self.live -= old.in_log();
            self.long.remove(&old);
        }
        Ok(())
    }

    /// The same attempt may finish twice, for example after a lost answer. Only the first outcome is kept.
    pub(super) fn finish(
        &mut self,
        run: u32,
        attempt: AttemptRef,
        outcome: Vec<u8>,
    ) -> Result<Wait, StoreError> {
        let of = &mut self.runs[run as usize];
        if let Some(IndexedTask {
            attempts,
            outcome: Some((position, _)),
            ..
        }) = of.tasks.get(&attempt.task)
            && attempts.attempt == attempt.attempt.0
        {
            return Ok(if *position <= self.durable {
                Wait::No
            } else {
                Wait::Commit
            });
        }
        let task = held(&mut self.runs, run, attempt)?;
        self.at_work -= 1;
        self.position += 1;
        for bytes in task.records.values() {
            self.long.remove(bytes);
        }
        let outcome = self.long.place(outcome);
        outcome
            .outcome(self.position)
            .write(run, attempt.task, &mut self.row);
        self.conclude(run, attempt.task, self.position, outcome);
        Ok(Wait::Commit)
    }

    fn conclude(&mut self, run: u32, id: TaskId, position: u64, outcome: StoredBytes) {
        let of = &mut self.runs[run as usize];
        if let Some(task) = of.tasks.get_mut(&id) {
            self.live -= task.bytes();
            task.attempts.held = false;
            // A finished task cannot be claimed, so its records are never read.
            task.records = BTreeMap::new();
            task.outcome = Some((position, outcome));
            self.live += task.bytes();
            of.outcomes.insert(position, id);
        }
    }

    /// `None` when there is no durable outcome.
    pub(super) fn outcome(&self, run: u32, task: TaskId) -> Option<StoredBytes> {
        let (position, bytes) = self.runs[run as usize].tasks.get(&task)?.outcome.as_ref()?;
        (*position <= self.durable).then(|| bytes.clone())
    }

    pub(super) fn record_of(&self, run: u32, task: TaskId, slot: u32) -> Option<StoredBytes> {
        let task = self.runs[run as usize].tasks.get(&task)?;
        task.records.get(&slot).cloned()
    }

    pub(super) fn slots(&self, run: u32, task: TaskId) -> Vec<u32> {
        let task = self.runs[run as usize].tasks.get(&task);
        task.map_or_else(Vec::new, |task| task.records.keys().copied().collect())
    }

    pub(super) fn outcomes(&self, run: u32, after: Position, limit: usize) -> Vec<Stored> {
        let of = &self.runs[run as usize];
        let after = of.outcomes.range(after.0.saturating_add(1)..).take(limit);
        let mut durable = after.take_while(|(position, _)| **position <= self.durable);
        let (mut page, mut bytes) = (Vec::new(), 0);
        while bytes < PAGE_BYTES
            && let Some((position, task)) = durable.next()
        {
            let Some((_, stored)) = of.tasks.get(task).and_then(|task| task.outcome.as_ref()) else {
                continue;
            };
            let (outcome, long) = match stored {
                StoredBytes::Here(bytes) => (bytes.clone(), None),
                StoredBytes::InFile(value) => (Vec::new(), Some(value.len as usize)),
            };
            bytes += outcome.len();
            page.push(Stored {
                position: Position(*position),
                task: *task,
                outcome,
                long,
            });
        }
        page
    }

    pub(super) fn trim(&mut self, run: u32, stored: &[(Position, TaskId)]) {
        let of = &mut self.runs[run as usize];
        for (position, id) in stored {
            let there = position.0 <= self.durable && of.outcomes.get(&position.0) == Some(id);
            if there && let Some(task) = of.tasks.remove(id) {
                self.live -= task.bytes();
                if let Some((_, outcome)) = &task.outcome {
                    self.long.remove(outcome);
                }
                of.outcomes.remove(&position.0);
                of.done.insert(*id);
                if task.reopened {
                    LogEntry::Trimmed.write(run, *id, &mut self.row);
                }
                self.trimmed.push((run, *id));
            }
        }
    }

    /// Resets trimmed tasks and returns their number.
    pub(super) fn reopen(&mut self, run: u32, tasks: &[TaskId]) -> usize {
        let of = &mut self.runs[run as usize];
        let before = of.done.len();
        for id in tasks {
            if of.done.remove(id) {
                LogEntry::Reopened.write(run, *id, &mut self.row);
                self.live += OVERHEAD;
                of.tasks.insert(
                    *id,
                    IndexedTask {
                        reopened: true,
                        ..IndexedTask::new(self.row_number)
                    },
                );
            }
        }
        before - of.done.len()
    }

    pub(super) fn abandoned(&self, run: u32, tasks: &[TaskId]) -> Vec<TaskId> {
        let known = &self.runs[run as usize].tasks;
        let now = Instant::now();
        let is_abandoned = |id: &&TaskId| {
            known
                .get(id)
                .is_none_or(|task| task.outcome.is_none() && !(task.attempts.held && now < task.until))
        };
        tasks.iter().filter(is_abandoned).copied().collect()
    }

    pub(super) fn import(&mut self, run: u32, id: TaskId, records: Vec<(u32, Vec<u8>)>) {
        let of = &mut self.runs[run as usize];
        if of.done.contains(&id) {
            return;
        }
        let row = self.row_number;
        let task = of.tasks.entry(id).or_insert_with(|| {
            self.live += OVERHEAD;
            IndexedTask::new(row)
        });
        for (slot, bytes) in records {
            if task.outcome.is_none() && !task.records.contains_key(&slot) {
                let bytes = self.long.place(bytes);
                bytes.record(slot).write(run, id, &mut self.row);
                self.live += bytes.in_log();
                task.records.insert(slot, bytes);
            }
        }
    }

    /// Rewrites every task that has entries in a row before `cut`, so that those rows can be removed.
    pub(super) fn rewrite(&mut self, cut: u64) {
        for (run, of) in (0..).zip(&mut self.runs) {
            for (id, task) in of.tasks.iter_mut().filter(|(_, task)| task.oldest < cut) {
                task.oldest = self.row_number;
                task.rewrite(run, *id, &mut self.row);
            }
        }
    }

    /// Applies a row when the file is opened. Entries may repeat earlier ones. `None` if the row is
    /// malformed.
    pub(super) fn replay(&mut self, number: u64, mut row: &[u8]) -> Option<()> {
        while !row.is_empty() {
            let (run, id, entry) = LogEntry::read(&mut row)?;
            if let LogEntry::LongRecord { value, .. } | LogEntry::LongOutcome { value, .. } = entry {
                self.long.is_used(value);
            }
            let of = self.runs.get_mut(run as usize)?;
            match entry {
                LogEntry::Reopened => {
                    self.forget(run, id);
                    self.live += OVERHEAD;
                    let task = IndexedTask {
                        reopened: true,
                        ..IndexedTask::new(number)
                    };
                    self.runs[run as usize].tasks.insert(id, task);
                    continue;
                }
                LogEntry::Trimmed => {
                    self.forget(run, id);
                    self.runs[run as usize].done.insert(id);
                    continue;
                }
                // A task is listed as trimmed before its rows are removed.
                _ if of.done.contains(&id) => continue,
                _ => {}
            }
            let task = of.tasks.entry(id).or_insert_with(|| {
                self.live += OVERHEAD;
                IndexedTask::new(number)
            });
            let (slot, bytes) = match entry {
                LogEntry::Attempts(attempts) => {
                    task.attempts = attempts;
                    continue;
                }
                LogEntry::Record { slot, bytes } => (slot, StoredBytes::Here(bytes.to_vec())),
                LogEntry::LongRecord { slot, value } => (slot, StoredBytes::InFile(value)),
                LogEntry::Outcome { position, bytes } => {
                    self.conclude(run, id, position, StoredBytes::Here(bytes.to_vec()));
                    continue;
                }
                LogEntry::LongOutcome { position, value } => {
                    self.conclude(run, id, position, StoredBytes::InFile(value));
                    continue;
                }
                LogEntry::Reopened | LogEntry::Trimmed => continue,
            };
            if task.outcome.is_none() {
                self.live += bytes.in_log();
                if let Some(old) = task.records.insert(slot, bytes) {
                    self.live -= old.in_log();
                }
            }
        }
        Some(())
    }

    /// Removes a task.
    fn forget(&mut self, run: u32, id: TaskId) {
        let of = &mut self.runs[run as usize];
        of.done.remove(&id);
        if let Some(task) = of.tasks.remove(&id) {
            self.live -= task.bytes();
            if let Some((position, _)) = task.outcome {
                of.outcomes.remove(&position);
            }
        }
    }

    /// Ends a replay: no attempt outlives its process.
    pub(super) fn open_again(&mut self) {
        for task in self.runs.iter_mut().flat_map(|of| of.tasks.values_mut()) {
            if task.attempts.held && task.outcome.is_none() {
                task.attempts.deaths += 1;
            }
            task.attempts.held = false;
        }
    }
}

fn held(runs: &mut [IndexedRun], run: u32, attempt: AttemptRef) -> Result<&mut IndexedTask, StoreError> {
    let task = runs[run as usize].tasks.get_mut(&attempt.task);
    task.filter(|task| task.attempts.held && task.attempts.attempt == attempt.attempt.0)
        .ok_or(StoreError::Fenced(attempt))
}
