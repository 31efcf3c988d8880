//! A line of either outcome file, as far as the log needs it.

use super::LineOrigin;
use crate::trace::{FailureIndex, FailureKind, LineIndex, Spent};

/// A readable line.
pub(super) enum OutcomeLine {
    /// Of `traces.jsonl`.
    Trace(LineIndex),
    /// Of `failures.jsonl`.
    Failure(FailureIndex),
}

impl OutcomeLine {
    /// Reads a line of `stale.jsonl`, which holds both. `None` if it is neither.
    pub(super) fn parse(line: &str) -> Option<OutcomeLine> {
        let trace = LineIndex::parse(line).map(OutcomeLine::Trace);
        trace
            .or_else(|_| FailureIndex::parse(line).map(OutcomeLine::Failure))
            .ok()
    }

    /// The task that made it.
    pub(super) fn origin(&self) -> LineOrigin<'_> {
        match self {
            OutcomeLine::Trace(index) => index.into(),
            OutcomeLine::Failure(index) => index.into(),
        }
    }

    /// What its answers cost, by LM.
    pub(super) fn spent(&self) -> Vec<Spent> {
        match self {
            OutcomeLine::Trace(index) => index.spent(),
            OutcomeLine::Failure(index) => index.spent.clone(),
        }
    }

    /// Whether it has an answer to every call of its task.
    pub(super) fn is_complete(&self) -> bool {
        match self {
            OutcomeLine::Trace(_) => true,
            OutcomeLine::Failure(index) => index.kind == FailureKind::Metric,
        }
    }

    pub(super) fn is_failure(&self) -> bool {
        matches!(self, OutcomeLine::Failure(_))
    }
}
