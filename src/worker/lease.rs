//! Runs work under an attempt's lease, and renews the lease meanwhile.

use crate::error_action::ErrorAction;
use crate::store::{Store, StoreError};
use crate::task::{AttemptRef, RunId};
use std::time::Duration;
use tracing::debug;

/// How long an attempt holds its task without a renewal.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// Three renewals per lease, so that two of them may be lost.
pub(super) const HEARTBEAT: Duration = LEASE.checked_div(3).expect("3 is not 0");

/// Does the work and renews the lease. Ends early with [`StoreError::Fenced`] when another attempt has the
/// task.
pub(super) async fn under_lease<T>(
    store: &dyn Store,
    run: &RunId,
    attempt: AttemptRef,
    work: impl Future<Output = T>,
) -> Result<T, StoreError> {
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            () = tokio::time::sleep(HEARTBEAT) => {}
        }
        // Waiting for the renewal must not delay the work.
        let renewed = tokio::select! {
            biased;
            done = &mut work => return Ok(done),
            renewed = store.renew(run, attempt, LEASE) => renewed,
        };
        match renewed {
            Ok(()) => {}
            Err(lost) if lost.action() == ErrorAction::Discard => return Err(lost),
            Err(error) => {
                debug!(%error, task = %attempt.task, "lease not renewed; retrying")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Claim;
    use crate::store::embedded::EmbeddedStore;
    use crate::task::TaskId;

    const TASK: TaskId = TaskId([7; 16]);

    async fn claim(store: &EmbeddedStore, run: &RunId) -> Option<AttemptRef> {
        match store.claim(run, TASK, LEASE).await.expect("the store works") {
            Claim::Run { attempt, .. } => Some(AttemptRef { task: TASK, attempt }),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn under_lease_keeps_the_task_beyond_one_lease() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = EmbeddedStore::open(&dir.path().join("store.redb")).expect("it opens");
        let run = RunId("run".to_owned());
        let attempt = claim(&store, &run).await.expect("the task is free");
        let work = async {
            for _ in 0..100 {
                tokio::time::sleep(LEASE / 7).await;
                assert_eq!(
                    claim(&store, &run).await,
                    None,
                    "another worker was given the task"
                );
            }
            "done"
        };
        let done = under_lease(&store, &run, attempt, work).await;
        assert_eq!(done.expect("the lease holds"), "done");
    }

    #[tokio::test(start_paused = true)]
    async fn under_lease_ends_when_another_worker_claims_the_task() {
        let dir = tempfile::tempdir().expect("a folder");
        let store = EmbeddedStore::open(&dir.path().join("store.redb")).expect("it opens");
        let run = RunId("run".to_owned());
        let stale = claim(&store, &run).await.expect("the task is free");
        tokio::time::sleep(LEASE * 2).await;
        claim(&store, &run).await.expect("the lease ran out");
        let ended = under_lease(&store, &run, stale, std::future::pending::<()>()).await;
        assert!(matches!(ended, Err(StoreError::Fenced(_))), "{ended:?}");
    }
}
