//! A line of `failures.jsonl`: why a task has no trace.

use crate::lm::Usage;
use crate::task::TaskId;
use serde::{Deserialize, Serialize};

/// A task that ended without a trace; serialises as a line of `failures.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example in the trainset.
    pub example: u32,
    /// Whose fault it was.
    pub kind: FailureKind,
    /// What happened, for a person.
    pub message: String,
    /// How often the LM (kind `lm`) or the task (otherwise) was tried.
    pub attempts: u32,
    /// The predictor at work, as DSPy names it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub predictor: Option<String>,
    /// The answer that would not parse.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub raw_answer: Option<String>,
    /// Tokens that were paid for all the same, by LM.
    #[serde(default)]
    pub usage: Vec<(String, Usage)>,
    /// The task.
    pub task: TaskId,
    /// As in a trace; `made_by` in the file.
    #[serde(rename = "made_by")]
    pub trace_fingerprint: String,
}

/// What kept a task from ending in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// The LM gave no answer.
    Lm,
    /// No adapter could read the answer.
    Parse,
    /// A value could not be written into a prompt.
    Format,
    /// The metric could not score the prediction.
    Metric,
    /// The task ended its worker too often.
    Lost,
    /// A bug in bsft: the task panicked.
    Bug,
}

impl FailureKind {
    /// The name in `failures.jsonl` and in the summary.
    pub fn name(self) -> &'static str {
        match self {
            FailureKind::Lm => "lm",
            FailureKind::Parse => "parse",
            FailureKind::Format => "format",
            FailureKind::Metric => "metric",
            FailureKind::Lost => "lost",
            FailureKind::Bug => "bug",
        }
    }
}
