//! Coordination of a self-contained run: the lock of DIR keeps other processes out, so every lease is
//! granted. Heartbeats come from the workers of this process.

use super::{Coordination, Heartbeat, LeaseResult, Process, WorkerInfo};
use crate::lock::lock;
use crate::store_error::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct SingleProcess {
    /// Locked for look-ups only, a few times a second; never across an await.
    state: Mutex<CoordinationState>,
}

#[derive(Debug, Default)]
struct CoordinationState {
    cancelled: HashSet<RunId>,
    /// The last heartbeats by run and by the worker's id.
    heartbeats: BTreeMap<(RunId, String), LastHeartbeat>,
}

#[derive(Debug)]
struct LastHeartbeat {
    worker: WorkerInfo,
    at: Instant,
    lease: Duration,
}

impl SingleProcess {
    fn state(&self) -> MutexGuard<'_, CoordinationState> {
        lock(&self.state)
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

    async fn heartbeat(&self, run: &RunId, worker: &WorkerInfo, lease: Duration) -> Result<(), StoreError> {
        let last = LastHeartbeat {
            worker: worker.clone(),
            at: Instant::now(),
            lease,
        };
        let id = worker.process.id.clone();
        self.state().heartbeats.insert((run.clone(), id), last);
        Ok(())
    }

    fn is_in_process(&self) -> bool {
        true
    }

    async fn workers(&self, run: &RunId) -> Result<Vec<Heartbeat>, StoreError> {
        let mut state = self.state();
        state.heartbeats.retain(|_, last| last.at.elapsed() < last.lease);
        let of_run = state.heartbeats.iter().filter(|((of, _), _)| of == run);
        let heartbeats = of_run.map(|(_, last)| Heartbeat {
            worker: last.worker.clone(),
            age_secs: last.at.elapsed().as_secs(),
        });
        Ok(heartbeats.collect())
    }

    async fn cancel(&self, run: &RunId) -> Result<(), StoreError> {
        self.state().cancelled.insert(run.clone());
        Ok(())
    }

    async fn resume(&self, run: &RunId) -> Result<(), StoreError> {
        self.state().cancelled.remove(run);
        Ok(())
    }

    async fn is_cancelled(&self, run: &RunId) -> Result<bool, StoreError> {
        Ok(self.state().cancelled.contains(run))
    }

    async fn report(&self, _: &RunId, _: &[u8]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reports(&self) -> Result<Vec<(RunId, Vec<u8>)>, StoreError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn worker(concurrency: usize) -> WorkerInfo {
        WorkerInfo {
            process: Process::current(),
            lanes: vec!["bootstrap".to_owned()],
            concurrency,
            trainers: Vec::new(),
            lms: Vec::new(),
            refusal: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn workers_lists_the_last_heartbeats_of_the_run_until_they_expire() {
        let (coordination, run) = (SingleProcess::default(), RunId("a".to_owned()));
        let mut one = worker(8);
        coordination.heartbeat(&run, &one, LEASE).await.expect("kept");
        one.concurrency = 16;
        coordination.heartbeat(&run, &one, LEASE).await.expect("kept");
        tokio::time::advance(Duration::from_secs(3)).await;
        let expected = Heartbeat {
            worker: one,
            age_secs: 3,
        };
        assert_eq!(coordination.workers(&run).await.expect("listed"), [expected]);
        let other = RunId("b".to_owned());
        assert_eq!(coordination.workers(&other).await.expect("listed"), []);
        tokio::time::advance(LEASE).await;
        assert_eq!(coordination.workers(&run).await.expect("listed"), []);
    }
}
