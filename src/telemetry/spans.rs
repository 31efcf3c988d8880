//! The spans of a run: one per job, task and call, with the same ids in every process.
//!
//! They exist with a collector of traces or with `BSFT_LOG=debug`; otherwise they cost nothing. No span contains a
//! prompt, an answer, the message of an error or a key.

use super::ids;
use crate::finetune::{FinetuneJob, TrainingState};
use crate::lm::{LmError, Usage};
use crate::task::{AttemptRef, RunId, TaskId};
use crate::trace::FailureKind;
use tracing::field::{Empty, Value, display};
use tracing::{Span, debug_span, info_span};

/// A coordinator's work on a run, from the first phase to the last. Its trace is the run's.
pub(crate) fn job(run: &RunId, name: &str) -> Span {
    let span = info_span!(parent: None, "job", %run, name, outcome = Empty, otel.status_code = Empty);
    let id = TaskId::derive(&[b"job", run.0.as_bytes()]);
    begun(span, id)
}

/// A fine-tune job as the coordinator sees it, from its request to its outcome.
pub(crate) fn training(run: &RunId, task: TaskId, shard: &FinetuneJob) -> Span {
    let provider = shard.recipe.provider.name();
    debug_span!("training", %run, %task, %shard, provider, training = Empty, outcome = Empty, otel.status_code = Empty)
}

/// An attempt at an example. Its trace has the task's id.
pub(crate) fn bootstrap_task(run: &RunId, attempt: AttemptRef, teacher: u32, example: u32) -> Span {
    let (task, attempt) = (attempt.task, attempt.attempt.0);
    let span = debug_span!(
        parent: None, "task", %run, %task, attempt, lane = "bootstrap", teacher, example,
        outcome = Empty, kind = Empty, otel.status_code = Empty
    );
    begun(span, task)
}

/// An attempt at a training on this machine, likewise.
pub(crate) fn finetune_task(run: &RunId, attempt: AttemptRef, shard: &FinetuneJob) -> Span {
    let (task, attempt) = (attempt.task, attempt.attempt.0);
    let span = debug_span!(
        parent: None, "task", %run, %task, attempt, lane = "finetune", %shard,
        outcome = Empty, otel.status_code = Empty
    );
    begun(span, task)
}

/// A question to an LM, within the task that asks it.
pub(crate) fn call<'a>(
    run: &RunId,
    attempt: AttemptRef,
    predictor: &str,
    lm: &str,
    model: impl Fn() -> Option<&'a str>,
    slot: u32,
) -> Span {
    let (task, attempt) = (attempt.task, attempt.attempt.0);
    debug_span!(
        "call", otel.kind = "client", %run, %task, attempt, predictor, lm, model = model(), slot,
        prompt_tokens = Empty, completion_tokens = Empty, status = Empty, otel.status_code = Empty
    )
}

/// Records the token counts of an answered call. `status` names where the answer came from.
pub(crate) fn answered(call: &Span, status: &'static str, usage: Usage) {
    note(call, "prompt_tokens", usage.prompt_tokens);
    note(call, "completion_tokens", usage.completion_tokens);
    note(call, "status", status);
}

/// Records why a call failed. The LM's error message is kept in the task's failure, not in the span.
pub(crate) fn unanswered(call: &Span, error: &LmError) {
    match error {
        LmError::Refused { status, .. } => note(call, "status", display(status)),
        LmError::Unavailable { .. } => note(call, "status", "unavailable"),
        LmError::Garbled { .. } => note(call, "status", "garbled"),
    }
    failed(call);
}

/// How a job, a training or a task ended.
pub(crate) fn ended(span: &Span, outcome: &'static str) {
    note(span, "outcome", outcome);
}

/// How an example ended that has no trace.
pub(crate) fn task_failed(task: &Span, kind: FailureKind) {
    ended(task, "failed");
    note(task, "kind", kind.name());
    failed(task);
}

/// How a training ended.
pub(crate) fn training_ended(span: &Span, training: &TrainingState) {
    match training {
        TrainingState::Succeeded(_) => ended(span, "trained"),
        TrainingState::Cancelled => ended(span, "cancelled"),
        _ => {
            ended(span, "failed");
            failed(span);
        }
    }
}

/// Marks a span as failed, for searches in the trace backend.
pub(crate) fn failed(span: &Span) {
    note(span, "otel.status_code", "ERROR");
}

/// Records a field, unless the span is disabled.
fn note(span: &Span, field: &'static str, value: impl Value) {
    if !span.is_disabled() {
        span.record(field, value);
    }
}

/// Starts a trace with this span, under the id of the task.
fn begun(span: Span, id: TaskId) -> Span {
    if !span.is_disabled() {
        ids::begin(&span, id);
    }
    span
}
