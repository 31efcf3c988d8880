//! What Redis holds: the window of a run, apart from others, and not for ever.

use super::{NAMESPACE, connect, finish, keys, outcomes, server};
use crate::conformance::store::{LEASE, claimed, run, task, work_through};
use bsft::store::redis::KEPT;
use bsft::store::{Claim, Position, Store, StoreError};
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn connect_writes_no_keys() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    assert_eq!(keys(&server), [""; 0]);
    store.put_job(&run(), b"job").await.unwrap();
    assert_eq!(keys(&server), ["bsft-test:v1:{run}:job"]);
}

#[tokio::test]
async fn namespaces_on_redis_are_separate() {
    let Some(server) = server(&[]) else { return };
    let (a, b) = (
        connect(&server.url(), "a").await,
        connect(&server.url(), "b").await,
    );
    a.put_job(&run(), b"job").await.unwrap();
    finish(&a, 1).await;
    assert_eq!(b.job(&run()).await.unwrap(), None);
    assert_eq!(outcomes(&b).await, []);
    claimed(&b, task(1), LEASE).await;
}

#[tokio::test]
async fn processes_share_a_namespace() {
    let Some(server) = server(&[]) else { return };
    let (a, b) = (
        connect(&server.url(), NAMESPACE).await,
        connect(&server.url(), NAMESPACE).await,
    );
    let (attempt, _, _) = claimed(&a, task(1), LEASE).await;
    assert_eq!(b.claim(&run(), task(1), LEASE).await.unwrap(), Claim::Held);
    a.finish(&run(), attempt, b"by a".into()).await.unwrap();
    assert_eq!(b.outcome(&run(), task(1)).await.unwrap(), Some(b"by a".to_vec()));
}

#[tokio::test]
async fn every_key_of_a_run_expires() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    store.put_job(&run(), b"job").await.unwrap();
    for n in 0..4 {
        finish(&store, n).await;
    }
    let stored = outcomes(&store).await;
    store.trim(&run(), &stored[..2]).await.unwrap();
    assert_eq!(store.reopen(&run(), &[task(0)]).await.unwrap(), 1);
    store
        .import(&run(), task(10), vec![(0, b"known".into())])
        .await
        .unwrap();
    claimed(&store, task(11), LEASE).await;
    let (released, _, _) = claimed(&store, task(12), LEASE).await;
    store.release(&run(), released).await.unwrap();
    let keys = keys(&server);
    assert_eq!(keys.len(), 4 + 6, "{keys:?}");
    for key in keys {
        let left: i64 = redis::from_redis_value(server.ask(&["TTL", &key])).unwrap();
        assert!(left > 0, "{key} stays for ever: {left}");
    }
}

#[tokio::test]
async fn claim_extends_the_expiry_of_a_run() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    store.put_job(&run(), b"job").await.unwrap();
    finish(&store, 1).await;
    finish(&store, 2).await;
    store.trim(&run(), &outcomes(&store).await[..1]).await.unwrap();
    let soon: u64 = 1_000;
    let of_the_run = ["job", "outcomes", "position"].map(|key| format!("bsft-test:v1:{{run}}:{key}"));
    for key in &of_the_run {
        server.ask(&["EXPIRE", key, &soon.to_string()]);
    }
    let next = connect(&server.url(), NAMESPACE).await;
    claimed(&next, task(3), LEASE).await;
    for key in &of_the_run {
        let left: u64 = redis::from_redis_value(server.ask(&["TTL", key])).unwrap();
        assert!(left > KEPT.as_secs() / 2, "{key} ends in {left} s");
    }
}

/// Tasks of the growth test.
const TASKS: u32 = 10_000;

#[tokio::test]
async fn redis_memory_grows_with_the_window_and_not_the_run() {
    let Some(server) = server(&[]) else { return };
    let store = Arc::new(connect(&server.url(), NAMESPACE).await);
    finish(&*store, TASKS).await;
    store.trim(&run(), &outcomes(&*store).await).await.unwrap();
    let before = server.info::<u64>("used_memory");
    for window in 0..10 {
        work_through(&store, window * TASKS / 10..(window + 1) * TASKS / 10).await;
        let stored = outcomes(&*store).await;
        assert_eq!(stored.len(), TASKS as usize / 10);
        store.trim(&run(), &stored).await.unwrap();
    }
    let (marks, others): (Vec<String>, Vec<String>) = keys(&server)
        .into_iter()
        .partition(|key| key.starts_with("bsft-test:v1:{run}:done:"));
    assert_eq!(
        others,
        ["bsft-test:v1:{run}:outcomes", "bsft-test:v1:{run}:position"]
    );
    let done: u64 = (marks.iter())
        .map(|key| redis::from_redis_value::<u64>(server.ask(&["MEMORY", "USAGE", key])).unwrap())
        .sum();
    assert!(
        done < 100 * u64::from(TASKS),
        "{done} bytes for the tasks that are done"
    );
    // Beside the set: buffers and what the allocator rounds up. The outcomes alone were 25 MB.
    let grown = server.info::<u64>("used_memory").saturating_sub(before);
    assert!(
        grown < done + (1 << 20),
        "{grown} bytes, {done} of them for the tasks that are done"
    );
    for n in (0..TASKS).step_by(97) {
        assert_eq!(store.claim(&run(), task(n), LEASE).await.unwrap(), Claim::Done);
    }
}

#[tokio::test]
async fn large_outcomes_come_in_small_pages() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    for n in 0..60 {
        let (attempt, _, _) = claimed(&store, task(n), LEASE).await;
        store
            .finish(&run(), attempt, vec![b'o'; 250 << 10])
            .await
            .unwrap();
    }
    let (mut after, mut seen) = (Position::default(), 0);
    while let page @ [_, ..] = &store.outcomes(&run(), after, 60, Duration::ZERO).await.unwrap()[..] {
        after = page[page.len() - 1].position;
        assert!(page.len() <= 32, "{} in a page", page.len());
        seen += page.len();
    }
    assert_eq!(seen, 60);
}

#[tokio::test]
async fn attempt_from_before_reopen_is_fenced() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    let old = finish(&store, 1).await;
    store.trim(&run(), &outcomes(&store).await).await.unwrap();
    assert_eq!(store.reopen(&run(), &[task(1)]).await.unwrap(), 1);
    let (new, _, _) = claimed(&store, task(1), LEASE).await;
    assert!(new.attempt > old.attempt);
    let late = store.record(&run(), old, 0, b"late".into()).await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
    store.record(&run(), new, 0, b"paid".into()).await.unwrap();
}
