//! Answers that are recorded before they are used, so that a task that starts again does not pay again.

use super::jobs::Job;
use crate::lm::{Answer, Ask, LmError};
use crate::program::{Answers, Ending};
use crate::store::{Store, StoreError};
use crate::task::{AttemptRef, RunId};
use crate::trace::{RecordedAnswer, question};
use std::collections::HashMap;
use tokio::sync::Semaphore;
use tracing::trace;

/// One attempt's answers.
pub(super) struct RecordedAnswers<'a> {
    job: &'a Job,
    store: &'a dyn Store,
    calls: &'a Semaphore,
    run: &'a RunId,
    attempt: AttemptRef,
    /// From earlier attempts, by slot.
    known: HashMap<u32, Vec<u8>>,
    /// The slot of the next question: a task asks in a fixed order.
    next: u32,
}

impl<'a> RecordedAnswers<'a> {
    pub(super) fn new(
        job: &'a Job,
        store: &'a dyn Store,
        calls: &'a Semaphore,
        run: &'a RunId,
        attempt: AttemptRef,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Self {
        let known = records.into_iter().collect();
        RecordedAnswers {
            job,
            store,
            calls,
            run,
            attempt,
            known,
            next: 0,
        }
    }
}

impl Answers for RecordedAnswers<'_> {
    type Interruption = StoreError;

    async fn answer(
        &mut self,
        lm: &str,
        messages: &str,
        ask: Ask<'_>,
    ) -> Result<Answer, Ending<LmError, StoreError>> {
        let slot = self.next;
        self.next += 1;
        let server = self
            .job
            .lms
            .get(lm)
            .expect("a program is built only with LMs that the job defines");
        let question = question(lm, messages);
        if let Some(bytes) = self.known.remove(&slot)
            && let Ok(recorded) = serde_json::from_slice::<RecordedAnswer>(&bytes)
            && recorded.question == question
        {
            server.metrics.cache_hit();
            return Ok(recorded.answer);
        }
        let call = self.calls.acquire().await.expect("nobody closes the semaphore");
        let answer = server.lm.ask(ask).await.map_err(Ending::Failed)?;
        drop(call);
        let recorded = RecordedAnswer { question, answer };
        self.store
            .record(self.run, self.attempt, slot, recorded.encode())
            .await
            .map_err(Ending::Interrupted)?;
        trace!(task = %self.attempt.task, slot, question = recorded.question, "answer recorded");
        Ok(recorded.answer)
    }
}
