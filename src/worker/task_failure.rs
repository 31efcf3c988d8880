//! The failure of a bootstrap task, before it becomes a line of `failures.jsonl`.

use super::recorded_answers::Ending;
use crate::lm::LmError;
use crate::program::{PendingCall, ProgramFailure, ProgramFailureKind};
use crate::trace::{Answered, FailureKind};

/// The task's part of a failure; the job and the message add the rest.
#[derive(Debug)]
pub(super) struct TaskFailure {
    pub(super) kind: FailureKind,
    pub(super) message: String,
    /// LM tries, or attempts for a task that ended its workers.
    pub(super) attempts: u32,
    /// The predictor that was running.
    pub(super) predictor: Option<String>,
    /// The last answer that was not used.
    pub(super) raw_answer: Option<String>,
    /// The HTTP status of a refused request.
    pub(super) status: Option<u16>,
    /// What was answered before. `None` if only the store knows.
    pub(super) answered: Option<Answered>,
}

impl TaskFailure {
    /// The LM gave no answer to a call.
    pub(super) fn unanswered(call: PendingCall<'_>, error: &LmError) -> TaskFailure {
        let status = match error {
            LmError::Refused { status, .. } => Some(*status),
            _ => None,
        };
        TaskFailure {
            status,
            ..call.fail(error.to_string(), error.attempts()).into()
        }
    }
}

impl From<ProgramFailure> for TaskFailure {
    fn from(failure: ProgramFailure) -> TaskFailure {
        TaskFailure {
            kind: match failure.kind {
                ProgramFailureKind::Lm => FailureKind::Lm,
                ProgramFailureKind::Parse => FailureKind::Parse,
                ProgramFailureKind::Cut => FailureKind::Cut,
                ProgramFailureKind::Format => FailureKind::Format,
            },
            message: failure.message,
            attempts: failure.attempts,
            predictor: Some(failure.predictor),
            raw_answer: failure.raw_answer,
            status: None,
            answered: Some(Answered::Calls {
                calls: failure.calls,
                unparsed: failure.unparsed,
            }),
        }
    }
}

impl<I> From<ProgramFailure> for Ending<TaskFailure, I> {
    fn from(failure: ProgramFailure) -> Self {
        Ending::Failed(failure.into())
    }
}
