//! A store decorator that signs what it stores, so that who may write to the server cannot forge it.
//!
//! Jobs, records and outcomes get an HMAC-SHA-256 over their content and their place. A value without a valid signature is an error. In
//! [`Store::outcomes`] it is returned empty, so that its task runs again. Without a key the decorator only refuses signed values, because
//! a process that lacks the key must not take them for damaged ones.

use super::{Claim, Position, Store, StoreError, Stored};
use crate::secret::Secret;
use crate::task::{AttemptRef, RunId, TaskId};
use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;

/// The variable with the key.
pub const SIGNING_KEY: &str = "BSFT_SIGNING_KEY";

/// What a signed value begins with. No unsigned value does: they are texts.
const MARK: &[u8; 4] = b"\0bs1";

/// The length of a signature in bytes.
const SIGNATURE: usize = 32;

/// The place of a value: it is part of what is signed, so that a value cannot be moved.
#[derive(Clone, Copy, Debug)]
enum SignedPlace {
    Job,
    Record(TaskId, u32),
    Outcome(TaskId),
}

/// Signs and checks what another store holds.
pub struct SignedStore {
    store: Arc<dyn Store>,
    /// The server, for messages.
    place: String,
    /// `None` if this process does not sign.
    key: Option<Hmac<Sha256>>,
}

impl SignedStore {
    /// Signs with `key`. `place` names the server in messages.
    pub fn new(store: Arc<dyn Store>, place: &str, key: Option<&Secret>) -> SignedStore {
        let mac = |key: &Secret| {
            Hmac::new_from_slice(key.reveal().as_bytes()).expect("an HMAC takes a key of any length")
        };
        SignedStore {
            store,
            place: place.to_owned(),
            key: key.map(mac),
        }
    }

    fn mac(key: &Hmac<Sha256>, run: &RunId, place: SignedPlace, value: &[u8]) -> Hmac<Sha256> {
        let mut mac = key.clone();
        let (kind, task, slot) = match place {
            SignedPlace::Job => (b'j', TaskId([0; 16]), 0),
            SignedPlace::Record(task, slot) => (b'r', task, slot),
            SignedPlace::Outcome(task) => (b'o', task, 0),
        };
        mac.update(&[kind]);
        mac.update(&task.0);
        mac.update(&slot.to_le_bytes());
        mac.update(&(run.0.len() as u64).to_le_bytes());
        mac.update(run.0.as_bytes());
        mac.update(value);
        mac
    }

    fn signed(&self, run: &RunId, place: SignedPlace, value: Vec<u8>) -> Vec<u8> {
        let Some(key) = &self.key else {
            return value;
        };
        let signature = SignedStore::mac(key, run, place, &value).finalize().into_bytes();
        let mut signed = Vec::with_capacity(MARK.len() + SIGNATURE + value.len());
        signed.extend_from_slice(MARK);
        signed.extend_from_slice(&signature);
        signed.extend_from_slice(&value);
        signed
    }

    /// The value without its signature.
    fn checked(&self, run: &RunId, place: SignedPlace, mut stored: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let rest = stored.strip_prefix(MARK.as_slice());
        let Some(key) = &self.key else {
            return match rest {
                None => Ok(stored),
                Some(_) => Err(self.unsigned(format!(
                    "run {run} is signed, and this process has no key; set {SIGNING_KEY} as in the process that started the run"
                ))),
            };
        };
        let is_valid = rest
            .and_then(|rest| rest.split_at_checked(SIGNATURE))
            .is_some_and(|(signature, value)| {
                let mac = SignedStore::mac(key, run, place, value);
                mac.verify_slice(signature).is_ok()
            });
        if !is_valid {
            let what = match place {
                SignedPlace::Job => format!("the job of run {run}"),
                SignedPlace::Record(task, _) => format!("a record of task {task} of run {run}"),
                SignedPlace::Outcome(task) => format!("the outcome of task {task} of run {run}"),
            };
            return Err(self.unsigned(format!(
                "{what} is not signed with the {SIGNING_KEY} of this process; give all coordinators and workers the same key"
            )));
        }
        stored.drain(..MARK.len() + SIGNATURE);
        Ok(stored)
    }

    fn unsigned(&self, message: String) -> StoreError {
        StoreError::Unsigned {
            place: self.place.clone(),
            message,
        }
    }

    /// The outcome, or an empty one if its signature is not valid.
    fn checked_outcome(&self, run: &RunId, task: TaskId, outcome: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        match self.checked(run, SignedPlace::Outcome(task), outcome) {
            Err(error @ StoreError::Unsigned { .. }) if self.key.is_some() => {
                warn!(%error, "outcome ignored; its task runs again");
                Ok(Vec::new())
            }
            checked => checked,
        }
    }

    fn checked_records(
        &self,
        run: &RunId,
        task: TaskId,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let records = records.into_iter();
        let checked = records.map(|(slot, value)| {
            let value = self.checked(run, SignedPlace::Record(task, slot), value)?;
            Ok((slot, value))
        });
        checked.collect()
    }
}

#[async_trait]
impl Store for SignedStore {
    async fn put_job(&self, run: &RunId, spec: &[u8]) -> Result<(), StoreError> {
        if self.key.is_none() {
            return self.store.put_job(run, spec).await;
        }
        let signed = self.signed(run, SignedPlace::Job, spec.to_vec());
        self.store.put_job(run, &signed).await
    }

    async fn job(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let job = self.store.job(run).await?;
        job.map(|job| self.checked(run, SignedPlace::Job, job))
            .transpose()
    }

    async fn claim(&self, run: &RunId, task: TaskId, lease: Duration) -> Result<Claim, StoreError> {
        match self.store.claim(run, task, lease).await? {
            Claim::Run {
                attempt,
                failures,
                records,
            } => {
                let checked = self.checked_records(run, task, records);
                if checked.is_err() {
                    // The task is sound: its attempt must not count as lost. If this fails, too, it does.
                    let _ = self.store.release(run, AttemptRef { task, attempt }).await;
                }
                Ok(Claim::Run {
                    attempt,
                    failures,
                    records: checked?,
                })
            }
            other => Ok(other),
        }
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
        self.store.set_waiting(run, attempt, is_waiting).await
    }

    async fn record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let signed = self.signed(run, SignedPlace::Record(attempt.task, slot), bytes);
        self.store.record(run, attempt, slot, signed).await
    }

    async fn finish(&self, run: &RunId, attempt: AttemptRef, outcome: Vec<u8>) -> Result<(), StoreError> {
        let signed = self.signed(run, SignedPlace::Outcome(attempt.task), outcome);
        self.store.finish(run, attempt, signed).await
    }

    async fn release(&self, run: &RunId, attempt: AttemptRef) -> Result<(), StoreError> {
        self.store.release(run, attempt).await
    }

    async fn outcome(&self, run: &RunId, task: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        let outcome = self.store.outcome(run, task).await?;
        outcome
            .map(|outcome| self.checked(run, SignedPlace::Outcome(task), outcome))
            .transpose()
    }

    async fn outcomes(
        &self,
        run: &RunId,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, StoreError> {
        let stored = self.store.outcomes(run, after, limit, wait).await?;
        let checked = stored.into_iter().map(|stored| {
            let outcome = self.checked_outcome(run, stored.task, stored.outcome)?;
            Ok(Stored { outcome, ..stored })
        });
        checked.collect()
    }

    async fn records(&self, run: &RunId, task: TaskId) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let records = self.store.records(run, task).await?;
        self.checked_records(run, task, records)
    }

    async fn trim(&self, run: &RunId, stored: &[(Position, TaskId)]) -> Result<(), StoreError> {
        self.store.trim(run, stored).await
    }

    async fn reopen(&self, run: &RunId, tasks: &[TaskId]) -> Result<usize, StoreError> {
        self.store.reopen(run, tasks).await
    }

    async fn abandoned(&self, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        self.store.abandoned(run, tasks).await
    }

    async fn import(
        &self,
        run: &RunId,
        task: TaskId,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let records = records.into_iter();
        let signed =
            records.map(|(slot, value)| (slot, self.signed(run, SignedPlace::Record(task, slot), value)));
        self.store.import(run, task, signed.collect()).await
    }
}
