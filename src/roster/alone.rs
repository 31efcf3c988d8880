//! The roster of a process that is all there is: the lock of DIR keeps others away, and whoever asks looks into DIR.

use super::{Lead, Process, Roster, WorkerSign};
use crate::store::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use std::time::Duration;

/// Nobody else is there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

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

    async fn cancel(&self, _: &RunId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn resume(&self, _: &RunId) -> Result<(), StoreError> {
        Ok(())
    }

    async fn is_cancelled(&self, _: &RunId) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn report(&self, _: &RunId, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reports(&self) -> Result<Vec<(RunId, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }
}
