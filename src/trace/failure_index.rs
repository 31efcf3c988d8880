//! What counting and resuming need of a line of `failures.jsonl`, from this version or an earlier one.

use super::{FailureKind, Spent};
use crate::lm::Usage;
use crate::task::TaskId;
use serde::Deserialize;

/// A line's facts.
#[derive(Clone, Debug, PartialEq)]
pub struct FailureIndex {
    /// The task that failed.
    pub task: TaskId,
    /// As in a trace.
    pub trace_fingerprint: String,
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example.
    pub example: u32,
    /// Whose fault it was.
    pub kind: FailureKind,
    /// What happened, for a person.
    pub message: String,
    /// What its answers cost, by LM.
    pub spent: Vec<Spent>,
}

#[derive(Deserialize)]
struct FailureLine {
    teacher: u32,
    example: u32,
    kind: FailureKind,
    message: String,
    #[serde(default)]
    usage: Vec<(String, Usage)>,
    /// Missing in lines of version 0.1.0.
    #[serde(default)]
    calls: Vec<FailureLineCall>,
    #[serde(default)]
    lm: Option<String>,
    #[serde(default)]
    unparsed: Vec<Answer>,
    #[serde(default)]
    records: Vec<AnswerRecord>,
    task: TaskId,
    #[serde(rename = "made_by")]
    trace_fingerprint: String,
}

#[derive(Deserialize)]
struct FailureLineCall {
    lm: String,
    #[serde(default)]
    unparsed: Vec<Answer>,
}

/// An answer that is only counted.
#[derive(Deserialize)]
struct Answer {}

#[derive(Deserialize)]
struct AnswerRecord {
    #[serde(default)]
    lm: String,
}

impl FailureIndex {
    /// Reads a line (with or without its line feed).
    pub fn parse(line: &str) -> Result<FailureIndex, serde_json::Error> {
        let line: FailureLine = serde_json::from_str(line)?;
        let spent = line.usage.iter().map(|(lm, usage)| Spent {
            lm: lm.clone(),
            answers: line.answers(lm),
            usage: *usage,
        });
        Ok(FailureIndex {
            spent: spent.collect(),
            task: line.task,
            trace_fingerprint: line.trace_fingerprint,
            teacher: line.teacher,
            example: line.example,
            kind: line.kind,
            message: line.message,
        })
    }
}

impl FailureLine {
    /// How many answers of the LM it has. An earlier version listed no calls, but an LM that gave none has no usage.
    fn answers(&self, lm: &str) -> u64 {
        let calls = self.calls.iter().filter(|call| call.lm == lm);
        let calls: usize = calls.map(|call| 1 + call.unparsed.len()).sum();
        let unparsed = match &self.lm {
            Some(name) if name == lm => self.unparsed.len(),
            _ => 0,
        };
        let records = self.records.iter().filter(|record| record.lm == lm).count();
        (calls + unparsed + records).max(1) as u64
    }
}
