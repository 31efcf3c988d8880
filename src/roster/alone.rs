//! The roster of a process that is all there is: the lock of DIR keeps others away, and whoever asks looks into DIR.

use super::{Lead, Process, Roster, WorkerSign};
use crate::store::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Nobody else is there.
#[derive(Debug, Default)]
pub struct Alone {
    cancelled: Mutex<HashSet<RunId>>,
}

impl Alone {
    fn cancelled(&self) -> MutexGuard<'_, HashSet<RunId>> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Roster for Alone {
    async fn lead(&self, _: &RunId, _: &Process, _: Duration) -> Result<Lead, StoreError> {
        Ok(Lead::Ours)
    }

    async fn resign(&self, _: &RunId, _: &Process) -> Result<(), StoreError> {
        Ok(())
    }

    async fn sign(&self, _: &RunId, _: &WorkerSign, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn workers(&self, _: &RunId) -> Result<Vec<WorkerSign>, StoreError> {
        Ok(Vec::new())
    }

    async fn cancel(&self, run: &RunId) -> Result<(), StoreError> {
        self.cancelled().insert(run.clone());
        Ok(())
    }

    async fn resume(&self, run: &RunId) -> Result<(), StoreError> {
        self.cancelled().remove(run);
        Ok(())
    }

    async fn is_cancelled(&self, run: &RunId) -> Result<bool, StoreError> {
        Ok(self.cancelled().contains(run))
    }

    async fn report(&self, _: &RunId, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reports(&self) -> Result<Vec<(RunId, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }
}
