//! A store decorator that outlasts outages.

use super::{RetryUntilShutdown, Transient};
use crate::error_action::ErrorAction;
use crate::metrics::Waits;
use crate::shutdown::Shutdown;
use crate::store::{Claim, LONG_VALUE, Position, Store, StoreError, Stored};
use crate::task::{AttemptRef, RunId, TaskId};
use async_trait::async_trait;
use std::sync::Arc;
use std::time::Duration;

/// Retries every call until it succeeds or the process aborts, so that answers and outcomes in flight are
/// not lost. Calls that begin a task, `job` and `claim`, hold nothing and end when the process drains.
///
/// `renew` is not retried: the next heartbeat repeats it.
pub struct RetryingStore {
    store: Arc<dyn Store>,
    retry: RetryUntilShutdown,
}

impl RetryingStore {
    /// Retries end when `shutdown` stops the process; `waits` counts the calls that had to be retried.
    pub fn new(store: Arc<dyn Store>, shutdown: Shutdown, waits: Waits) -> RetryingStore {
        RetryingStore {
            store,
            retry: RetryUntilShutdown::new(shutdown, waits),
        }
    }
}

impl Transient for StoreError {
    fn is_transient(&self) -> bool {
        matches!(self.action(), ErrorAction::Retry)
    }

    fn needs_operator(&self) -> bool {
        matches!(self, StoreError::LockedOut { .. })
    }
}

#[async_trait]
impl Store for RetryingStore {
    async fn put_job(&self, run: &RunId, spec: &[u8]) -> Result<(), StoreError> {
        self.retry.retry(|| self.store.put_job(run, spec)).await
    }

    async fn job(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError> {
        self.retry.retry_until_drain(|| self.store.job(run)).await
    }

    async fn claim(&self, run: &RunId, task: TaskId, lease: Duration) -> Result<Claim, StoreError> {
        self.retry
            .retry_until_drain(|| self.store.claim(run, task, lease))
            .await
    }

    async fn renew(&self, run: &RunId, attempt: AttemptRef, lease: Duration) -> Result<(), StoreError> {
        self.store.renew(run, attempt, lease).await
    }

    async fn set_waiting(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        is_waiting: bool,
    ) -> Result<(), StoreError> {
        self.retry
            .retry(|| self.store.set_waiting(run, attempt, is_waiting))
            .await
    }

    async fn record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        if bytes.len() >= LONG_VALUE {
            return self.record_long(run, attempt, slot, &bytes).await;
        }
        self.retry
            .retry(|| self.store.record(run, attempt, slot, bytes.clone()))
            .await
    }

    async fn record_long(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        self.retry
            .retry(|| self.store.record_long(run, attempt, slot, bytes))
            .await
    }

    async fn finish(&self, run: &RunId, attempt: AttemptRef, outcome: Vec<u8>) -> Result<(), StoreError> {
        if outcome.len() >= LONG_VALUE {
            return self.finish_long(run, attempt, &outcome).await;
        }
        self.retry
            .retry(|| self.store.finish(run, attempt, outcome.clone()))
            .await
    }

    async fn finish_long(&self, run: &RunId, attempt: AttemptRef, outcome: &[u8]) -> Result<(), StoreError> {
        self.retry
            .retry(|| self.store.finish_long(run, attempt, outcome))
            .await
    }

    async fn release(&self, run: &RunId, attempt: AttemptRef) -> Result<(), StoreError> {
        self.retry.retry(|| self.store.release(run, attempt)).await
    }

    async fn outcome(&self, run: &RunId, task: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        self.retry.retry(|| self.store.outcome(run, task)).await
    }

    async fn records(&self, run: &RunId, task: TaskId) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        self.retry.retry(|| self.store.records(run, task)).await
    }

    async fn record_of(&self, run: &RunId, task: TaskId, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.retry.retry(|| self.store.record_of(run, task, slot)).await
    }

    async fn outcomes(
        &self,
        run: &RunId,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, StoreError> {
        self.retry
            .retry(|| self.store.outcomes(run, after, limit, wait))
            .await
    }

    async fn trim(&self, run: &RunId, stored: &[(Position, TaskId)]) -> Result<(), StoreError> {
        self.retry.retry(|| self.store.trim(run, stored)).await
    }

    async fn reopen(&self, run: &RunId, tasks: &[TaskId]) -> Result<usize, StoreError> {
        self.retry.retry(|| self.store.reopen(run, tasks)).await
    }

    async fn abandoned(&self, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        self.retry.retry(|| self.store.abandoned(run, tasks)).await
    }

    async fn import(
        &self,
        run: &RunId,
        task: TaskId,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        self.retry
            .retry(|| self.store.import(run, task, records.clone()))
            .await
    }
}
