//! `spend.jsonl`: what was paid, whatever became of it. Lines are only ever appended.
//!
//! An outcome's line has the answers that were new in it: a task that runs again uses the answers of its earlier outcome, which have a
//! line already. An unsettled call has a line of its own. Lines are written after the outcomes are on the disk, so the log never has more
//! than was paid. Outcomes that a killed process did not enter are entered by the next one.

use super::LineOrigin;
use super::jsonl_file::{FLUSH_BYTES, JsonlFile, OutcomeLogError, for_each_line};
use crate::calls_in_flight::SentCall;
use crate::lm::Usage;
use crate::report::OutcomeCounts;
use crate::task::TaskId;
use crate::trace::{AnswerNotes, Spent, UnsettledCall};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SpendEntry<'a> {
    /// The new answers of an outcome.
    #[serde(borrow)]
    Outcome(OutcomeEntry<'a>),
    /// A call that may have been answered and paid.
    Unsettled(UnsettledEntry),
    /// The number of failures that `retry` took back: later outcomes of their tasks are new ones.
    Retry { failures: usize },
}

#[derive(Serialize, Deserialize)]
struct OutcomeEntry<'a> {
    task: TaskId,
    #[serde(borrow)]
    made_by: Cow<'a, str>,
    /// Whether the outcome is a failure.
    #[serde(default)]
    failed: bool,
    #[serde(borrow)]
    paid: Vec<PaidEntry<'a>>,
}

/// Answers of one LM.
#[derive(Serialize, Deserialize)]
struct PaidEntry<'a> {
    #[serde(borrow)]
    lm: Cow<'a, str>,
    answers: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
    /// Answers whose tokens the server did not report, or not all of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    unknown_usage: u64,
    /// How long each answer took, as far as that is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    latency_ms: Vec<u32>,
    /// Answers by endpoint, if the LM has several, as far as that is known.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    endpoints: IndexMap<String, u64>,
}

#[derive(Serialize, Deserialize)]
struct UnsettledEntry {
    task: TaskId,
    #[serde(flatten)]
    call: UnsettledCall,
    /// When it was sent; missing if that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sent_ms: Option<u64>,
}

/// The file, open for appending.
pub(super) struct SpendLog {
    file: JsonlFile,
    /// Marked calls that are entered.
    sent: HashSet<(TaskId, u32, u64)>,
}

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
        let mut sent = HashSet::new();
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
                    for paid in &outcome.paid {
                        counts.spend(&paid.into());
                        counts.serve(&paid.lm, &paid.endpoints);
                    }
                }
                Ok(SpendEntry::Unsettled(UnsettledEntry { task, call, sent_ms })) => {
                    counts.unsettle(&call);
                    sent.extend(sent_ms.map(|sent_ms| (task, call.call, sent_ms)));
                }
                Ok(SpendEntry::Retry { .. }) => entered.failures.clear(),
                // Written by a later version.
                Err(_) => {}
            }
        })?;
        file.truncate(end)?;
        Ok((SpendLog { file, sent }, entered))
    }

    /// Enters the new answers of an outcome, and the calls of its task that are unsettled.
    pub(super) fn enter(
        &mut self,
        outcome: LineOrigin<'_>,
        is_failure: bool,
        paid: &[Spent],
        notes: &AnswerNotes,
    ) {
        let mut paid: Vec<PaidEntry<'_>> = paid.iter().map(PaidEntry::from).collect();
        for (lm, latency_ms) in &notes.latency_ms {
            entry_of(&mut paid, lm).latency_ms.clone_from(latency_ms);
        }
        for (lm, endpoints) in &notes.endpoints {
            entry_of(&mut paid, lm).endpoints.clone_from(endpoints);
        }
        let entry = SpendEntry::Outcome(OutcomeEntry {
            task: outcome.task,
            made_by: outcome.trace_fingerprint.into(),
            failed: is_failure,
            paid,
        });
        self.push(&entry);
        for call in &notes.unsettled {
            self.push(&SpendEntry::Unsettled(UnsettledEntry {
                task: outcome.task,
                call: call.clone(),
                sent_ms: None,
            }));
        }
    }

    /// Enters a call that was in flight when its process was killed, and counts it, unless it is entered already.
    pub(super) fn enter_sent(&mut self, sent: &SentCall, counts: &mut OutcomeCounts) {
        if !self.sent.insert((sent.task, sent.call, sent.sent_ms)) {
            return;
        }
        let call = UnsettledCall {
            call: sent.call,
            lm: sent.lm.clone(),
            bound: sent.bound,
        };
        counts.unsettle(&call);
        self.push(&SpendEntry::Unsettled(UnsettledEntry {
            task: sent.task,
            call,
            sent_ms: Some(sent.sent_ms),
        }));
    }

    /// Notes that these failures are taken back.
    pub(super) fn retry(&mut self, failures: usize) {
        self.push(&SpendEntry::Retry { failures });
    }

    fn push(&mut self, entry: &SpendEntry<'_>) {
        self.file.push_json(entry);
    }

    /// Writes the entered lines if there are many.
    pub(super) fn flush_when_large(&mut self) -> Result<(), OutcomeLogError> {
        if self.file.buffered() > FLUSH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the entered lines.
    pub(super) fn flush(&mut self) -> Result<(), OutcomeLogError> {
        self.file.flush()
    }

    /// Waits until the written lines are on the disk.
    pub(super) async fn sync(&self) -> Result<(), OutcomeLogError> {
        self.file.sync().await
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Identifies an outcome within this process.
fn key(task: TaskId, made_by: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (task, made_by).hash(&mut hasher);
    hasher.finish()
}

/// The entry of an LM, which is made if it is missing.
fn entry_of<'a, 'b>(paid: &'b mut Vec<PaidEntry<'a>>, lm: &'a str) -> &'b mut PaidEntry<'a> {
    let number = paid.iter().position(|entry| entry.lm == lm);
    let number = number.unwrap_or_else(|| {
        paid.push(PaidEntry::new(lm));
        paid.len() - 1
    });
    &mut paid[number]
}

impl PaidEntry<'_> {
    fn new(lm: &str) -> PaidEntry<'_> {
        PaidEntry {
            lm: lm.into(),
            answers: 0,
            prompt_tokens: 0,
            completion_tokens: 0,
            unknown_usage: 0,
            latency_ms: Vec::new(),
            endpoints: IndexMap::new(),
        }
    }
}

impl<'a> From<&'a Spent> for PaidEntry<'a> {
    fn from(spent: &'a Spent) -> PaidEntry<'a> {
        PaidEntry {
            lm: spent.lm.as_str().into(),
            answers: spent.answers,
            prompt_tokens: spent.usage.prompt_tokens,
            completion_tokens: spent.usage.completion_tokens,
            unknown_usage: spent.usage.unknown,
            ..PaidEntry::new(&spent.lm)
        }
    }
}

impl From<&PaidEntry<'_>> for Spent {
    fn from(paid: &PaidEntry<'_>) -> Spent {
        Spent {
            lm: paid.lm.clone().into_owned(),
            answers: paid.answers,
            usage: Usage {
                prompt_tokens: paid.prompt_tokens,
                completion_tokens: paid.completion_tokens,
                unknown: paid.unknown_usage,
            },
        }
    }
}
