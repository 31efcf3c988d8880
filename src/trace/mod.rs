//! Traces: every call of one run of a program, and the line that keeps it.
//!
//! A trace is written once, by the worker, as a line of `traces.jsonl`; everything later (training files, resume) works on byte ranges
//! of that line, found by [`LineIndex`].

mod answer_notes;
mod failure;
mod failure_index;
mod index;
mod line;
mod line_answers;
mod outcome;
mod recorded_answer;
mod spent;
#[cfg(test)]
mod tests;

pub use answer_notes::{AnswerNotes, TokenBound, UnsettledCall};
pub use bsft_dspy::program::{Call, Exchange, Prediction, UnparsedCall, UnusedExchange};
pub use failure::{Answered, Failure, FailureKind};
pub use failure_index::FailureIndex;
pub use index::{CallIndex, LineIndex, NotATrace};
pub use line_answers::LineAnswers;
pub use outcome::{NotAnOutcome, Outcome};
pub use recorded_answer::{RecordedAnswer, question};
pub use spent::Spent;

use crate::task::TaskId;
use crate::value::Value;

/// All calls of one run of a program on one example.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The task that made it.
    pub task: TaskId,
    /// Digest of what shaped it beside the LM's answers: see [`crate::spec::trace_fingerprint`].
    pub trace_fingerprint: String,
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example in the trainset.
    pub example: u32,
    /// In the order in which they were made.
    pub calls: Vec<Call>,
    /// All outputs that were merged.
    pub prediction: Prediction,
    /// What the metric gave; `True` without one, as in DSPy.
    pub score: Value,
    /// Whether the rows are trained on.
    pub kept: bool,
}
