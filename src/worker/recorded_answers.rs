//! Answers that are recorded before they are used, so that a restarted task does not repeat paid LM calls.

use super::built_jobs::BuiltJob;
use super::context::WorkerContext;
use crate::account::{GateError, GatedAnswer};
use crate::lm::{LmError, LmRequest, LmResponse, RequestContext};
use crate::memory::{MemoryShare, PER_ANSWER_BYTE};
use crate::program::CallRequest;
use crate::store::StoreError;
use crate::task::{AttemptRef, RunId};
use crate::telemetry::spans;
use crate::trace::{AnswerNotes, RecordedAnswer, TokenBound, UnsettledCall, question};
use std::collections::HashMap;
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
    context: &'a WorkerContext,
    job: &'a BuiltJob,
    run: &'a RunId,
    attempt: AttemptRef,
    /// Records of earlier attempts, by slot.
    known: HashMap<u32, Vec<u8>>,
    /// The lengths of those that only the store has, because they are long.
    known_long: HashMap<u32, usize>,
    /// Earlier attempts that ended with their worker, as long as it is open what they had asked.
    lost: u32,
    /// The slot of the next call: a task makes its calls in a fixed order.
    next: u32,
    notes: AnswerNotes,
    memory: &'a MemoryShare,
}

/// What earlier attempts of a task left.
pub(super) struct EarlierAttempts {
    /// How many ended with their worker.
    pub(super) lost: u32,
    /// Their records, by slot.
    pub(super) records: Vec<(u32, Vec<u8>)>,
    /// The lengths of their long records, by slot.
    pub(super) long_records: Vec<(u32, usize)>,
}

impl EarlierAttempts {
    /// The bytes of their records.
    pub(super) fn bytes(&self) -> usize {
        let records = self.records.iter().map(|(_, bytes)| bytes.len());
        let long = self.long_records.iter().map(|(_, len)| *len);
        records.chain(long).sum()
    }
}

impl<'a> RecordedAnswers<'a> {
    pub(super) fn new(
        context: &'a WorkerContext,
        job: &'a BuiltJob,
        run: &'a RunId,
        attempt: AttemptRef,
        earlier: EarlierAttempts,
        memory: &'a MemoryShare,
    ) -> Self {
        // Where calls are marked, the marks show what was asked.
        let lost = if context.calls_in_flight.is_some() {
            0
        } else {
            earlier.lost
        };
        RecordedAnswers {
            context,
            job,
            run,
            attempt,
            known: earlier.records.into_iter().collect(),
            known_long: earlier.long_records.into_iter().collect(),
            lost,
            next: 0,
            notes: AnswerNotes::default(),
            memory,
        }
    }

    /// What the spend log gets to know beside the outcome.
    pub(super) fn into_notes(self) -> AnswerNotes {
        self.notes
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
        if let Some(recorded) = self.recorded(slot).await?
            && recorded.question == question
        {
            lm.metrics.cache_hit();
            self.note(&recorded);
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
            memory: self.memory,
        };
        // Each attempt that ended with its worker may have asked the first question that has no record.
        let mut lost_answers = std::mem::take(&mut self.lost);
        let (calls, shutdown) = (&self.context.calls, &self.context.shutdown);
        let mut mark = (self.context.calls_in_flight.as_ref())
            .filter(|_| !lm.lm.is_simulated())
            .map(|marks| marks.call(self.attempt.task, slot, request.lm));
        let answer = lm
            .lm
            .complete(lm_request, calls, shutdown, mark.as_mut(), &mut lost_answers)
            .await;
        if lost_answers > 0 && !lm.lm.is_simulated() {
            self.unsettle(slot, &request, lost_answers);
        }
        let answer = answer.map_err(|error| match error {
            GateError::Failed(error) => {
                spans::unanswered(call, &error);
                Ending::Failed(error)
            }
            GateError::HandedBack => Ending::Interrupted(Interruption::HandedBack),
        })?;
        let GatedAnswer {
            answer,
            latency,
            endpoint,
        } = answer;
        spans::answered(call, "ok", answer.usage);
        let recorded = RecordedAnswer {
            question,
            lm: request.lm.to_owned(),
            answer,
            latency_ms: latency.map(|latency| u32::try_from(latency.as_millis()).unwrap_or(u32::MAX)),
            endpoint: endpoint.map(|label| label.to_string()),
        };
        let text = recorded.answer.text.len();
        let bytes = self.memory.work_on(text, || recorded.encode()).await;
        self.context
            .store
            .record(self.run, self.attempt, slot, bytes)
            .await
            .map_err(|error| Ending::Interrupted(Interruption::Store(error)))?;
        if let Some(mark) = &mut mark {
            mark.ended();
        }
        self.note(&recorded);
        trace!(task = %self.attempt.task, slot, question = recorded.question, "answer recorded");
        Ok(recorded.answer)
    }

    /// What an earlier attempt recorded in the slot.
    async fn recorded(&mut self, slot: u32) -> Result<Option<RecordedAnswer>, Ending<LmError, Interruption>> {
        let parse = |bytes: &[u8]| serde_json::from_slice::<RecordedAnswer>(bytes).ok();
        if let Some(bytes) = self.known.remove(&slot) {
            return Ok(parse(&bytes));
        }
        let Some(len) = self.known_long.remove(&slot) else {
            return Ok(None);
        };
        self.memory.take(len * PER_ANSWER_BYTE).await;
        let read = self.context.store.record_of(self.run, self.attempt.task, slot);
        let bytes = Box::pin(read).await;
        match bytes.map_err(|error| Ending::Interrupted(Interruption::Store(error)))? {
            Some(bytes) => Ok(self.memory.work_on(len, || parse(&bytes)).await),
            None => Ok(None),
        }
    }

    fn note(&mut self, answer: &RecordedAnswer) {
        if let Some(latency_ms) = answer.latency_ms {
            self.notes.answered(&answer.lm, latency_ms);
        }
        if let Some(endpoint) = &answer.endpoint {
            self.notes.served(&answer.lm, endpoint);
        }
    }

    /// Notes answers to a call that may have been paid although none arrived.
    fn unsettle(&mut self, slot: u32, request: &CallRequest<'_>, lost_answers: u32) {
        let call = UnsettledCall {
            call: slot,
            lm: request.lm.to_owned(),
            bound: TokenBound::from_body(request.body),
        };
        self.notes
            .unsettled
            .extend(std::iter::repeat_n(call, lost_answers as usize));
    }
}
