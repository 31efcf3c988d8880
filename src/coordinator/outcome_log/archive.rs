//! `stale.jsonl`: outcomes that count no longer, because the job changed or `retry` runs their tasks again. Their answers were paid.

use super::jsonl_file::{FLUSH_BYTES, JsonlFile, OutcomeLogError, for_each_line, with_path};
use super::line::OutcomeLine;
use super::{LineOrigin, LineSlot};
use crate::spec::CutAnswers;
use crate::trace::{LineAnswers, RecordedAnswer, Spent};
use std::collections::HashMap;
use std::path::PathBuf;

/// The file, and the answers in it that tasks use again.
pub(super) struct Archive {
    path: PathBuf,
    /// What the job does with cut answers.
    cut_answers: CutAnswers,
    /// Open once this process has added to it.
    file: Option<JsonlFile>,
    /// The latest line of each task that has no outcome.
    replays: HashMap<usize, Replay>,
}

#[derive(Clone, Copy)]
struct Replay {
    line: LineSlot,
    has_answers: bool,
    /// Whether the task needs no other answer.
    is_complete: bool,
}

impl Archive {
    pub(super) fn new(path: PathBuf, cut_answers: CutAnswers) -> Archive {
        Archive {
            path,
            cut_answers,
            file: None,
            replays: HashMap::new(),
        }
    }

    /// Adds a line to the buffer, which is written when it is large.
    pub(super) fn push(&mut self, line: &str) -> Result<(), OutcomeLogError> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(JsonlFile::open(self.path.clone())?),
        };
        file.push(line)?;
        if file.buffered() > FLUSH_BYTES {
            file.flush()?;
        }
        Ok(())
    }

    /// The file, if this process has added to it.
    pub(super) fn file(&mut self) -> Option<&mut JsonlFile> {
        self.file.as_mut()
    }

    /// Waits until the disk has every line. Only then the originals may be dropped.
    pub(super) fn sync_all(&mut self) -> Result<(), OutcomeLogError> {
        if let Some(file) = &mut self.file {
            file.flush()?;
            file.file().sync_all().map_err(with_path(file.path()))?;
        }
        Ok(())
    }

    /// Calls `each` with every complete line.
    pub(super) fn for_each(
        &self,
        mut each: impl FnMut(LineSlot, &str) -> Result<(), OutcomeLogError>,
    ) -> Result<(), OutcomeLogError> {
        if !self.path.exists() {
            return Ok(());
        }
        let mut ended = Ok(());
        for_each_line(&self.path, |offset, line| {
            let len = line.len() as u32;
            if ended.is_ok() {
                ended = each(LineSlot { offset, len }, line);
            }
        })?;
        ended
    }

    /// Finds the latest line of each task that `task_of` gives. Lines without a record of what was answered are skipped.
    pub(super) fn find_replays(
        &mut self,
        task_of: impl Fn(LineOrigin<'_>) -> Option<usize>,
    ) -> Result<(), OutcomeLogError> {
        let mut replays = HashMap::new();
        self.for_each(|slot, text| {
            if let Some(line) = OutcomeLine::parse(text)
                && let Some(task) = task_of(line.origin())
                && let Some(answers) = self.answers_of(text)
            {
                let has_answers = answers.reusable > 0;
                let is_complete = line.is_complete();
                replays.insert(
                    task,
                    Replay {
                        line: slot,
                        has_answers,
                        is_complete,
                    },
                );
            }
            Ok(())
        })?;
        self.replays = replays;
        Ok(())
    }

    /// The tasks that use answers again.
    pub(super) fn replays(&self) -> impl Iterator<Item = usize> + '_ {
        let replays = self.replays.iter().filter(|(_, replay)| replay.has_answers);
        replays.map(|(task, _)| *task)
    }

    /// Whether the task makes no LM call when it runs.
    pub(super) fn is_complete(&self, task: usize) -> bool {
        self.replays.get(&task).is_some_and(|replay| replay.is_complete)
    }

    /// The line whose answers the task uses again.
    pub(super) fn replay(&self, task: usize) -> Option<LineSlot> {
        self.replays.get(&task).map(|replay| replay.line)
    }

    /// The answers of a line that a task uses again.
    pub(super) fn answers(&self, line: LineSlot) -> Result<Vec<RecordedAnswer>, OutcomeLogError> {
        let text = JsonlFile::open(self.path.clone())?.line(line.offset, line.len)?;
        Ok(self
            .answers_of(&text)
            .map_or_else(Vec::new, LineAnswers::into_reusable))
    }

    /// Whether the line has a record of what was answered, so that a later outcome of its task may have used the answers again.
    pub(super) fn has_answers(&self, text: &str) -> bool {
        self.answers_of(text).is_some()
    }

    /// What the answers of an outcome cost beyond those of the archived line that its task used again.
    pub(super) fn paid(
        &self,
        text: &str,
        line: &OutcomeLine,
        used_again: Option<LineSlot>,
    ) -> Result<Vec<Spent>, OutcomeLogError> {
        let used_again = used_again.map(|slot| self.answers(slot)).transpose()?;
        let used_again = used_again.unwrap_or_default();
        if used_again.is_empty() {
            return Ok(line.spent());
        }
        let answers = self.answers_of(text);
        Ok(answers.map_or_else(|| line.spent(), |all| new_answers(&all.all, &used_again)))
    }

    fn answers_of(&self, text: &str) -> Option<LineAnswers> {
        LineAnswers::parse(text, self.cut_answers).ok().flatten()
    }
}

/// The answers that are not those that the task was to use again, by LM.
fn new_answers(all: &[RecordedAnswer], used_again: &[RecordedAnswer]) -> Vec<Spent> {
    let is_new = |(at, answer): &(usize, &RecordedAnswer)| {
        used_again
            .get(*at)
            .is_none_or(|known| known.question != answer.question || known.answer != answer.answer)
    };
    let mut paid = Vec::new();
    for (_, answer) in all.iter().enumerate().filter(is_new) {
        // A record of version 0.1.0 does not name its LM.
        if !answer.lm.is_empty() {
            Spent::add(&mut paid, &answer.lm, 1, answer.answer.usage);
        }
    }
    paid
}
