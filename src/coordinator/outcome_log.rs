//! The outcome log: `traces.jsonl` and `failures.jsonl`, with one line for each finished task in one of the two.
//!
//! Lines are appended in the order of their arrival and fsynced before the store deletes them; an index in memory has their offsets. On
//! start both files are read again: lines that fit the job are counted, the others are archived in `stale.jsonl`.

mod jsonl_file;

pub use jsonl_file::OutcomeLogError;

use super::task_plan::LineOrigin;
use crate::dataset::RowIndex;
use crate::report::{CommonFailure, FailureMessages, OutcomeCounts};
use crate::run_dir::RunDir;
use crate::trace::{Failure, LineIndex, RecordedAnswer, answers_of};
use jsonl_file::{FLUSH_BYTES, JsonlFile, for_each_line, with_path};
use std::collections::HashMap;
use std::fs::File;

/// The line of a task's failure. `len` is 0 if the task has none.
#[derive(Clone, Copy, Debug, Default)]
struct FailureSlot {
    offset: u64,
    len: u32,
}

/// Both files and the place of each task's outcome.
pub(super) struct OutcomeLog {
    dir: RunDir,
    /// The student's predictors, as DSPy's `named_predictors()` names them.
    predictors: Vec<String>,
    traces: JsonlFile,
    failures: JsonlFile,
    /// `stale.jsonl`, once this process has added to it.
    archive: Option<JsonlFile>,
    rows: RowIndex,
    failed: Vec<FailureSlot>,
    counts: OutcomeCounts,
    messages: FailureMessages,
    /// How many lines were archived on start.
    stale: usize,
    /// Tasks without an outcome whose answers are in `stale.jsonl`, with offset and length of the line.
    replays: HashMap<usize, (u64, u32)>,
}

/// Offsets and lengths of the lines that the job no longer fits.
#[derive(Default)]
struct StaleLines {
    traces: Vec<(u64, u32)>,
    failures: Vec<(u64, u32)>,
}

impl OutcomeLog {
    /// Opens the files for a job of `tasks` tasks. `task_of` gives the task whose outcome a line is, `None` if the line is stale.
    pub(super) fn open(
        dir: &RunDir,
        tasks: usize,
        predictors: Vec<String>,
        task_of: impl Fn(LineOrigin<'_>) -> Option<usize>,
    ) -> Result<OutcomeLog, OutcomeLogError> {
        let mut log = OutcomeLog {
            dir: dir.clone(),
            predictors,
            traces: JsonlFile::open(dir.traces())?,
            failures: JsonlFile::open(dir.failures())?,
            archive: None,
            rows: RowIndex::new(tasks),
            failed: vec![FailureSlot::default(); tasks],
            counts: OutcomeCounts::default(),
            messages: FailureMessages::default(),
            stale: 0,
            replays: HashMap::new(),
        };
        let mut stale = StaleLines::default();
        let end = for_each_line(&dir.traces(), |offset, line| {
            let len = line.len() as u32;
            let found = LineIndex::of(line).ok();
            match found.and_then(|index| Some((task_of((&index).into())?, index))) {
                Some((task, index)) if !log.has(task) => log.enter_trace(task, offset, len, &index),
                _ => stale.traces.push((offset, len)),
            }
        })?;
        log.traces.truncate(end)?;
        let end = for_each_line(&dir.failures(), |offset, line| {
            let len = line.len() as u32;
            let found = serde_json::from_str::<Failure>(line).ok();
            match found.and_then(|failure| Some((task_of((&failure).into())?, failure))) {
                Some((task, failure)) if !log.has(task) => log.enter_failure(task, offset, len, &failure),
                _ => stale.failures.push((offset, len)),
            }
        })?;
        log.failures.truncate(end)?;
        log.archive_stale(&stale)?;
        Ok(log)
    }

    /// Searches the archive for recorded answers of tasks that have no outcome. `task_of` gives the task whose LM calls a line recorded.
    pub(super) fn find_replays(
        &mut self,
        task_of: impl Fn(LineOrigin<'_>) -> Option<usize>,
    ) -> Result<(), OutcomeLogError> {
        let path = self.dir.stale();
        if !path.exists() {
            return Ok(());
        }
        for_each_line(&path, |offset, line| {
            if let Ok(index) = LineIndex::of(line)
                && let Some(task) = task_of((&index).into())
                && !self.has(task)
            {
                self.replays.insert(task, (offset, line.len() as u32));
            }
        })?;
        Ok(())
    }

    /// How many tasks can run from archived answers, at no cost.
    pub(super) fn replays(&self) -> usize {
        self.replays.len()
    }

    /// The archived answers to a task's LM calls; empty if there are none.
    pub(super) fn archived_answers(&self, task: usize) -> Result<Vec<RecordedAnswer>, OutcomeLogError> {
        let Some((offset, len)) = self.replays.get(&task) else {
            return Ok(Vec::new());
        };
        let line = JsonlFile::open(self.dir.stale())?.line(*offset, *len)?;
        Ok(answers_of(&line).unwrap_or_default())
    }

    /// Whether the task can run from archived answers.
    pub(super) fn is_replay(&self, task: usize) -> bool {
        self.replays.contains_key(&task)
    }

    /// Whether the task has a trace.
    pub(super) fn has_trace(&self, task: usize) -> bool {
        self.rows.slot(task).len > 0
    }

    /// The line of a task that [has a trace](OutcomeLog::has_trace).
    pub(super) fn trace_line(&self, task: usize) -> Result<String, OutcomeLogError> {
        let slot = self.rows.slot(task);
        self.traces.line(slot.offset, slot.len)
    }

    /// Whether the task has an outcome.
    pub(super) fn has(&self, task: usize) -> bool {
        self.has_trace(task) || self.failed[task].len > 0
    }

    /// Counts over all outcomes.
    pub(super) fn counts(&self) -> &OutcomeCounts {
        &self.counts
    }

    /// The failure that most failed tasks have in common.
    pub(super) fn commonest_failure(&self) -> Option<&CommonFailure> {
        self.messages.commonest()
    }

    /// How many lines were archived on start.
    pub(super) fn stale(&self) -> usize {
        self.stale
    }

    /// The training rows of all traces.
    pub(super) fn rows(&self) -> &RowIndex {
        &self.rows
    }

    /// The file of the traces, for reading at the offsets in [`rows`](OutcomeLog::rows).
    pub(super) fn traces(&self) -> &File {
        self.traces.file()
    }

    /// Appends a task's trace to the buffer.
    pub(super) fn append_trace(&mut self, task: usize, line: &str, index: &LineIndex) {
        let offset = self.traces.push(line);
        self.enter_trace(task, offset, line.len() as u32, index);
    }

    /// Appends a task's failure to the buffer.
    pub(super) fn append_failure(&mut self, task: usize, line: &str, failure: &Failure) {
        let offset = self.failures.push(line);
        self.enter_failure(task, offset, line.len() as u32, failure);
    }

    /// Appends an outcome that the job no longer fits to the archive's buffer.
    pub(super) fn append_stale(&mut self, line: &str) -> Result<(), OutcomeLogError> {
        let archive = match &mut self.archive {
            Some(archive) => archive,
            none => none.insert(JsonlFile::open(self.dir.stale())?),
        };
        archive.push(line);
        Ok(())
    }

    /// Hands the buffers to the operating system. Returns how many bytes they held.
    pub(super) fn flush(&mut self) -> Result<usize, OutcomeLogError> {
        let mut bytes = 0;
        for file in [&mut self.traces, &mut self.failures]
            .into_iter()
            .chain(&mut self.archive)
        {
            bytes += file.buffered();
            file.flush()?;
        }
        Ok(bytes)
    }

    /// Waits until the flushed lines are on the disk.
    pub(super) async fn sync(&self) -> Result<(), OutcomeLogError> {
        for file in [&self.traces, &self.failures].into_iter().chain(&self.archive) {
            file.sync().await?;
        }
        Ok(())
    }

    /// Puts both files into task order.
    pub(super) fn sort(&mut self) -> Result<(), OutcomeLogError> {
        let tasks = self.failed.len();
        let trace = |rows: &RowIndex, task: usize| {
            let slot = rows.slot(task);
            (slot.offset, slot.len)
        };
        self.traces
            .rewrite(tasks, &mut self.rows, trace, |rows, task, offset| {
                rows.moved(task, offset)
            })?;
        let failure = |failed: &Vec<FailureSlot>, task: usize| (failed[task].offset, failed[task].len);
        self.failures
            .rewrite(tasks, &mut self.failed, failure, |failed, task, offset| {
                failed[task].offset = offset;
            })
    }

    fn enter_trace(&mut self, task: usize, offset: u64, len: u32, index: &LineIndex) {
        self.rows.enter(task, offset, len, index, &self.predictors);
        self.counts.trace(index);
    }

    fn enter_failure(&mut self, task: usize, offset: u64, len: u32, failure: &Failure) {
        self.failed[task] = FailureSlot { offset, len };
        self.counts.failure(failure);
        self.messages.enter(failure);
    }

    /// Copies stale lines to the archive, then drops them from the two files.
    fn archive_stale(&mut self, stale: &StaleLines) -> Result<(), OutcomeLogError> {
        self.stale = stale.traces.len() + stale.failures.len();
        if self.stale == 0 {
            return Ok(());
        }
        let mut archive = JsonlFile::open(self.dir.stale())?;
        for (file, lines) in [(&self.traces, &stale.traces), (&self.failures, &stale.failures)] {
            for (offset, len) in lines {
                archive.push(&file.line(*offset, *len)?);
                if archive.buffered() > FLUSH_BYTES {
                    archive.flush()?;
                }
            }
        }
        archive.flush()?;
        archive.file().sync_all().map_err(with_path(archive.path()))?;
        // Only an archive that is on the disk allows the originals to be dropped.
        self.sort()
    }
}

#[cfg(test)]
mod tests;
