//! The outcome log: `traces.jsonl` and `failures.jsonl`, with one line for each finished task in one of the two.
//!
//! Lines are appended in the order of their arrival and fsynced before the store deletes them; an index in memory has their offsets. On
//! start both files are read again: lines that fit the job are counted, the others are archived in `stale.jsonl`. What the outcomes cost
//! is in `spend.jsonl`, which loses nothing when outcomes are archived.

mod archive;
mod jsonl_file;
mod line;
mod spend_log;

pub use jsonl_file::OutcomeLogError;

use super::task_plan::LineOrigin;
use crate::calls_in_flight::SentCall;
use crate::dataset::RowIndex;
use crate::report::{CommonFailure, FailureMessages, OutcomeCounts};
use crate::run_dir::RunDir;
use crate::spec::CutAnswers;
use crate::task::TaskId;
use crate::trace::{AnswerNotes, FailureIndex, LineIndex, RecordedAnswer, Spent};
use archive::Archive;
use jsonl_file::{JsonlFile, for_each_line};
use line::OutcomeLine;
use spend_log::{EnteredOutcomes, SpendLog};
use std::collections::{HashMap, HashSet};
use std::fs::File;

/// The place of a line. `len` is 0 if there is none.
#[derive(Clone, Copy, Debug, Default)]
struct LineSlot {
    offset: u64,
    len: u32,
}

/// Both files and the place of each task's outcome.
pub(super) struct OutcomeLog {
    /// The student's predictors, as DSPy's `named_predictors()` names them.
    predictors: Vec<String>,
    traces: JsonlFile,
    failures: JsonlFile,
    archive: Archive,
    spend: SpendLog,
    rows: RowIndex,
    failed: Vec<LineSlot>,
    counts: OutcomeCounts,
    messages: FailureMessages,
    /// Tasks whose outcomes were entered in the spend log without their notes, which only the store has.
    without_notes: HashSet<usize>,
    /// How many lines were archived on start.
    stale: usize,
}

/// What is found out while both files are read.
struct Opening {
    /// Offsets and lengths of the lines that the job no longer fits.
    stale_traces: Vec<LineSlot>,
    stale_failures: Vec<LineSlot>,
    entered: EnteredOutcomes,
    /// Tasks whose outcomes are not in the spend log.
    not_entered: HashMap<TaskId, usize>,
}

impl OutcomeLog {
    /// Opens the files for a job of `tasks` tasks. `task_of` gives the task whose outcome a line is, `None` if the line is stale.
    pub(super) fn open(
        dir: &RunDir,
        tasks: usize,
        predictors: Vec<String>,
        cut_answers: CutAnswers,
        task_of: impl Fn(LineOrigin<'_>) -> Option<usize>,
    ) -> Result<OutcomeLog, OutcomeLogError> {
        let mut counts = OutcomeCounts::default();
        let (spend, entered) = SpendLog::open(dir.spend(), &mut counts)?;
        let mut log = OutcomeLog {
            predictors,
            traces: JsonlFile::open(dir.traces())?,
            failures: JsonlFile::open(dir.failures())?,
            archive: Archive::new(dir.stale(), cut_answers),
            spend,
            rows: RowIndex::new(tasks),
            failed: vec![LineSlot::default(); tasks],
            counts,
            messages: FailureMessages::default(),
            without_notes: HashSet::new(),
            stale: 0,
        };
        let mut opening = Opening {
            stale_traces: Vec::new(),
            stale_failures: Vec::new(),
            entered,
            not_entered: HashMap::new(),
        };
        let end = for_each_line(&dir.traces(), |offset, text| {
            let slot = LineSlot {
                offset,
                len: text.len() as u32,
            };
            match LineIndex::parse(text).map(OutcomeLine::Trace) {
                Ok(line) => log.read(slot, &line, &task_of, &mut opening),
                Err(_) => opening.stale_traces.push(slot),
            }
        })?;
        log.traces.truncate(end)?;
        let end = for_each_line(&dir.failures(), |offset, text| {
            let slot = LineSlot {
                offset,
                len: text.len() as u32,
            };
            match FailureIndex::parse(text).map(OutcomeLine::Failure) {
                Ok(line) => log.read(slot, &line, &task_of, &mut opening),
                Err(_) => opening.stale_failures.push(slot),
            }
        })?;
        log.failures.truncate(end)?;
        log.archive_stale(&opening)?;
        log.enter_missing(opening)?;
        Ok(log)
    }

    /// Searches the archive for recorded answers of tasks that have no outcome. `task_of` gives the task whose LM calls a line recorded.
    pub(super) fn find_replays(
        &mut self,
        task_of: impl Fn(LineOrigin<'_>) -> Option<usize>,
    ) -> Result<(), OutcomeLogError> {
        let (rows, failed) = (&self.rows, &self.failed);
        let is_open = |task: &usize| rows.slot(*task).len == 0 && failed[*task].len == 0;
        self.archive.find_replays(|line| task_of(line).filter(is_open))
    }

    /// How many tasks without an outcome can run from archived answers, some or all of them, at no cost.
    pub(super) fn replays(&self) -> usize {
        self.archive.replays().filter(|task| !self.has(*task)).count()
    }

    /// The archived answers to a task's LM calls; `None` if the archive has no outcome of the task.
    pub(super) fn archived_answers(
        &self,
        task: usize,
    ) -> Result<Option<Vec<RecordedAnswer>>, OutcomeLogError> {
        let replay = self.archive.replay(task);
        replay.map(|line| self.archive.answers(line)).transpose()
    }

    /// The bytes of the line with them; 0 if there is none.
    pub(super) fn archived_len(&self, task: usize) -> usize {
        self.archive.replay(task).map_or(0, |line| line.len as usize)
    }

    /// Whether the task can run from archived answers without an LM call.
    pub(super) fn is_replay(&self, task: usize) -> bool {
        self.archive.is_complete(task)
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

    /// Counts over all outcomes, and what all answers cost.
    pub(super) fn counts(&self) -> &OutcomeCounts {
        &self.counts
    }

    /// The failure that most failed tasks have in common.
    pub(super) fn commonest_failure(&self) -> Option<&CommonFailure> {
        self.messages.commonest()
    }

    /// So many of the most frequent failures.
    pub(super) fn most_common_failures(&self, most: usize) -> Vec<CommonFailure> {
        self.messages.most_common(most)
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
    pub(super) fn append_trace(
        &mut self,
        task: usize,
        line: &str,
        index: LineIndex,
        notes: &AnswerNotes,
    ) -> Result<(), OutcomeLogError> {
        let offset = self.traces.push(line)?;
        self.append(task, offset, line, &OutcomeLine::Trace(index), notes)
    }

    /// Appends a task's failure to the buffer.
    pub(super) fn append_failure(
        &mut self,
        task: usize,
        line: &str,
        index: FailureIndex,
        notes: &AnswerNotes,
    ) -> Result<(), OutcomeLogError> {
        let offset = self.failures.push(line)?;
        self.append(task, offset, line, &OutcomeLine::Failure(index), notes)
    }

    /// Appends an outcome that the job no longer fits to the archive's buffer.
    pub(super) fn append_stale(&mut self, line: &str, notes: &AnswerNotes) -> Result<(), OutcomeLogError> {
        if let Some(outcome) = OutcomeLine::parse(line) {
            self.spend(&outcome, &outcome.spent(), notes);
        }
        self.archive.push(line)
    }

    /// Enters the notes of an outcome that the log has, if the process that appended it was killed before it entered them.
    pub(super) fn append_notes(&mut self, task: usize, notes: &AnswerNotes) {
        if self.without_notes.remove(&task)
            && !notes.is_empty()
            && let Ok(text) = self.text(task)
            && let Some(line) = OutcomeLine::parse(&text)
        {
            self.spend(&line, &[], notes);
        }
    }

    /// Enters calls that a killed process had in flight, and waits until the disk has them. Those that are entered already are skipped.
    pub(super) async fn append_sent(&mut self, calls: &[SentCall]) -> Result<(), OutcomeLogError> {
        for call in calls {
            self.spend.enter_sent(call, &mut self.counts);
        }
        self.spend.flush()?;
        self.spend.sync().await
    }

    /// Hands the buffers of the outcomes to the operating system. Returns how many bytes they held.
    pub(super) fn flush(&mut self) -> Result<usize, OutcomeLogError> {
        let mut bytes = 0;
        for file in [&mut self.traces, &mut self.failures]
            .into_iter()
            .chain(self.archive.file())
        {
            bytes += file.buffered();
            file.flush()?;
        }
        Ok(bytes)
    }

    /// Waits until the flushed outcomes, and what they cost, are on the disk.
    pub(super) async fn sync(&mut self) -> Result<(), OutcomeLogError> {
        for file in [&self.traces, &self.failures] {
            file.sync().await?;
        }
        if let Some(archive) = self.archive.file() {
            archive.sync().await?;
        }
        self.spend.flush()?;
        self.spend.sync().await
    }

    /// Puts both files into task order.
    pub(super) fn sort(&mut self) -> Result<(), OutcomeLogError> {
        self.sort_traces()?;
        self.sort_failures()
    }

    /// Moves every failure to the archive, so that its task has no outcome and uses its answers again. Returns how many there were. The
    /// store must have no outcome that is not in the log.
    pub(super) fn archive_failures(&mut self) -> Result<usize, OutcomeLogError> {
        let failed = self.counts.failed();
        if failed == 0 {
            return Ok(0);
        }
        for slot in self.failed.iter().filter(|slot| slot.len > 0) {
            self.archive.push(&self.failures.line(slot.offset, slot.len)?)?;
        }
        self.archive.sync_all()?;
        self.failed.fill(LineSlot::default());
        self.counts.failures.clear();
        self.messages = FailureMessages::default();
        self.sort_failures()?;
        self.spend.retry(failed);
        self.spend.flush()?;
        Ok(failed)
    }

    fn sort_traces(&mut self) -> Result<(), OutcomeLogError> {
        let trace = |rows: &RowIndex, task: usize| {
            let slot = rows.slot(task);
            (slot.offset, slot.len)
        };
        let tasks = self.failed.len();
        self.traces
            .rewrite(tasks, &mut self.rows, trace, |rows, task, offset| {
                rows.moved(task, offset)
            })
    }

    fn sort_failures(&mut self) -> Result<(), OutcomeLogError> {
        let failure = |failed: &Vec<LineSlot>, task: usize| (failed[task].offset, failed[task].len);
        let tasks = self.failed.len();
        self.failures
            .rewrite(tasks, &mut self.failed, failure, |failed, task, offset| {
                failed[task].offset = offset;
            })
    }

    /// Enters a task's outcome, and what its answers cost beyond those that were used again.
    fn append(
        &mut self,
        task: usize,
        offset: u64,
        text: &str,
        line: &OutcomeLine,
        notes: &AnswerNotes,
    ) -> Result<(), OutcomeLogError> {
        let len = text.len() as u32;
        self.enter(task, LineSlot { offset, len }, line);
        let paid = self.archive.paid(text, line, self.archive.replay(task))?;
        self.spend(line, &paid, notes);
        Ok(())
    }

    fn enter(&mut self, task: usize, slot: LineSlot, line: &OutcomeLine) {
        match line {
            OutcomeLine::Trace(index) => {
                self.rows
                    .enter(task, slot.offset, slot.len, index, &self.predictors);
                self.counts.trace(index.kept);
                for call in &index.calls {
                    if let Some(reason) = &call.finish_reason {
                        self.counts.end(&call.lm, reason);
                    }
                }
            }
            OutcomeLine::Failure(index) => {
                self.failed[task] = slot;
                self.counts.failure(index.kind);
                self.messages.enter(index);
            }
        }
    }

    fn spend(&mut self, line: &OutcomeLine, paid: &[Spent], notes: &AnswerNotes) {
        paid.iter().for_each(|spent| self.counts.spend(spent));
        notes.unsettled.iter().for_each(|call| self.counts.unsettle(call));
        let endpoints = notes.endpoints.iter();
        endpoints.for_each(|(lm, answers)| self.counts.serve(lm, answers));
        self.spend.enter(line.origin(), line.is_failure(), paid, notes);
    }

    /// Takes up a line that is in one of the files when they are opened.
    fn read(
        &mut self,
        slot: LineSlot,
        line: &OutcomeLine,
        task_of: &impl Fn(LineOrigin<'_>) -> Option<usize>,
        opening: &mut Opening,
    ) {
        let is_entered = opening.entered.has(line.origin(), line.is_failure());
        match task_of(line.origin()).filter(|task| !self.has(*task)) {
            Some(task) => {
                self.enter(task, slot, line);
                if !is_entered {
                    opening.not_entered.insert(line.origin().task, task);
                }
            }
            None => {
                let stale = if line.is_failure() {
                    &mut opening.stale_failures
                } else {
                    &mut opening.stale_traces
                };
                stale.push(slot);
                // With the whole archive, if the spend log is new.
                if !is_entered && !opening.entered.is_first {
                    self.spend(line, &line.spent(), &AnswerNotes::default());
                }
            }
        }
    }

    /// Copies stale lines to the archive, then drops them from the two files.
    fn archive_stale(&mut self, opening: &Opening) -> Result<(), OutcomeLogError> {
        self.stale = opening.stale_traces.len() + opening.stale_failures.len();
        if self.stale == 0 {
            return Ok(());
        }
        for (file, lines) in [
            (&self.traces, &opening.stale_traces),
            (&self.failures, &opening.stale_failures),
        ] {
            for slot in lines {
                self.archive.push(&file.line(slot.offset, slot.len)?)?;
            }
        }
        self.archive.sync_all()?;
        self.sort()
    }

    /// Enters the outcomes that the spend log lacks: those of the last moments of a killed process, or of a version without the log.
    fn enter_missing(&mut self, opening: Opening) -> Result<(), OutcomeLogError> {
        let Opening {
            entered, not_entered, ..
        } = opening;
        if not_entered.is_empty() && !entered.is_first {
            return self.spend.flush();
        }
        // The archived line whose answers the next outcome of the task used again.
        let mut archived: HashMap<TaskId, LineSlot> = HashMap::new();
        let (archive, spend, counts) = (&self.archive, &mut self.spend, &mut self.counts);
        archive.for_each(|slot, text| {
            let Some(line) = OutcomeLine::parse(text) else {
                return Ok(());
            };
            let task = line.origin().task;
            if entered.is_first {
                let paid = archive.paid(text, &line, archived.get(&task).copied())?;
                paid.iter().for_each(|spent| counts.spend(spent));
                spend.enter(line.origin(), line.is_failure(), &paid, &AnswerNotes::default());
                spend.flush_when_large()?;
            }
            let is_wanted = entered.is_first || not_entered.contains_key(&task);
            if is_wanted && archive.has_answers(text) {
                archived.insert(task, slot);
            }
            Ok(())
        })?;
        let mut missing: Vec<(TaskId, usize)> = not_entered.into_iter().collect();
        missing.sort_unstable_by_key(|(_, task)| *task);
        for (id, task) in missing {
            let text = self.text(task)?;
            if let Some(line) = OutcomeLine::parse(&text) {
                let paid = self.archive.paid(&text, &line, archived.get(&id).copied())?;
                self.spend(&line, &paid, &AnswerNotes::default());
                self.without_notes.insert(task);
                self.spend.flush_when_large()?;
            }
        }
        self.spend.flush()
    }

    /// The line of a task that has an outcome.
    fn text(&self, task: usize) -> Result<String, OutcomeLogError> {
        if self.has_trace(task) {
            return self.trace_line(task);
        }
        let failure = self.failed[task];
        self.failures.line(failure.offset, failure.len)
    }
}

#[cfg(test)]
mod tests;
