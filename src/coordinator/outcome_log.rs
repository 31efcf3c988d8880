//! The outcome_log: `traces.jsonl` and `failures.jsonl`, every task's outcome in one of the two.
//!
//! JsonlFile are appended as they come and fsynced before the store may forget them; the index in memory says where each is. On start
//! the files are read again: what belongs to the job as it is now counts, the rest is set aside in `stale.jsonl`.

use crate::dataset::RowIndex;
use crate::report::OutcomeCounts;
use crate::run_dir::{RunDir, take_place, unfinished};
use crate::trace::{Failure, LineIndex, RecordedAnswer, answers_of};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The outcome_log cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct OutcomeLogError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Where a task's failure stands; 0 long: it has none.
#[derive(Clone, Copy, Debug, Default)]
struct FailureSlot {
    offset: u64,
    len: u32,
}

/// One of the two files, open for appending.
struct JsonlFile {
    path: PathBuf,
    file: File,
    end: u64,
}

/// Both files and where each task's outcome is.
pub(super) struct OutcomeLog {
    dir: RunDir,
    traces: JsonlFile,
    failures: JsonlFile,
    /// `stale.jsonl`, once this process has added to it.
    aside: Option<JsonlFile>,
    pub(super) rows: RowIndex,
    failed: Vec<FailureSlot>,
    counts: OutcomeCounts,
    /// JsonlFile that are not the job's any more: still in the files, to be set aside.
    stale: Stale,
    /// Tasks without an outcome whose answers `stale.jsonl` has, and where.
    replays: HashMap<usize, (u64, u32)>,
}

/// Which lines are to be set aside.
#[derive(Default)]
struct Stale {
    traces: Vec<(u64, u32)>,
    failures: Vec<(u64, u32)>,
}

/// What to do with a line that was found on start.
pub(super) enum LineClass {
    /// It is the outcome of this task of the job.
    Task(usize),
    /// It belongs to the job as it once was, or to another shape of its traces.
    Stale,
}

impl OutcomeLog {
    /// Opens the files for a job of `tasks` tasks. `trace` and `failure` judge each line that is there.
    pub(super) fn open(
        dir: &RunDir,
        tasks: usize,
        predictors: &[String],
        mut trace: impl FnMut(&LineIndex) -> LineClass,
        mut failure: impl FnMut(&Failure) -> LineClass,
    ) -> Result<OutcomeLog, OutcomeLogError> {
        let mut outcome_log = OutcomeLog {
            dir: dir.clone(),
            traces: JsonlFile::open(dir.traces())?,
            failures: JsonlFile::open(dir.failures())?,
            aside: None,
            rows: RowIndex::new(tasks),
            failed: vec![FailureSlot::default(); tasks],
            counts: OutcomeCounts::default(),
            stale: Stale::default(),
            replays: HashMap::new(),
        };
        let end = for_each_line(&dir.traces(), |offset, line| {
            let verdict = LineIndex::of(line).map(|index| (trace(&index), index));
            match verdict {
                Ok((LineClass::Task(task), index)) if !outcome_log.has(task) => {
                    outcome_log
                        .rows
                        .enter(task, offset, line.len() as u32, &index, predictors);
                    outcome_log.counts.trace(&index);
                }
                _ => outcome_log.stale.traces.push((offset, line.len() as u32)),
            }
        })?;
        outcome_log.traces.truncate(end)?;
        let end = for_each_line(&dir.failures(), |offset, line| {
            match serde_json::from_str::<Failure>(line).map(|found| (failure(&found), found)) {
                Ok((LineClass::Task(task), found)) if !outcome_log.has(task) => {
                    outcome_log.enter_failure(task, offset, line.len() as u32, &found);
                }
                _ => outcome_log.stale.failures.push((offset, line.len() as u32)),
            }
        })?;
        outcome_log.failures.truncate(end)?;
        outcome_log.archive_stale()?;
        Ok(outcome_log)
    }

    /// Looks through what was ever set aside for answers to questions that the job still asks: `task` gives the task of
    /// the job that a line answers, whatever shape the line has.
    pub(super) fn find_replays(
        &mut self,
        mut task: impl FnMut(&LineIndex) -> Option<usize>,
    ) -> Result<(), OutcomeLogError> {
        let path = self.dir.stale();
        if !path.exists() {
            return Ok(());
        }
        for_each_line(&path, |offset, line| {
            if let Ok(index) = LineIndex::of(line)
                && let Some(task) = task(&index)
                && !self.has(task)
            {
                self.replays.insert(task, (offset, line.len() as u32));
            }
        })?;
        Ok(())
    }

    /// How many tasks can be made anew from answers that are paid for.
    pub(super) fn replays(&self) -> usize {
        self.replays.len()
    }

    /// The answers to a task's questions that were set aside.
    pub(super) fn replay(&self, task: usize) -> Result<Vec<RecordedAnswer>, OutcomeLogError> {
        let Some((offset, len)) = self.replays.get(&task) else {
            return Ok(Vec::new());
        };
        let line = JsonlFile::open(self.dir.stale())?.line(*offset, *len)?;
        Ok(answers_of(&line).unwrap_or_default())
    }

    /// Whether the task has an outcome.
    pub(super) fn has(&self, task: usize) -> bool {
        self.rows.slot(task).len > 0 || self.failed[task].len > 0
    }

    /// What the outcomes come to.
    pub(super) fn counts(&self) -> &OutcomeCounts {
        &self.counts
    }

    /// JsonlFile that were set aside on start.
    pub(super) fn stale(&self) -> usize {
        self.stale.traces.len() + self.stale.failures.len()
    }

    /// Takes a task's trace.
    pub(super) fn append_trace(
        &mut self,
        task: usize,
        line: &str,
        index: &LineIndex,
        predictors: &[String],
        buffer: &mut Appended,
    ) {
        let offset = self.traces.end + buffer.traces.len() as u64;
        self.rows
            .enter(task, offset, line.len() as u32, index, predictors);
        buffer.traces.extend_from_slice(line.as_bytes());
        buffer.traces.push(b'\n');
        self.counts.trace(index);
    }

    /// Takes a task's failure.
    pub(super) fn append_failure(
        &mut self,
        task: usize,
        line: &str,
        failure: &Failure,
        buffer: &mut Appended,
    ) {
        let offset = self.failures.end + buffer.failures.len() as u64;
        self.enter_failure(task, offset, line.len() as u32, failure);
        buffer.failures.extend_from_slice(line.as_bytes());
        buffer.failures.push(b'\n');
    }

    fn enter_failure(&mut self, task: usize, offset: u64, len: u32, failure: &Failure) {
        self.failed[task] = FailureSlot { offset, len };
        self.counts.failure(failure);
    }

    /// Keeps an outcome that is not the job's any more.
    pub(super) fn append_stale(&self, line: &str, buffer: &mut Appended) {
        buffer.stale.extend_from_slice(line.as_bytes());
        buffer.stale.push(b'\n');
    }

    /// Hands what was appended to the operating system.
    pub(super) fn flush(&mut self, buffer: &mut Appended) -> Result<(), OutcomeLogError> {
        self.traces.append(&mut buffer.traces)?;
        self.failures.append(&mut buffer.failures)?;
        if buffer.stale.is_empty() {
            return Ok(());
        }
        let aside = match &mut self.aside {
            Some(aside) => aside,
            none => none.insert(JsonlFile::open(self.dir.stale())?),
        };
        aside.append(&mut buffer.stale)
    }

    /// Waits until what was flushed is on the disk.
    pub(super) async fn sync(&self) -> Result<(), OutcomeLogError> {
        for lines in [&self.traces, &self.failures].into_iter().chain(&self.aside) {
            let file = lines.file.try_clone().map_err(at(&lines.path))?;
            let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
            // The closure does nothing that could panic; a runtime that is going down cancels it.
            synced
                .unwrap_or_else(|gone| Err(io::Error::other(gone)))
                .map_err(at(&lines.path))?;
        }
        Ok(())
    }

    /// Puts both files into task order, leaving them alone where they are.
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

    /// The file of the traces, for reading at the offsets that `rows` has.
    pub(super) fn traces(&self) -> &File {
        &self.traces.file
    }

    fn archive_stale(&mut self) -> Result<(), OutcomeLogError> {
        if self.stale() == 0 {
            return Ok(());
        }
        let path = self.dir.stale();
        let mut aside = JsonlFile::open(path)?;
        let mut bytes = Vec::new();
        for (lines, stale) in [
            (&self.traces, &self.stale.traces),
            (&self.failures, &self.stale.failures),
        ] {
            for (offset, len) in stale {
                bytes.extend_from_slice(lines.line(*offset, *len)?.as_bytes());
                bytes.push(b'\n');
                if bytes.len() > FLUSH_BYTES {
                    aside.append(&mut bytes)?;
                }
            }
        }
        aside.append(&mut bytes)?;
        aside.file.sync_all().map_err(at(&aside.path))?;
        // Only now may they go from where they were.
        self.sort()
    }
}

/// Bytes that are appended, not yet flushed.
#[derive(Default)]
pub(super) struct Appended {
    traces: Vec<u8>,
    failures: Vec<u8>,
    stale: Vec<u8>,
}

impl Appended {
    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.traces.len() + self.failures.len() + self.stale.len()
    }
}

/// How much is gathered before a write.
const FLUSH_BYTES: usize = 1 << 20;

impl JsonlFile {
    fn open(path: PathBuf) -> Result<JsonlFile, OutcomeLogError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(at(&path))?;
        let end = file.metadata().map_err(at(&path))?.len();
        Ok(JsonlFile { path, file, end })
    }

    /// Drops the half line that a death left behind.
    fn truncate(&mut self, end: u64) -> Result<(), OutcomeLogError> {
        if end < self.end {
            self.file.set_len(end).map_err(at(&self.path))?;
            self.end = end;
        }
        Ok(())
    }

    fn append(&mut self, bytes: &mut Vec<u8>) -> Result<(), OutcomeLogError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(bytes, self.end).map_err(at(&self.path))?;
        self.end += bytes.len() as u64;
        bytes.clear();
        Ok(())
    }

    fn line(&self, offset: u64, len: u32) -> Result<String, OutcomeLogError> {
        let mut bytes = vec![0; len as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(at(&self.path))?;
        String::from_utf8(bytes).map_err(|error| at(&self.path)(io::Error::other(error)))
    }

    /// Writes the lines anew in the order of their tasks, unless they stand so already. `at_task` gives offset and length of a
    /// task's line in `index`, 0 long where it has none; `moved` is told where it went.
    fn rewrite<I>(
        &mut self,
        tasks: usize,
        index: &mut I,
        at_task: impl Fn(&I, usize) -> (u64, u32),
        moved: impl Fn(&mut I, usize, u64),
    ) -> Result<(), OutcomeLogError> {
        let mut expected = 0;
        let in_place = (0..tasks)
            .map(|task| at_task(index, task))
            .filter(|(_, len)| *len > 0)
            .all(|(offset, len)| {
                let here = offset == expected;
                expected += u64::from(len) + 1;
                here
            });
        if in_place && expected == self.end {
            return self.file.sync_all().map_err(at(&self.path));
        }
        let tmp = unfinished(&self.path);
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&tmp)
            .map_err(at(&tmp))?;
        let mut out = BufWriter::with_capacity(FLUSH_BYTES, file);
        let (mut end, mut bytes) = (0, Vec::new());
        for task in 0..tasks {
            let (offset, len) = at_task(index, task);
            if len == 0 {
                continue;
            }
            bytes.resize(len as usize + 1, 0);
            self.file
                .read_exact_at(&mut bytes, offset)
                .map_err(at(&self.path))?;
            out.write_all(&bytes).map_err(at(&tmp))?;
            moved(index, task, end);
            end += bytes.len() as u64;
        }
        let file = out.into_inner().map_err(|error| at(&tmp)(error.into_error()))?;
        file.sync_all().map_err(at(&tmp))?;
        take_place(&self.path).map_err(at(&self.path))?;
        self.file = file;
        self.end = end;
        Ok(())
    }
}

/// Calls `each` with offset and text of every whole line; gives the end of the last one. A line that is not UTF-8 is
/// given as an empty one, which no reader takes for its own.
fn for_each_line(path: &Path, mut each: impl FnMut(u64, &str)) -> Result<u64, OutcomeLogError> {
    let mut reader = BufReader::with_capacity(FLUSH_BYTES, File::open(path).map_err(at(path))?);
    let (mut offset, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(at(path))?;
        if line.pop() != Some(b'\n') {
            return Ok(offset);
        }
        each(offset, std::str::from_utf8(&line).unwrap_or(""));
        offset += read as u64;
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> OutcomeLogError {
    let path = path.to_owned();
    move |source| OutcomeLogError { path, source }
}

#[cfg(test)]
mod tests;
