//! Executes a bootstrap task: claim it, run the teacher on the example, store the outcome, then ack.

use super::built_jobs::{BuiltJob, JobError};
use super::lease::{LEASE, under_lease};
use super::recorded_answers::{EarlierAttempts, Ending, Interruption, RecordedAnswers};
use super::task_failure::TaskFailure;
use super::{HELD, RETURN_AFTER, WorkerContext, resolve};
use crate::broker::{Delivery, Disposition, Queue};
use crate::count_guard::CountGuard;
use crate::lm::LmResponse;
use crate::memory::{LONG, MemoryShare, PER_ANSWER_BYTE, PER_ROW_BYTE, PER_STRUCTURED_BYTE};
use crate::message::{BootstrapTask, Refusal};
use crate::metrics::TaskEnd;
use crate::program::{PendingCall, ProgramFailure, ProgramResult, Step};
use crate::python::json;
use crate::signature::Type;
use crate::spec::{CutAnswers, trace_fingerprint};
use crate::store::{Claim, LONG_VALUE, Store, StoreError};
use crate::task::{AttemptRef, RunId, TaskId};
use crate::telemetry::spans;
use crate::trace::{AnswerNotes, Answered, Call, Failure, FailureKind, Outcome, Trace};
use crate::value::{Record, Value};
use futures_util::FutureExt as _;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::{Instrument as _, Span, debug, trace};

/// After this many attempts that ended with their worker, the task fails.
const MAX_LOST_ATTEMPTS: u32 = 10;

/// Executes one delivery of the bootstrap queue.
pub(super) async fn execute(context: Arc<WorkerContext>, delivery: Delivery) {
    let queue = context.metrics.worker().bootstrap.task();
    let memory = MemoryShare::new(&context.memory);
    let message = match BootstrapTask::decode(&delivery.body) {
        Ok(message) => message,
        Err(why @ Refusal::OtherVersion { .. }) => return context.log.postpone(delivery, &why).await,
        Err(why @ (Refusal::Foreign(_) | Refusal::NotText)) => {
            context.log.refused(&Queue::Bootstrap, &why);
            queue.ended(TaskEnd::Refused);
            return resolve(delivery, Disposition::Reject).await;
        }
    };
    if context.heartbeats.is_void(&message.run).await {
        return resolve(delivery, Disposition::Ack).await;
    }
    let job = match context.jobs.get(&message.run, &message.job).await {
        Ok(job) => job,
        Err(JobError::Changed(_)) => return resolve(delivery, Disposition::Ack).await,
        Err(JobError::Store(why)) if !matches!(why, StoreError::ForeignData { .. }) => {
            queue.ended(TaskEnd::Interrupted);
            return context.fail(Some(delivery), why);
        }
        Err(why @ JobError::Connect { .. }) => return context.log.hand_back(delivery, &why).await,
        Err(why) => return context.log.postpone(delivery, &why).await,
    };
    if message.answered {
        job.accepted_before(message.teacher);
    }
    match attempt(&context, &job, message, &memory).await {
        Ok(AttemptEnd::Done) => resolve(delivery, Disposition::Ack).await,
        Ok(AttemptEnd::Stored(end)) => {
            queue.ended(end);
            resolve(delivery, Disposition::Ack).await
        }
        Ok(AttemptEnd::Held) => resolve(delivery, Disposition::Requeue { after: HELD }).await,
        // Dropped without an ack: the broker redelivers it to another worker.
        Ok(AttemptEnd::Interrupted) => {
            queue.ended(TaskEnd::Interrupted);
            drop(delivery)
        }
        Ok(AttemptEnd::HandedBack) => {
            queue.ended(TaskEnd::Interrupted);
            resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await
        }
        // Another attempt has the task, or the store lost this one: the next claim finds out.
        Err(StoreError::Fenced(_)) => {
            queue.ended(TaskEnd::Fenced);
            resolve(delivery, Disposition::Requeue { after: RETURN_AFTER }).await
        }
        Err(why) => {
            queue.ended(TaskEnd::Interrupted);
            context.store_failed(Some(delivery), why).await
        }
    }
}

/// How an attempt ended.
enum AttemptEnd {
    /// An earlier attempt stored the outcome.
    Done,
    /// This attempt stored the outcome.
    Stored(TaskEnd),
    /// Another worker holds the task.
    Held,
    /// The account of an LM is refused, or the worker drains while the task waits for an LM.
    HandedBack,
    /// The worker stops.
    Interrupted,
}

async fn attempt(
    context: &WorkerContext,
    job: &BuiltJob,
    message: BootstrapTask,
    memory: &MemoryShare,
) -> Result<AttemptEnd, StoreError> {
    let store = context.store.as_ref();
    let run = &message.run;
    let (attempt, earlier) = match store.claim(run, message.task, LEASE).await? {
        Claim::Done => return Ok(AttemptEnd::Done),
        Claim::Held => return Ok(AttemptEnd::Held),
        Claim::Run {
            attempt,
            failures: lost,
            records,
            long_records,
        } => (
            attempt,
            EarlierAttempts {
                lost,
                records,
                long_records,
            },
        ),
    };
    let reference = AttemptRef {
        task: message.task,
        attempt,
    };
    trace!(task = %message.task, attempt = %attempt, "task claimed");
    let mut _place = None;
    // A task of an unknown teacher fails without a call.
    if let Some(places) = job.places.get(message.teacher as usize) {
        _place = place(context, places, run, reference).await?;
        if _place.is_none() {
            store.release(run, reference).await?;
            return Ok(AttemptEnd::HandedBack);
        }
    }
    let span = spans::bootstrap_task(run, reference, message.teacher, message.example);
    let ended = run_attempt(context, job, &message, reference, earlier, memory, &span)
        .instrument(span.clone())
        .await;
    match &ended {
        Ok(AttemptEnd::Done | AttemptEnd::Stored(_)) => {}
        Err(StoreError::Fenced(_)) => spans::ended(&span, "fenced"),
        Err(StoreError::ForeignData { .. }) => {
            spans::ended(&span, "interrupted");
            // An attempt that is not released counts as lost, and the task is sound. If this fails, too, it counts.
            let _ = store.release(run, reference).await;
        }
        Ok(AttemptEnd::Held | AttemptEnd::HandedBack | AttemptEnd::Interrupted) | Err(_) => {
            spans::ended(&span, "interrupted")
        }
    }
    ended
}

/// Waits for a place among the tasks that may call the teacher's LMs, so that the others have made no call when their worker ends.
/// `None` if the worker drains.
async fn place<'a>(
    context: &WorkerContext,
    places: &'a Semaphore,
    run: &RunId,
    attempt: AttemptRef,
) -> Result<Option<SemaphorePermit<'a>>, StoreError> {
    if let Ok(place) = places.try_acquire() {
        return Ok(Some(place));
    }
    Box::pin(wait_for_place(context, places, run, attempt)).await
}

async fn wait_for_place<'a>(
    context: &WorkerContext,
    places: &'a Semaphore,
    run: &RunId,
    attempt: AttemptRef,
) -> Result<Option<SemaphorePermit<'a>>, StoreError> {
    let store = context.store.as_ref();
    store.set_waiting(run, attempt, true).await?;
    let _counted = CountGuard::new(&context.tasks_without_place);
    let place = tokio::select! {
        biased;
        () = context.shutdown.draining() => return Ok(None),
        place = under_lease(store, run, attempt, places.acquire()) => place?,
    };
    store.set_waiting(run, attempt, false).await?;
    Ok(Some(place.expect("the places are never closed")))
}

/// Runs the claimed attempt and stores its outcome.
async fn run_attempt(
    context: &WorkerContext,
    job: &BuiltJob,
    message: &BootstrapTask,
    reference: AttemptRef,
    earlier: EarlierAttempts,
    memory: &MemoryShare,
    span: &Span,
) -> Result<AttemptEnd, StoreError> {
    let (store, run) = (context.store.as_ref(), &message.run);
    let recorded_bytes = earlier.bytes();
    let mut notes = AnswerNotes::default();
    let outcome: Result<Trace, TaskFailure> = if earlier.lost > MAX_LOST_ATTEMPTS {
        Err(lost(earlier.lost))
    } else {
        let mut answers = RecordedAnswers::new(context, job, run, reference, earlier, memory);
        let work = AssertUnwindSafe(teach(job, message, &mut answers, memory)).catch_unwind();
        let ended = tokio::select! {
            ended = under_lease(store, run, reference, work) => ended?,
            () = context.shutdown.aborting() => {
                store.release(run, reference).await?;
                return Ok(AttemptEnd::Interrupted);
            }
        };
        notes = answers.into_notes();
        match ended {
            Ok(Ok(trace)) => Ok(trace),
            Ok(Err(Ending::Failed(failure))) => Err(failure),
            Ok(Err(Ending::Interrupted(Interruption::Store(error)))) => return Err(error),
            Ok(Err(Ending::Interrupted(Interruption::HandedBack))) => {
                store.release(run, reference).await?;
                return Ok(AttemptEnd::HandedBack);
            }
            Err(_panic) => {
                context.log.panicked(run, message.task);
                Err(panicked())
            }
        }
    };
    let kind = outcome.as_ref().err().map(|failure| failure.kind);
    let held = memory.held();
    let (end, outcome) = match outcome {
        Ok(trace) => {
            let end = if trace.kept {
                TaskEnd::Kept
            } else {
                TaskEnd::Dropped
            };
            let line = || Outcome::Trace(trace.into_line());
            (end, memory.work_on(held, line).await)
        }
        Err(mut failure) => {
            let answered = match failure.answered.take() {
                Some(answered) => answered,
                None => {
                    if recorded_bytes >= LONG {
                        memory.take(recorded_bytes * PER_ANSWER_BYTE).await;
                    }
                    recorded(store, run, message.task).await?
                }
            };
            let line = || failed(job, message, failure, answered);
            (TaskEnd::Failed, memory.work_on(held, line).await)
        }
    };
    let outcome = encoded(outcome, &notes, message);
    if outcome.len() < LONG_VALUE {
        store.finish(run, reference, outcome).await?;
    } else {
        // It takes a while to be written.
        let finished = Box::pin(store.finish(run, reference, outcome));
        under_lease(store, run, reference, finished).await??;
    }
    trace!(task = %message.task, attempt = %reference.attempt, "outcome stored");
    debug!(task = %message.task, example = message.example, outcome = end.name(), "task ended");
    match kind {
        Some(kind) => {
            spans::task_failed(span, kind);
            context.metrics.worker().failed(kind.name());
        }
        None => spans::ended(span, end.name()),
    }
    Ok(AttemptEnd::Stored(end))
}

/// The outcome as the coordinator of the task reads it.
fn encoded(outcome: Outcome, notes: &AnswerNotes, message: &BootstrapTask) -> Vec<u8> {
    if message.notes {
        outcome.encode_with(notes)
    } else {
        outcome.encode()
    }
}

async fn teach(
    job: &BuiltJob,
    message: &BootstrapTask,
    answers: &mut RecordedAnswers<'_>,
    memory: &MemoryShare,
) -> Result<Trace, Ending<TaskFailure, Interruption>> {
    let Some(teacher) = job.teachers.get(message.teacher as usize) else {
        return Err(Ending::Failed(bug(format!(
            "the job has no teacher number {}",
            message.teacher
        ))));
    };
    let row = message.data.len();
    if row >= LONG {
        memory.take(row * PER_ROW_BYTE).await;
    }
    let example = example(message).map_err(|reason| Ending::Failed(bug(reason)))?;
    let mut step = teacher.start(&example, &job.spec.inputs)?;
    let result = loop {
        step = match step {
            Step::Done(result) => break result,
            Step::Ask(call) => match answers.answer(call.request()).await {
                Ok(answer) => match refused(job.spec.cut_answers, &answer) {
                    Some(reason) => return Err(call.refuse_cut(answer, reason).into()),
                    None if answer.text.len() >= LONG => Box::pin(read_long(call, answer, memory)).await?,
                    None => call.answer(answer)?,
                },
                Err(Ending::Failed(error)) => {
                    return Err(Ending::Failed(TaskFailure::unanswered(call, &error)));
                }
                Err(Ending::Interrupted(error)) => return Err(Ending::Interrupted(error)),
            },
        };
    };
    let ProgramResult { calls, prediction } = result;
    let (score, kept) = match &job.metric {
        None => (Value::Bool(true), true),
        Some(metric) => match metric.score(
            teacher.output_type(metric.field()),
            &example,
            prediction.get(&calls, metric.field()),
        ) {
            Ok(score) => {
                let kept = metric.keeps(&score);
                (score, kept)
            }
            Err(error) => return Err(Ending::Failed(unscored(error.to_string(), calls))),
        },
    };
    Ok(Trace {
        task: message.task,
        trace_fingerprint: trace_fingerprint(&job.job_fingerprint, message.labels),
        teacher: message.teacher,
        example: message.example,
        calls,
        prediction,
        score,
        kept,
    })
}

/// Reads an answer beside the runtime, once there is memory for its values.
async fn read_long<'p>(
    call: PendingCall<'p>,
    answer: LmResponse,
    memory: &MemoryShare,
) -> Result<Step<'p>, ProgramFailure> {
    let len = answer.text.len();
    let outputs = &call.request().signature.outputs;
    if outputs.iter().any(|output| output.ty != Type::Str) {
        memory.take(len * PER_STRUCTURED_BYTE).await;
    }
    memory.work_on(len, || call.answer(answer)).await
}

/// Why the job does not use the answer; `None` if it does.
fn refused(cut_answers: CutAnswers, answer: &LmResponse) -> Option<String> {
    match cut_answers {
        CutAnswers::Keep => None,
        CutAnswers::Drop => answer.cut_failure(),
    }
}

fn example(message: &BootstrapTask) -> Result<Record, String> {
    match json::parse(&message.data) {
        Ok(Value::Dict(items)) => Ok(items
            .into_iter()
            .filter_map(|(name, value)| match name {
                Value::Str(name) => Some((name, value)),
                _ => None, // JSON has string keys only
            })
            .collect()),
        Ok(_) => Err("the example is not an object".to_owned()),
        Err(error) => Err(format!("the example is not JSON: {error}")),
    }
}

/// What the store has of a task that did not end by itself.
async fn recorded(store: &dyn Store, run: &RunId, task: TaskId) -> Result<Answered, StoreError> {
    let mut records = store.records(run, task).await?;
    records.sort_unstable_by_key(|(slot, _)| *slot);
    let records = records.iter();
    Ok(Answered::Records(
        records
            .filter_map(|(_, bytes)| serde_json::from_slice(bytes).ok())
            .collect(),
    ))
}

fn failed(job: &BuiltJob, message: &BootstrapTask, failure: TaskFailure, answered: Answered) -> Outcome {
    let columns = example(message).unwrap_or_default();
    let is_input = |name: &String| job.spec.inputs.contains(name);
    let failure = Failure {
        teacher: message.teacher,
        example: message.example,
        kind: failure.kind,
        message: failure.message,
        attempts: failure.attempts,
        predictor: failure.predictor,
        raw_answer: failure.raw_answer,
        status: failure.status,
        inputs: columns.into_iter().filter(|(name, _)| is_input(name)).collect(),
        answered,
        task: message.task,
        trace_fingerprint: trace_fingerprint(&job.job_fingerprint, message.labels),
    };
    Outcome::Failure(failure.to_line())
}

fn unscored(message: String, calls: Vec<Call>) -> TaskFailure {
    TaskFailure {
        kind: FailureKind::Metric,
        message,
        attempts: 1,
        predictor: None,
        raw_answer: None,
        status: None,
        answered: Some(Answered::Calls {
            calls,
            unparsed: None,
        }),
    }
}

fn lost(failures: u32) -> TaskFailure {
    TaskFailure {
        kind: FailureKind::Lost,
        attempts: failures,
        ..bug(format!(
            "{failures} attempts ended with their worker; no further attempt is made"
        ))
    }
}

fn panicked() -> TaskFailure {
    bug("bug: the task panicked; the worker's log has the location".to_owned())
}

fn bug(message: String) -> TaskFailure {
    TaskFailure {
        kind: FailureKind::Bug,
        message,
        attempts: 1,
        predictor: None,
        raw_answer: None,
        status: None,
        answered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinator_of_version_0_1_0_gets_no_notes() {
        let head = r#"{"v":2,"run":"r","job":"d","task":"00000000000000000000000000000000","teacher":0,"example":0,"labels":0}"#;
        let message = BootstrapTask::decode(format!("{head}\n{{}}").as_bytes()).unwrap();
        let mut notes = AnswerNotes::default();
        notes.answered("teacher", 3);
        let outcome = || Outcome::Trace("{}".to_owned());
        assert_eq!(encoded(outcome(), &notes, &message), outcome().encode());
        let message = BootstrapTask {
            notes: true,
            ..message
        };
        assert_eq!(
            encoded(outcome(), &notes, &message),
            outcome().encode_with(&notes)
        );
    }
}
