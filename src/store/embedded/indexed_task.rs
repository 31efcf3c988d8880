//! One task in the index of the embedded store, and where its bytes are: short ones in memory, long ones in the file only.

use super::entry::{AttemptCounts, LogEntry, OVERHEAD};
use super::long_value::LongValue;
use crate::store::LONG_VALUE;
use crate::task::TaskId;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Where the bytes of a record or of an outcome are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum StoredBytes {
    /// In memory, and in the log.
    Here(Vec<u8>),
    /// In the file's table of long values, or on their way to it.
    InFile(LongValue),
}

/// Long values that the next commit writes and removes.
#[derive(Default)]
pub(super) struct LongChanges {
    /// The number of the next value.
    pub(super) next: u64,
    pub(super) written: Vec<(LongValue, Vec<u8>)>,
    pub(super) removed: Vec<LongValue>,
}

impl LongChanges {
    /// Where these bytes are from now on.
    pub(super) fn place(&mut self, bytes: Vec<u8>) -> StoredBytes {
        if bytes.len() < LONG_VALUE {
            return StoredBytes::Here(bytes);
        }
        let value = LongValue {
            number: self.next,
            len: bytes.len() as u64,
        };
        self.next += 1;
        self.written.push((value, bytes));
        StoredBytes::InFile(value)
    }

    /// The bytes are needed no more.
    pub(super) fn remove(&mut self, bytes: &StoredBytes) {
        if let StoredBytes::InFile(value) = bytes {
            self.removed.push(*value);
        }
    }

    /// The number belongs to a value of the file.
    pub(super) fn is_used(&mut self, value: LongValue) {
        self.next = self.next.max(value.number + 1);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.written.is_empty() && self.removed.is_empty()
    }
}

impl StoredBytes {
    /// The bytes of its log entry.
    pub(super) fn in_log(&self) -> usize {
        match self {
            StoredBytes::Here(bytes) => bytes.len() + OVERHEAD,
            StoredBytes::InFile(_) => OVERHEAD,
        }
    }

    /// The log entry of a record.
    pub(super) fn record(&self, slot: u32) -> LogEntry<'_> {
        match self {
            StoredBytes::Here(bytes) => LogEntry::Record { slot, bytes },
            StoredBytes::InFile(value) => LogEntry::LongRecord { slot, value: *value },
        }
    }

    /// The log entry of an outcome.
    pub(super) fn outcome(&self, position: u64) -> LogEntry<'_> {
        match self {
            StoredBytes::Here(bytes) => LogEntry::Outcome { position, bytes },
            StoredBytes::InFile(value) => LogEntry::LongOutcome {
                position,
                value: *value,
            },
        }
    }
}

/// A task that is not trimmed.
pub(super) struct IndexedTask {
    pub(super) attempts: AttemptCounts,
    /// When the lease of the latest attempt ends.
    pub(super) until: Instant,
    /// Whether the latest attempt waits before its first call. The file then has it as released.
    pub(super) is_waiting: bool,
    /// The oldest row that may contain entries of the task.
    pub(super) oldest: u64,
    pub(super) records: BTreeMap<u32, StoredBytes>,
    pub(super) outcome: Option<(u64, StoredBytes)>,
    /// Whether an earlier outcome was trimmed, so that the file's mark has to be overridden.
    pub(super) reopened: bool,
}

impl IndexedTask {
    pub(super) fn new(row: u64) -> IndexedTask {
        let attempts = AttemptCounts::default();
        IndexedTask {
            attempts,
            until: Instant::now(),
            is_waiting: false,
            oldest: row,
            records: BTreeMap::new(),
            outcome: None,
            reopened: false,
        }
    }

    /// The counters as the file has them: after a crash, an attempt that waited was released.
    pub(super) fn logged_attempts(&self) -> AttemptCounts {
        AttemptCounts {
            held: self.attempts.held && !self.is_waiting,
            ..self.attempts
        }
    }

    /// The bytes of a rewrite of the task.
    pub(super) fn bytes(&self) -> usize {
        let outcome = self.outcome.iter().map(|(_, bytes)| bytes);
        let held = self.records.values().chain(outcome);
        OVERHEAD + held.map(StoredBytes::in_log).sum::<usize>()
    }

    /// Writes every entry of the task.
    pub(super) fn rewrite(&self, run: u32, id: TaskId, row: &mut Vec<u8>) {
        if self.reopened {
            LogEntry::Reopened.write(run, id, row);
        }
        LogEntry::Attempts(self.logged_attempts()).write(run, id, row);
        for (slot, bytes) in &self.records {
            bytes.record(*slot).write(run, id, row);
        }
        if let Some((position, bytes)) = &self.outcome {
            bytes.outcome(*position).write(run, id, row);
        }
    }
}
