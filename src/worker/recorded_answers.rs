//! Answers that are recorded before they are used, so that a restarted task does not repeat paid LM calls.

use super::built_jobs::BuiltJob;
use crate::account::GateError;
use crate::lm::{LmError, LmRequest, LmResponse, RequestContext};
use crate::program::CallRequest;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use crate::task::{AttemptRef, RunId};
use crate::telemetry::spans;
use crate::trace::{RecordedAnswer, question};
use std::collections::HashMap;
use tokio::sync::Semaphore;
use tracing::{Instrument as _, Span, trace};

/// Why a step ended without a result.
#[derive(Debug)]
pub(super) enum Ending<F, I> {
    /// It failed, and counts as a failure.
    Failed(F),
    /// It was interrupted, for example by a store that is down. It will be retried.
    Interrupted(I),
}

/// Why a task was interrupted.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The store failed.
    Store(StoreError),
    /// An LM's account is refused, or the worker stops: the task is for another time.
    HandedBack,
}

/// The answers of one attempt.
pub(super) struct RecordedAnswers<'a> {
    job: &'a BuiltJob,
    store: &'a dyn Store,
    calls: &'a Semaphore,
    shutdown: &'a Shutdown,
    run: &'a RunId,
    attempt: AttemptRef,
    /// Records of earlier attempts, by slot.
    known: HashMap<u32, Vec<u8>>,
    /// The slot of the next call: a task makes its calls in a fixed order.
    next: u32,
}

impl<'a> RecordedAnswers<'a> {
    pub(super) fn new(
        job: &'a BuiltJob,
        store: &'a dyn Store,
        calls: &'a Semaphore,
        shutdown: &'a Shutdown,
        run: &'a RunId,
        attempt: AttemptRef,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Self {
        let known = records.into_iter().collect();
        RecordedAnswers {
            job,
            store,
            calls,
            shutdown,
            run,
            attempt,
            known,
            next: 0,
        }
    }
}

impl RecordedAnswers<'_> {
    /// Returns the recorded answer to the request, or calls the LM and records its answer first.
    pub(super) async fn answer(
        &mut self,
        request: CallRequest<'_>,
    ) -> Result<LmResponse, Ending<LmError, Interruption>> {
        let slot = self.next;
        self.next += 1;
        let CallRequest { predictor, lm, .. } = request;
        let model = || self.job.spec.lms.get(lm).map(|lm| lm.model.as_str());
        let call = spans::call(self.run, self.attempt, predictor, lm, model, slot);
        self.answer_to(slot, request, &call)
            .instrument(call.clone())
            .await
    }

    async fn answer_to(
        &mut self,
        slot: u32,
        request: CallRequest<'_>,
        call: &Span,
    ) -> Result<LmResponse, Ending<LmError, Interruption>> {
        let lm = self
            .job
            .lms
            .get(request.lm)
            .expect("a program is built only with LMs that the job defines");
        let question = question(request.lm, request.messages);
        if let Some(bytes) = self.known.remove(&slot)
            && let Ok(recorded) = serde_json::from_slice::<RecordedAnswer>(&bytes)
            && recorded.question == question
        {
            lm.metrics.cache_hit();
            spans::answered(call, "recorded", recorded.answer.usage);
            return Ok(recorded.answer);
        }
        let lm_request = LmRequest {
            body: request.body,
            context: RequestContext {
                signature: request.signature,
                adapter: request.adapter,
                example: request.example,
            },
        };
        let answer = lm.lm.complete(lm_request, self.calls, self.shutdown).await;
        let answer = answer.map_err(|error| match error {
            GateError::Failed(error) => {
                spans::unanswered(call, &error);
                Ending::Failed(error)
            }
            GateError::HandedBack => Ending::Interrupted(Interruption::HandedBack),
        })?;
        spans::answered(call, "ok", answer.usage);
        let recorded = RecordedAnswer {
            question,
            lm: request.lm.to_owned(),
            answer,
        };
        self.store
            .record(self.run, self.attempt, slot, recorded.encode())
            .await
            .map_err(|error| Ending::Interrupted(Interruption::Store(error)))?;
        trace!(task = %self.attempt.task, slot, question = recorded.question, "answer recorded");
        Ok(recorded.answer)
    }
}
