//! Traces: every call of one run of a program, and the line that keeps it.
//!
//! A trace is written once, by the worker, as a line of `traces.jsonl`; everything later (training files, resume) works on byte ranges
//! of that line, found by [`LineIndex`].

mod failure;
mod index;
mod line;
mod outcome;
mod recorded;
#[cfg(test)]
mod tests;

pub use failure::{Failure, FailureKind};
pub use index::{CallIndex, LineIndex, NotATrace};
pub use outcome::{NotAnOutcome, Outcome};
pub use recorded::{RecordedAnswer, answers_of, question};

use crate::lm::Usage;
use crate::task::TaskId;
use crate::value::{Record, Value};

/// All calls of one run of a program on one example.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The task that made it.
    pub task: TaskId,
    /// Digest of what shaped it beside the LM's answers: see [`crate::job::made_by`].
    pub made_by: String,
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example in the trainset.
    pub example: u32,
    /// In the order in which they were made.
    pub calls: Vec<Call>,
    /// All outputs that were merged.
    pub prediction: Record,
    /// What the metric gave; `True` without one, as in DSPy.
    pub score: Value,
    /// Whether the rows are trained on.
    pub kept: bool,
}

/// One predictor invocation.
#[derive(Clone, Debug)]
pub struct Call {
    /// As DSPy's `named_predictors()` names it.
    pub predictor: String,
    /// The LM's name in the job file.
    pub lm: String,
    /// What the predictor was called with.
    pub inputs: Record,
    /// What it returned.
    pub outputs: Record,
    /// The exchange whose answer was used.
    pub used: Exchange,
    /// Exchanges before it whose answers did not parse.
    pub unparsed: Vec<Exchange>,
    /// The training row's messages before the assistant turn, as a JSON array; none: they are `used.messages`.
    pub prompt: Option<String>,
    /// The training row's assistant turn.
    pub assistant: String,
}

/// One request to an LM and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The messages sent, as a compact JSON array.
    pub messages: String,
    /// The answer's text.
    pub raw_answer: String,
    /// What it cost.
    pub usage: Usage,
}
