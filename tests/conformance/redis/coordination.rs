//! Coordination on Redis: leader election, heartbeats, cancellation and reports.

use super::{NAMESPACE, connect, keys, server};
use crate::conformance::store::{LEASE, run};
use bsft::coordination::{Coordination, Heartbeat, LeaseResult, Process, WorkerInfo};
use bsft::store::Store as _;
use bsft::task::RunId;
use std::time::Duration;

const NO_LEASE: Duration = Duration::from_millis(1);

fn worker(concurrency: usize) -> WorkerInfo {
    WorkerInfo {
        trainers: vec!["trl".to_owned()],
        lms: Vec::new(),
        refusal: None,
        process: Process::current(),
        lanes: vec!["bootstrap".into()],
        concurrency,
    }
}

#[tokio::test]
async fn run_has_one_coordinator_at_a_time() {
    let Some(server) = server(&[]) else { return };
    let coordination = connect(&server.url(), NAMESPACE).await;
    let (ours, theirs) = (Process::current(), Process::current());
    for _ in 0..2 {
        let lead = coordination.acquire_lease(&run(), &ours, LEASE).await.unwrap();
        assert_eq!(lead, LeaseResult::Acquired);
    }
    match coordination.acquire_lease(&run(), &theirs, LEASE).await.unwrap() {
        LeaseResult::HeldBy { process, left } => {
            assert_eq!(process, ours);
            assert!(left <= LEASE && left > LEASE / 2, "{left:?}");
        }
        LeaseResult::Acquired => panic!("two have the run"),
    }
    // Only its owner can release it.
    coordination.release_lease(&run(), &theirs).await.unwrap();
    assert_ne!(
        coordination.acquire_lease(&run(), &theirs, LEASE).await.unwrap(),
        LeaseResult::Acquired
    );
    let other = RunId("other".into());
    assert_eq!(
        coordination.acquire_lease(&other, &theirs, LEASE).await.unwrap(),
        LeaseResult::Acquired
    );
    coordination.release_lease(&run(), &ours).await.unwrap();
    assert_eq!(
        coordination
            .acquire_lease(&run(), &theirs, NO_LEASE)
            .await
            .unwrap(),
        LeaseResult::Acquired
    );
    let taken = async {
        while coordination.acquire_lease(&run(), &ours, LEASE).await.unwrap() != LeaseResult::Acquired {}
    };
    tokio::time::timeout(LEASE, taken)
        .await
        .expect("the time of a coordinator without a sign of life ends");
}

/// The workers that sent the heartbeats.
async fn workers(coordination: &dyn Coordination, run: &RunId) -> Vec<WorkerInfo> {
    let heartbeats = coordination.workers(run).await.unwrap();
    let is_young = |heartbeat: &Heartbeat| heartbeat.age_secs <= LEASE.as_secs();
    assert!(heartbeats.iter().all(is_young), "{heartbeats:?}");
    heartbeats.into_iter().map(|heartbeat| heartbeat.worker).collect()
}

#[tokio::test]
async fn workers_are_listed_while_they_send_heartbeats() {
    let Some(server) = server(&[]) else { return };
    let coordination = connect(&server.url(), NAMESPACE).await;
    // Without its job the run is unknown, and gets no key.
    coordination.heartbeat(&run(), &worker(64), LEASE).await.unwrap();
    assert_eq!(keys(&server), Vec::<String>::new());
    coordination.put_job(&run(), b"job").await.unwrap();
    assert_eq!(workers(&coordination, &run()).await, []);
    let (a, b) = (worker(64), worker(8));
    for _ in 0..2 {
        coordination.heartbeat(&run(), &a, LEASE).await.unwrap();
        coordination.heartbeat(&run(), &b, LEASE).await.unwrap();
    }
    let mut both = vec![a.clone(), b.clone()];
    both.sort_by(|a, b| a.process.id.cmp(&b.process.id));
    assert_eq!(workers(&coordination, &run()).await, both);
    assert_eq!(workers(&coordination, &RunId("other".into())).await, []);
    coordination.heartbeat(&run(), &a, NO_LEASE).await.unwrap();
    let gone = async { while workers(&coordination, &run()).await != [b.clone()] {} };
    tokio::time::timeout(LEASE, gone)
        .await
        .expect("a worker without a sign of life is forgotten");
}

#[tokio::test]
async fn cancel_holds_until_resume() {
    let Some(server) = server(&[]) else { return };
    let coordination = connect(&server.url(), NAMESPACE).await;
    assert!(!coordination.is_cancelled(&run()).await.unwrap());
    coordination.cancel(&run()).await.unwrap();
    coordination.cancel(&run()).await.unwrap();
    assert!(coordination.is_cancelled(&run()).await.unwrap());
    assert!(!coordination.is_cancelled(&RunId("other".into())).await.unwrap());
    coordination.resume(&run()).await.unwrap();
    coordination.resume(&run()).await.unwrap();
    assert!(!coordination.is_cancelled(&run()).await.unwrap());
}

#[tokio::test]
async fn reports_lists_the_last_report_of_each_run() {
    let Some(server) = server(&[]) else { return };
    let coordination = connect(&server.url(), NAMESPACE).await;
    let elsewhere = connect(&server.url(), "elsewhere").await;
    let (a, b) = (RunId("a".into()), RunId("b".into()));
    for (run, report) in [(&b, &b"far"[..]), (&a, b"begun"), (&a, b"done")] {
        coordination.report(run, report).await.unwrap();
    }
    let known = vec![(a, b"done".to_vec()), (b, b"far".to_vec())];
    assert_eq!(coordination.reports().await.unwrap(), known);
    assert_eq!(elsewhere.reports().await.unwrap(), []);
}

#[tokio::test]
async fn every_coordination_key_expires() {
    let Some(server) = server(&[]) else { return };
    let coordination = connect(&server.url(), NAMESPACE).await;
    coordination
        .acquire_lease(&run(), &Process::current(), LEASE)
        .await
        .unwrap();
    coordination.put_job(&run(), b"job").await.unwrap();
    coordination.heartbeat(&run(), &worker(1), LEASE).await.unwrap();
    coordination.cancel(&run()).await.unwrap();
    coordination.report(&run(), b"far").await.unwrap();
    let of_run: Vec<String> = keys(&server)
        .into_iter()
        .filter(|key| key.contains('{'))
        .collect();
    assert_eq!(of_run.len(), 5, "{of_run:?}");
    for key in of_run {
        let ends: i64 = redis::from_redis_value(server.ask(&["TTL", &key])).unwrap();
        assert!(ends > 0, "{key}: {ends}");
        server.ask(&["DEL", &key]);
    }
    // The list of runs forgets what has no report any more.
    assert_eq!(coordination.reports().await.unwrap(), []);
    assert_eq!(keys(&server), Vec::<String>::new());
}
