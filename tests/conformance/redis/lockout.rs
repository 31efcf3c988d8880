//! A user that Redis refuses after it was accepted: a changed password, a revoked right. Calls wait until that is undone.

use super::{DEADLINE, NAMESPACE, connect, outcomes, refusal, server};
use crate::conformance::store::{LEASE, claimed, run, task};
use crate::support::redis_server::{RedisServer, is_installed};
use crate::support::until;
use bsft::error_action::ErrorAction;
use bsft::metrics::{Metrics, Service};
use bsft::retry::RetryingStore;
use bsft::shutdown::Shutdown;
use bsft::store::redis::RedisStore;
use bsft::store::{Claim, Store, StoreError};
use std::sync::Arc;

const RIGHT: &[&str] = &["resetpass", ">swordfish"];
const WRONG: &[&str] = &["resetpass", ">hunter2"];

#[tokio::test(flavor = "multi_thread")]
async fn store_calls_succeed_once_the_password_is_right_again() {
    if !is_installed() {
        return;
    }
    for server in [RedisServer::start(&[]), RedisServer::start_cluster()] {
        change_and_undo(&server).await;
    }
}

async fn change_and_undo(server: &RedisServer) {
    let url = user(server);
    let store = Arc::new(connect(&url, NAMESPACE).await);
    let retrying = retrying_store(&store, &Shutdown::new());
    let (attempt, _, _) = claimed(&*store, task(1), LEASE * 100).await;
    set(server, WRONG);
    server.ask(&["CLIENT", "KILL", "USER", "worker"]);
    let work = tokio::spawn(async move {
        retrying.record(&run(), attempt, 0, b"paid".into()).await.unwrap();
        retrying.finish(&run(), attempt, b"outcome".into()).await.unwrap();
        assert_eq!(retrying.claim(&run(), task(1), LEASE).await.unwrap(), Claim::Done);
    });
    refused_often(server, "errorstat_WRONGPASS");
    let told = locked_out(&store).await.to_string();
    assert!(!told.contains("swordfish") && !told.contains("hunter2"), "{told}");
    // A new process is refused at once.
    let error = refusal(&url).await;
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert_eq!(error.action(), ErrorAction::Halt);
    set(server, RIGHT);
    work.await.unwrap();
    assert_eq!(outcomes(&*store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_calls_succeed_once_a_missing_right_is_granted() {
    let Some(server) = server(&[]) else { return };
    let store = Arc::new(connect(&user(&server), NAMESPACE).await);
    let retrying = retrying_store(&store, &Shutdown::new());
    let (attempt, _, _) = claimed(&*store, task(1), LEASE * 100).await;
    set(&server, &["resetkeys"]);
    let finish = tokio::spawn(async move { retrying.finish(&run(), attempt, b"outcome".into()).await });
    refused_often(&server, "errorstat_NOPERM");
    let told = locked_out(&store).await.to_string();
    assert!(told.contains(&format!("~{NAMESPACE}:*")), "{told}");
    set(&server, &["allkeys"]);
    finish.await.unwrap().unwrap();
    assert_eq!(outcomes(&*store).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_calls_wait_for_the_right_password_until_shutdown() {
    let Some(mut server) = server(&[]) else { return };
    let store = Arc::new(connect(&server.url(), NAMESPACE).await);
    let (attempt, _, _) = claimed(&*store, task(1), LEASE * 100).await;
    server.kill();
    server.start_again_with(&["--requirepass", "hunter2"]);
    let shutdown = Shutdown::new();
    let retrying = retrying_store(&store, &shutdown);
    let record = tokio::spawn(async move { retrying.record(&run(), attempt, 0, b"paid".into()).await });
    locked_out(&store).await;
    assert!(!record.is_finished());
    let beginning = tokio::spawn({
        let retrying = retrying_store(&store, &shutdown);
        async move { retrying.claim(&run(), task(2), LEASE).await }
    });
    locked_out(&store).await;
    assert!(!beginning.is_finished());
    shutdown.drain();
    let error = beginning.await.unwrap().unwrap_err();
    assert_eq!(error.action(), ErrorAction::Retry, "{error}");
    locked_out(&store).await;
    assert!(!record.is_finished(), "a drain waits for what is in flight");
    shutdown.abort();
    let error = record.await.unwrap().unwrap_err();
    assert_eq!(error.action(), ErrorAction::Retry, "{error}");
}

fn retrying_store(store: &Arc<RedisStore>, shutdown: &Shutdown) -> RetryingStore {
    let waits = Metrics::new().waits(Service::Redis);
    RetryingStore::new(Arc::clone(store) as _, shutdown.clone(), waits)
}

/// A user with a password; where it finds the server.
fn user(server: &RedisServer) -> String {
    set(server, &["reset", "on", "allkeys", "allcommands"]);
    set(server, RIGHT);
    format!("redis://worker:swordfish@127.0.0.1:{}", server.port())
}

fn set(server: &RedisServer, rules: &[&str]) {
    server.ask(&[&["ACL", "SETUSER", "worker"], rules].concat());
}

/// Waits until the server has refused more than once: a call was repeated.
fn refused_often(server: &RedisServer, of: &str) {
    until("a refused call to be repeated", || {
        let told: String = redis::from_redis_value(server.ask(&["INFO", "errorstats"])).unwrap();
        let refused = told.split_once(of)?.1.split_once("count=")?.1.lines().next()?;
        (refused.trim().parse::<u32>().unwrap() > 1).then_some(())
    });
}

/// The store's own error while it is locked out. At first the store is only unreachable.
async fn locked_out(store: &RedisStore) -> StoreError {
    let told = async {
        loop {
            let error = store.probe().await.unwrap_err();
            assert_eq!(error.action(), ErrorAction::Retry, "{error}");
            if matches!(error, StoreError::LockedOut { .. }) {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(DEADLINE, told)
        .await
        .expect("it says that it is locked out");
    assert!(error.to_string().contains("answers in flight wait"), "{error}");
    error
}
