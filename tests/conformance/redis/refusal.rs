//! What is refused, when, and with which message.

use super::{NAMESPACE, connect, finish, is_unreachable, outcomes, refusal, server};
use crate::conformance::store::{LEASE, claimed, run, task};
use bsft::error_action::ErrorAction;
use bsft::store::{Claim, Position, Store, StoreError};

#[tokio::test]
async fn wrong_credentials_are_refused_and_redacted() {
    let Some(server) = server(&["--requirepass", "swordfish"]) else {
        return;
    };
    let host = format!("127.0.0.1:{}", server.port());
    for url in [
        format!("redis://{host}"),
        format!("redis://{host}/2"),
        format!("redis://:hunter2@{host}/2"),
        format!("redis://u:hunter2@{host}"),
    ] {
        let error = refusal(&url).await;
        assert!(matches!(error, StoreError::Refused { .. }), "{url}: {error}");
        assert_eq!(error.action(), ErrorAction::Halt);
        let told = format!("{error} {error:?}");
        assert!(
            told.contains(&host) && told.contains("URL") && !told.contains("hunter2"),
            "{told}"
        );
    }
    let store = connect(&format!("redis://:swordfish@{host}/2"), NAMESPACE).await;
    finish(&store, 1).await;
    assert!(!format!("{store:?}").contains("swordfish"));
}

#[tokio::test]
async fn unknown_database_number_is_an_error() {
    let Some(server) = server(&[]) else { return };
    let error = refusal(&format!("{}/99", server.url())).await;
    assert!(
        matches!(&error, StoreError::Misconfigured { message, .. } if message.contains("database number")),
        "{error}"
    );
}

#[tokio::test]
async fn evicting_redis_is_refused_with_the_setting_to_change() {
    let Some(server) = server(&["--maxmemory", "500mb", "--maxmemory-policy", "allkeys-lru"]) else {
        return;
    };
    let error = refusal(&server.url()).await;
    assert!(matches!(error, StoreError::Misconfigured { .. }), "{error}");
    assert!(
        error.to_string().contains("maxmemory-policy noeviction"),
        "{error}"
    );
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    connect(&server.url(), NAMESPACE).await;
}

#[tokio::test]
async fn replica_is_refused_at_connect() {
    let Some(server) = server(&["--replicaof", "127.0.0.1 1"]) else {
        return;
    };
    let error = refusal(&server.url()).await;
    assert!(
        matches!(&error, StoreError::Misconfigured { message, .. } if message.contains("replica")),
        "{error}"
    );
}

#[tokio::test]
async fn full_redis_memory_refuses_writes_and_allows_release_and_trim() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    finish(&store, 1).await;
    let (working, _, _) = claimed(&store, task(2), LEASE).await;
    let (leaving, _, _) = claimed(&store, task(3), LEASE).await;
    let stored = outcomes(&store).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(is_unreachable(&store.put_job(&run(), b"job").await));
    assert!(is_unreachable(&store.claim(&run(), task(4), LEASE).await));
    assert!(is_unreachable(
        &store.record(&run(), working, 0, b"paid".into()).await
    ));
    assert!(is_unreachable(
        &store.finish(&run(), working, b"outcome".into()).await
    ));
    assert!(is_unreachable(
        &store.import(&run(), task(5), vec![(0, b"known".into())]).await
    ));
    assert_eq!(outcomes(&store).await, stored);
    store.renew(&run(), working, LEASE).await.unwrap();
    store.release(&run(), leaving).await.unwrap();
    store.trim(&run(), &stored).await.unwrap();
    assert_eq!(outcomes(&store).await, []);
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    store.finish(&run(), working, b"outcome".into()).await.unwrap();
    assert_eq!(claimed(&store, task(4), LEASE).await.0.attempt.0, 1);
    assert_eq!(claimed(&store, task(5), LEASE).await.2, []);
    assert_eq!(store.claim(&run(), task(1), LEASE).await.unwrap(), Claim::Done);
}

#[tokio::test]
async fn keys_of_another_program_are_an_error() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    server.ask(&["SET", "bsft-test:v1:{run}:outcomes", "a string"]);
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    let error = store
        .finish(&run(), attempt, b"outcome".into())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::ForeignData { .. }) && error.to_string().contains("another namespace"),
        "{error}"
    );
    server.ask(&["DEL", "bsft-test:v1:{run}:outcomes"]);
    server.ask(&["XADD", "bsft-test:v1:{run}:outcomes", "1-7", "a", "b"]);
    let error = store
        .outcomes(&run(), Position::default(), 9, LEASE)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::ForeignData { .. }), "{error}");
}
