//! The failure of a bootstrap task, before it becomes a line of `failures.jsonl`.

use super::recorded_answers::Ending;
use crate::lm::Usage;
use crate::program::{ProgramFailure, ProgramFailureKind};
use crate::trace::FailureKind;

/// The task's part of a failure; the job and the message add the rest.
#[derive(Debug)]
pub(super) struct TaskFailure {
    pub(super) kind: FailureKind,
    pub(super) message: String,
    /// LM tries, or attempts for a task that ended its workers.
    pub(super) attempts: u32,
    /// The predictor that was running.
    pub(super) predictor: Option<String>,
    /// The answer that did not parse.
    pub(super) raw_answer: Option<String>,
    /// Tokens paid for, by LM.
    pub(super) usage: Vec<(String, Usage)>,
}

impl From<ProgramFailure> for TaskFailure {
    fn from(failure: ProgramFailure) -> TaskFailure {
        TaskFailure {
            kind: match failure.kind {
                ProgramFailureKind::Lm => FailureKind::Lm,
                ProgramFailureKind::Parse => FailureKind::Parse,
                ProgramFailureKind::Format => FailureKind::Format,
            },
            message: failure.message,
            attempts: failure.attempts,
            predictor: Some(failure.predictor),
            raw_answer: failure.raw_answer,
            usage: failure.usage,
        }
    }
}

impl<I> From<ProgramFailure> for Ending<TaskFailure, I> {
    fn from(failure: ProgramFailure) -> Self {
        Ending::Failed(failure.into())
    }
}
