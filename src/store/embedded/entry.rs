//! Log entries of the embedded store: encoded one after the other in a row, little endian.

use super::long_value::LongValue;
use crate::task::TaskId;

/// One change to one task of one run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LogEntry<'a> {
    /// The task's counters after a claim, a release or a rewrite.
    Attempts(AttemptCounts),
    /// A slot's content.
    Record { slot: u32, bytes: &'a [u8] },
    /// The task's outcome and its position.
    Outcome { position: u64, bytes: &'a [u8] },
    /// A slot's content, which is among the long values.
    LongRecord { slot: u32, value: LongValue },
    /// The task's outcome, which is among the long values.
    LongOutcome { position: u64, value: LongValue },
    /// The task was reset and is to run again.
    Reopened,
    /// The task's outcome is safe elsewhere. Written only for a reopened task, whose mark in the file is
    /// older.
    Trimmed,
}

/// Counters of a task's attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct AttemptCounts {
    /// The latest attempt; 0 before the first.
    pub(super) attempt: u32,
    /// Attempts that lost their lease.
    pub(super) lost: u32,
    /// Attempts that died with the process.
    pub(super) deaths: u32,
    /// Whether the latest attempt is active.
    pub(super) held: bool,
}

/// Bytes before the payload: kind, run, task.
const HEAD: usize = 1 + 4 + 16;

/// Approximate bytes that an entry adds to its payload, for accounting.
pub(super) const OVERHEAD: usize = HEAD + 12;

impl LogEntry<'_> {
    /// Appends the entry to a row.
    pub(super) fn write(&self, run: u32, task: TaskId, row: &mut Vec<u8>) {
        let kind = match self {
            LogEntry::Attempts(_) => 1,
            LogEntry::Record { .. } => 2,
            LogEntry::Outcome { .. } => 3,
            LogEntry::Reopened => 4,
            LogEntry::Trimmed => 5,
            LogEntry::LongRecord { .. } => 6,
            LogEntry::LongOutcome { .. } => 7,
        };
        row.push(kind);
        row.extend_from_slice(&run.to_le_bytes());
        row.extend_from_slice(&task.0);
        let bytes = match self {
            LogEntry::Attempts(s) => {
                for number in [s.attempt, s.lost, s.deaths, u32::from(s.held)] {
                    row.extend_from_slice(&number.to_le_bytes());
                }
                return;
            }
            LogEntry::Reopened | LogEntry::Trimmed => return,
            LogEntry::LongRecord { slot, value } => {
                row.extend_from_slice(&slot.to_le_bytes());
                return write_value(*value, row);
            }
            LogEntry::LongOutcome { position, value } => {
                row.extend_from_slice(&position.to_le_bytes());
                return write_value(*value, row);
            }
            LogEntry::Record { slot, bytes } => {
                row.extend_from_slice(&slot.to_le_bytes());
                bytes
            }
            LogEntry::Outcome { position, bytes } => {
                row.extend_from_slice(&position.to_le_bytes());
                bytes
            }
        };
        row.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        row.extend_from_slice(bytes);
    }

    /// Removes the next entry from a row. `None` if the row does not start with a complete entry.
    pub(super) fn read<'a>(row: &mut &'a [u8]) -> Option<(u32, TaskId, LogEntry<'a>)> {
        let [kind] = take(row)?;
        let run = u32::from_le_bytes(take(row)?);
        let task = TaskId(take(row)?);
        let entry = match kind {
            1 => {
                let mut number = || Some(u32::from_le_bytes(take(row)?));
                let (attempt, lost, deaths, held) = (number()?, number()?, number()?, number()? != 0);
                LogEntry::Attempts(AttemptCounts {
                    attempt,
                    lost,
                    deaths,
                    held,
                })
            }
            2 => LogEntry::Record {
                slot: u32::from_le_bytes(take(row)?),
                bytes: take_bytes(row)?,
            },
            3 => LogEntry::Outcome {
                position: u64::from_le_bytes(take(row)?),
                bytes: take_bytes(row)?,
            },
            4 => LogEntry::Reopened,
            5 => LogEntry::Trimmed,
            6 => LogEntry::LongRecord {
                slot: u32::from_le_bytes(take(row)?),
                value: take_value(row)?,
            },
            7 => LogEntry::LongOutcome {
                position: u64::from_le_bytes(take(row)?),
                value: take_value(row)?,
            },
            _ => return None,
        };
        Some((run, task, entry))
    }
}

fn write_value(value: LongValue, row: &mut Vec<u8>) {
    row.extend_from_slice(&value.number.to_le_bytes());
    row.extend_from_slice(&value.len.to_le_bytes());
}

fn take_value(row: &mut &[u8]) -> Option<LongValue> {
    Some(LongValue {
        number: u64::from_le_bytes(take(row)?),
        len: u64::from_le_bytes(take(row)?),
    })
}

fn take<const N: usize>(row: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = row.split_first_chunk::<N>()?;
    *row = rest;
    Some(*head)
}

fn take_bytes<'a>(row: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(u64::from_le_bytes(take(row)?)).ok()?;
    let (bytes, rest) = row.split_at_checked(len)?;
    *row = rest;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_round_trip_and_no_prefix_parses() {
        let task = TaskId([7; 16]);
        let attempts = AttemptCounts {
            attempt: 3,
            lost: 1,
            deaths: 2,
            held: true,
        };
        let entries = [
            LogEntry::Attempts(attempts),
            LogEntry::Record {
                slot: 9,
                bytes: b"answer",
            },
            LogEntry::Outcome {
                position: 1 << 40,
                bytes: b"",
            },
            LogEntry::Reopened,
            LogEntry::Trimmed,
            LogEntry::LongRecord {
                slot: 3,
                value: LongValue {
                    number: 9,
                    len: 1 << 33,
                },
            },
            LogEntry::LongOutcome {
                position: 7,
                value: LongValue {
                    number: 0,
                    len: 1 << 20,
                },
            },
        ];
        let mut whole = Vec::new();
        for entry in &entries {
            let mut row = Vec::new();
            entry.write(5, task, &mut row);
            for cut in 0..row.len() {
                assert_eq!(LogEntry::read(&mut &row[..cut]), None);
            }
            whole.extend(row);
        }
        let mut rest = &whole[..];
        for entry in entries {
            assert_eq!(LogEntry::read(&mut rest), Some((5, task, entry)));
        }
        assert!(rest.is_empty());
    }
}
