//! The index of `traces.jsonl`: the position of every task's line and of every call's training row.
//!
//! 24 bytes per task and 20 bytes per call, so a million tasks need some 45 MB.

use super::LmKey;
use crate::trace::LineIndex;

/// The position of a task's line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceSlot {
    /// Offset of the line in the file.
    pub offset: u64,
    /// Its length without the line feed. 0 if the task has no trace.
    pub len: u32,
    first_row: u32,
    rows: u16,
    kept: bool,
}

/// The position of a training row within its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSpan {
    /// Start and end of the messages before the assistant turn, a JSON array.
    pub prompt: (u32, u32),
    /// Start and end of the assistant turn, a JSON string.
    pub assistant: (u32, u32),
    /// The index of the predictor in the student.
    pub predictor: u16,
}

/// The index of all tasks.
#[derive(Debug, Default)]
pub struct RowIndex {
    slots: Vec<TraceSlot>,
    rows: Vec<RowSpan>,
}

impl RowIndex {
    /// An index of `tasks` tasks without traces.
    pub fn new(tasks: usize) -> RowIndex {
        RowIndex {
            slots: vec![TraceSlot::default(); tasks],
            rows: Vec::new(),
        }
    }

    /// Adds the line of a task. `predictors` are the names of the student's predictors.
    pub fn enter(&mut self, task: usize, offset: u64, len: u32, line: &LineIndex, predictors: &[String]) {
        let first_row = self.rows.len() as u32;
        self.rows.extend(line.calls.iter().filter_map(|call| {
            let predictor = predictors.iter().position(|name| *name == call.predictor)?;
            Some(RowSpan {
                prompt: (call.prompt.start, call.prompt.end),
                assistant: (call.assistant.start, call.assistant.end),
                predictor: predictor as u16,
            })
        }));
        let rows = (self.rows.len() as u32 - first_row) as u16;
        self.slots[task] = TraceSlot {
            offset,
            len,
            first_row,
            rows,
            kept: line.kept,
        };
    }

    /// The position of a task's line.
    pub fn slot(&self, task: usize) -> TraceSlot {
        self.slots[task]
    }

    /// Sets the new offset of a task's line.
    pub fn moved(&mut self, task: usize, offset: u64) {
        self.slots[task].offset = offset;
    }

    /// The tasks that have a trace, in task order.
    pub fn traced(&self) -> impl Iterator<Item = (usize, TraceSlot)> + '_ {
        self.slots
            .iter()
            .copied()
            .enumerate()
            .filter(|(_, slot)| slot.len > 0)
    }

    /// The rows of kept traces, in order of task and call, as (task, row) numbers.
    pub fn kept(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.traced()
            .filter(|(_, slot)| slot.kept)
            .flat_map(|(task, slot)| {
                (slot.first_row..slot.first_row + u32::from(slot.rows)).map(move |row| (task as u32, row))
            })
    }

    /// The rows of an LM key, in the same order and form.
    pub fn kept_of(&self, key: &LmKey) -> impl Iterator<Item = (u32, u32)> + '_ {
        let predictor = key.predictor.as_ref().map(|(index, _)| *index);
        self.kept()
            .filter(move |(_, row)| predictor.is_none_or(|index| self.row(*row).predictor == index))
    }

    /// A row by number.
    pub fn row(&self, row: u32) -> RowSpan {
        self.rows[row as usize]
    }
}
