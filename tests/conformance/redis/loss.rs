//! What gets lost: answers, connections, servers, the time of day; and that nothing else does.

use super::{DEADLINE, NAMESPACE, connect, finish, is_unreachable, keys, outcomes, refusal, server};
use crate::conformance::store::{LEASE, claimed, run, task};
use crate::support::lossy::Lossy;
use crate::support::redis_server::{RedisServer, is_installed};
use bsft::store::{Claim, Position, Store};
use bsft::task::AttemptRef;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn every_store_call_can_be_repeated_after_a_lost_answer() {
    let Some(server) = server(&[]) else { return };
    let lossy = Lossy::before(server.port()).await;
    // The server gets to know the scripts: an answer that is lost is to be a step's.
    let warm = connect(&server.url(), "warm").await;
    let released = finish(&warm, 1).await;
    warm.outcome(&run(), task(1)).await.unwrap();
    warm.trim(&run(), &outcomes(&warm).await).await.unwrap();
    warm.reopen(&run(), &[task(1)]).await.unwrap();
    warm.import(&run(), task(2), vec![(0, vec![])]).await.unwrap();
    assert!(warm.renew(&run(), released, LEASE).await.is_err());
    assert!(warm.release(&run(), released).await.is_err());

    let store = connect(&lossy.url(), NAMESPACE).await;
    let (run, id) = (run(), task(1));
    macro_rules! twice {
        ($step:expr) => {{
            lossy.lose_an_answer();
            let lost = $step.await;
            assert!(lossy.has_lost_it() && is_unreachable(&lost), "{lost:?}");
            $step.await.unwrap()
        }};
    }
    twice!(store.put_job(&run, b"job"));
    assert_eq!(twice!(store.job(&run)).as_deref(), Some(&b"job"[..]));
    twice!(store.import(&run, id, vec![(7, b"known".into())]));
    let first = twice!(store.claim(&run, id, LEASE));
    let Claim::Run {
        attempt,
        failures,
        records,
        ..
    } = first
    else {
        panic!("{first:?}")
    };
    assert_eq!(
        (attempt.0, failures, records),
        (1, 0, vec![(7, b"known".to_vec())])
    );
    let first = AttemptRef { task: id, attempt };
    twice!(store.renew(&run, first, LEASE));
    twice!(store.set_waiting(&run, first, true));
    twice!(store.set_waiting(&run, first, false));
    twice!(store.record(&run, first, 0, b"paid".into()));
    twice!(store.release(&run, first));
    let (second, failures, records) = claimed(&store, id, LEASE).await;
    assert_eq!((second.attempt.0, failures, records.len()), (2, 0, 2));
    twice!(store.finish(&run, second, b"outcome".into()));
    assert_eq!(twice!(store.outcome(&run, id)), Some(b"outcome".to_vec()));
    assert_eq!(twice!(store.claim(&run, id, LEASE)), Claim::Done);
    let stored = outcomes(&store).await;
    assert_eq!(stored.len(), 1);
    twice!(store.trim(&run, &stored));
    assert_eq!(outcomes(&store).await, []);
    assert_eq!(twice!(store.reopen(&run, &[id])), 0, "the first call reopened it");
    let again = twice!(store.claim(&run, id, LEASE));
    assert!(
        matches!(&again, Claim::Run { failures: 0, records, .. } if records.is_empty()),
        "{again:?}"
    );
}

#[tokio::test]
async fn repeated_claim_after_a_timeout_gets_the_same_attempt() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    finish(&store, 1).await;
    server.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    tokio::time::pause();
    let run = run();
    let claim = store.claim(&run, task(2), LEASE);
    assert!(tokio::time::timeout(Duration::from_secs(1), claim).await.is_err());
    tokio::time::resume();
    // Now the server carries out the request, and its answer reaches no client.
    server.ask(&["CLIENT", "UNPAUSE"]);
    let (attempt, failures, _) = claimed(&store, task(2), LEASE).await;
    assert_eq!((attempt.attempt.0, failures), (1, 0));
    // Another caller in the same process does not share it.
    assert_eq!(store.claim(&run, task(2), LEASE).await.unwrap(), Claim::Held);
}

#[tokio::test]
async fn silent_connection_is_replaced() {
    let Some(server) = server(&[]) else { return };
    let lossy = Lossy::before(server.port()).await;
    let store = connect(&lossy.url(), NAMESPACE).await;
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    lossy.fall_mute();
    tokio::time::pause();
    assert!(is_unreachable(
        &store.finish(&run(), attempt, b"outcome".into()).await
    ));
    tokio::time::resume();
    store.finish(&run(), attempt, b"outcome".into()).await.unwrap();
    assert_eq!(outcomes(&store).await.len(), 1);
}

#[tokio::test]
async fn store_calls_succeed_after_redis_restarts() {
    let Some(mut server) = server(&["--appendfsync", "always"]) else {
        return;
    };
    let store = connect(&server.url(), NAMESPACE).await;
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    server.kill();
    for _ in 0..3 {
        assert!(is_unreachable(
            &store.record(&run(), attempt, 0, b"paid".into()).await
        ));
        assert!(is_unreachable(
            &store.outcomes(&run(), Position(0), 9, LEASE).await
        ));
    }
    let gone = refusal(&server.url()).await.to_string();
    assert!(gone.contains(&server.url()) && gone.contains("check"), "{gone}");
    server.start_again();
    store.record(&run(), attempt, 0, b"paid".into()).await.unwrap();
    store.finish(&run(), attempt, b"outcome".into()).await.unwrap();
    assert_eq!(outcomes(&store).await.len(), 1);
}

#[tokio::test]
async fn store_calls_succeed_after_a_cluster_restarts() {
    if !is_installed() {
        return;
    }
    let mut server = RedisServer::start_cluster();
    let store = connect(&server.url(), NAMESPACE).await;
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    server.kill();
    for _ in 0..2 {
        assert!(is_unreachable(
            &store.record(&run(), attempt, 0, b"paid".into()).await
        ));
    }
    server.start_again();
    let finish = async {
        while let Err(error) = store.finish(&run(), attempt, b"outcome".into()).await {
            assert!(is_unreachable(&Err::<(), _>(error)));
        }
    };
    tokio::time::timeout(DEADLINE, finish).await.unwrap();
    assert_eq!(outcomes(&store).await.len(), 1);
}

/// Acknowledged writes before the server is killed.
const ACKNOWLEDGED: usize = 2_000;

#[tokio::test]
async fn acknowledged_writes_survive_kill_9_of_redis() {
    let Some(mut server) = server(&["--appendfsync", "always"]) else {
        return;
    };
    let store = Arc::new(connect(&server.url(), NAMESPACE).await);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let enough = Arc::new(tokio::sync::Notify::new());
    let mut writers = tokio::task::JoinSet::new();
    for first in 0..16 {
        let (store, acknowledged, enough) =
            (Arc::clone(&store), Arc::clone(&acknowledged), Arc::clone(&enough));
        writers.spawn(async move {
            for n in (first..).step_by(16) {
                let Ok(Claim::Run { attempt, .. }) = store.claim(&run(), task(n), LEASE).await else {
                    return;
                };
                let attempt = AttemptRef {
                    task: task(n),
                    attempt,
                };
                let bytes = n.to_le_bytes().to_vec();
                if store.record(&run(), attempt, n, bytes.clone()).await.is_err()
                    || (n % 2 == 0 && store.finish(&run(), attempt, bytes).await.is_err())
                {
                    return;
                }
                let mut acknowledged = acknowledged.lock().unwrap();
                acknowledged.push((n, attempt));
                if acknowledged.len() == ACKNOWLEDGED {
                    enough.notify_one();
                }
            }
        });
    }
    enough.notified().await;
    server.kill();
    writers.join_all().await;
    server.start_again();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(acknowledged.len() >= ACKNOWLEDGED);
    for (n, attempt) in acknowledged {
        let bytes = n.to_le_bytes().to_vec();
        if n % 2 == 0 {
            let outcome = store.outcome(&run(), task(n)).await.unwrap();
            assert_eq!(outcome, Some(bytes), "outcome {n}");
        } else {
            store.release(&run(), attempt).await.unwrap();
            assert_eq!(claimed(&*store, task(n), LEASE).await.2, [(n, bytes)]);
        }
    }
}

#[tokio::test]
async fn write_refused_by_a_replica_reconnects_to_the_address() {
    if !is_installed() {
        return;
    }
    let (old, new) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let lossy = Lossy::before(old.port()).await;
    let store = connect(&lossy.url(), NAMESPACE).await;
    claimed(&store, task(1), LEASE).await;
    old.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    lossy.lead_to(new.port());
    assert!(is_unreachable(&store.claim(&run(), task(2), LEASE).await));
    claimed(&store, task(2), LEASE).await;
    assert_eq!(keys(&new).len(), 1);
}

#[tokio::test]
async fn outcomes_continue_after_redis_flushall() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    finish(&store, 1).await;
    finish(&store, 2).await;
    let read = outcomes(&store).await[1].0;
    server.ask(&["FLUSHALL"]);
    finish(&store, 1).await;
    let new = store.outcomes(&run(), read, 9, Duration::ZERO).await.unwrap();
    assert_eq!(new.len(), 1);
}

#[tokio::test]
async fn positions_grow_after_the_clock_was_set_back() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    let ahead = "3999999999999999";
    server.ask(&["SET", "bsft-test:v1:{run}:position", ahead]);
    for n in 1..3 {
        finish(&store, n).await;
    }
    let positions: Vec<u64> = outcomes(&store)
        .await
        .iter()
        .map(|(position, _)| position.0)
        .collect();
    assert_eq!(positions, [4_000_000_000_000_000, 4_000_000_000_000_001]);
}
