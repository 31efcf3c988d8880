//! Coordination of a self-contained run: the lock of DIR keeps other processes out, so every lease is
//! granted.

use super::{Coordination, LeaseResult, Process, WorkerInfo};
use crate::store_error::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Debug, Default)]
pub struct SingleProcess {
    cancelled: Mutex<HashSet<RunId>>,
}

impl SingleProcess {
    fn cancelled(&self) -> MutexGuard<'_, HashSet<RunId>> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Coordination for SingleProcess {
    async fn acquire_lease(&self, _: &RunId, _: &Process, _: Duration) -> Result<LeaseResult, StoreError> {
        Ok(LeaseResult::Acquired)
    }

    async fn release_lease(&self, _: &RunId, _: &Process) -> Result<(), StoreError> {
        Ok(())
    }

    async fn heartbeat(&self, _: &RunId, _: &WorkerInfo, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }

    async fn workers(&self, _: &RunId) -> Result<Vec<WorkerInfo>, StoreError> {
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
