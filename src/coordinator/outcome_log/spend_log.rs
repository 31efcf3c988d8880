//! `spend.jsonl`: what was paid, whatever became of it. Lines are only ever appended.
//!
//! A line has the answers that were new in an outcome: a task that runs again uses answers of its earlier outcome, and they are entered
//! once. Lines are written after the outcomes are on the disk, so the log never has more than was paid. Outcomes that a killed process
//! did not enter are entered by the next one.

use super::LineOrigin;
use super::jsonl_file::{FLUSH_BYTES, JsonlFile, OutcomeLogError, for_each_line};
use crate::lm::Usage;
use crate::report::OutcomeCounts;
use crate::task::TaskId;
use crate::trace::Spent;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SpendEntry {
    /// The new answers of an outcome.
    Outcome(OutcomeEntry),
    /// `retry` took so many failures back: later outcomes of their tasks are new ones.
    Retry { failures: usize },
}

#[derive(Serialize, Deserialize)]
struct OutcomeEntry {
    task: TaskId,
    made_by: String,
    /// Whether the outcome is a failure.
    #[serde(default)]
    failed: bool,
    paid: Vec<PaidEntry>,
}

/// Answers of one LM.
#[derive(Serialize, Deserialize)]
struct PaidEntry {
    lm: String,
    answers: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// The file, open for appending.
pub(super) struct SpendLog(JsonlFile);

/// The outcomes that a log has when it is opened.
#[derive(Default)]
pub(super) struct EnteredOutcomes {
    traces: HashSet<u64>,
    failures: HashSet<u64>,
    /// Whether the run directory is new, or an earlier version without this log made it.
    pub(super) is_first: bool,
}

impl EnteredOutcomes {
    /// Whether the outcome of the line was entered.
    pub(super) fn has(&self, line: LineOrigin<'_>, is_failure: bool) -> bool {
        let entered = if is_failure { &self.failures } else { &self.traces };
        entered.contains(&key(line.task, line.trace_fingerprint))
    }
}

impl SpendLog {
    /// Opens the file and adds its sums to the counts.
    pub(super) fn open(
        path: PathBuf,
        counts: &mut OutcomeCounts,
    ) -> Result<(SpendLog, EnteredOutcomes), OutcomeLogError> {
        let mut file = JsonlFile::open(path.clone())?;
        let mut entered = EnteredOutcomes {
            is_first: true,
            ..EnteredOutcomes::default()
        };
        let end = for_each_line(&path, |_, line| {
            entered.is_first = false;
            match serde_json::from_str(line) {
                Ok(SpendEntry::Outcome(outcome)) => {
                    let key = key(outcome.task, &outcome.made_by);
                    if outcome.failed {
                        entered.failures.insert(key);
                    } else {
                        entered.traces.insert(key);
                    }
                    outcome.paid.iter().for_each(|paid| counts.spend(&paid.into()));
                }
                Ok(SpendEntry::Retry { .. }) => entered.failures.clear(),
                // Written by a later version.
                Err(_) => {}
            }
        })?;
        file.truncate(end)?;
        Ok((SpendLog(file), entered))
    }

    /// Enters the new answers of an outcome.
    pub(super) fn enter(&mut self, outcome: LineOrigin<'_>, is_failure: bool, paid: &[Spent]) {
        let entry = SpendEntry::Outcome(OutcomeEntry {
            task: outcome.task,
            made_by: outcome.trace_fingerprint.to_owned(),
            failed: is_failure,
            paid: paid.iter().map(PaidEntry::from).collect(),
        });
        self.push(&entry);
    }

    /// Notes that these failures are taken back.
    pub(super) fn retry(&mut self, failures: usize) {
        self.push(&SpendEntry::Retry { failures });
    }

    fn push(&mut self, entry: &SpendEntry) {
        let line = serde_json::to_string(entry).expect("strings and numbers serialise");
        self.0.push(&line);
    }

    /// Writes the entered lines if there are many.
    pub(super) fn flush_when_large(&mut self) -> Result<(), OutcomeLogError> {
        if self.0.buffered() > FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the entered lines.
    pub(super) fn flush(&mut self) -> Result<(), OutcomeLogError> {
        self.0.flush()
    }

    /// Waits until the written lines are on the disk.
    pub(super) async fn sync(&self) -> Result<(), OutcomeLogError> {
        self.0.sync().await
    }
}

/// Identifies an outcome within this process.
fn key(task: TaskId, made_by: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (task, made_by).hash(&mut hasher);
    hasher.finish()
}

impl From<&Spent> for PaidEntry {
    fn from(spent: &Spent) -> PaidEntry {
        PaidEntry {
            lm: spent.lm.clone(),
            answers: spent.answers,
            prompt_tokens: spent.usage.prompt_tokens,
            completion_tokens: spent.usage.completion_tokens,
        }
    }
}

impl From<&PaidEntry> for Spent {
    fn from(paid: &PaidEntry) -> Spent {
        Spent {
            lm: paid.lm.clone(),
            answers: paid.answers,
            usage: Usage {
                prompt_tokens: paid.prompt_tokens,
                completion_tokens: paid.completion_tokens,
            },
        }
    }
}
