//! Users with the rights that broker and store need and no others, created as in `docs/operations/servers.md`.

use crate::conformance::broker::all_broker_cases;
use crate::conformance::child_process::{InAChild, tests_of};
use crate::conformance::redis;
use crate::conformance::store::all_store_cases;
use crate::support::rabbitmq::{self, RabbitMqServer};
use crate::support::redis_server::{RedisServer, is_installed};
use bsft::store::StoreError;
use bsft::store::redis::{CLUSTER_RIGHTS, RIGHTS, RedisStore};

#[test]
fn broker_works_with_the_least_rights() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    InAChild::new()
        .with(rabbitmq::SHARED, &rabbitmq.admit_worker())
        .pass(&all_broker_cases! { tests_of! "conformance::amqp" });
}

#[test]
fn store_works_with_the_least_rights() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    InAChild::new()
        .with(redis::SERVER, &worker(&server, RIGHTS))
        .pass(&all_store_cases! { tests_of! "conformance::redis" });
}

#[test]
fn store_on_a_cluster_works_with_the_least_rights() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start_cluster();
    InAChild::new()
        .with(
            redis::SERVER,
            &worker(&server, &format!("{RIGHTS} {CLUSTER_RIGHTS}")),
        )
        .pass(&all_store_cases! { tests_of! "conformance::redis" });
}

#[tokio::test]
async fn connect_names_each_missing_right() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    // The server gets to know the steps: what it knows need not be sent in full.
    redis::connect(&server.url(), "warm").await;
    let mut refused = 0;
    for (without, right) in without_each(RIGHTS) {
        let url = worker(&server, &without);
        match RedisStore::connect(&url, redis::NAMESPACE).await {
            // Without it the server cannot be looked at, and the store works.
            Ok(_) => assert_eq!(right, "info"),
            Err(error) => {
                is_named(&error, right);
                refused += 1;
            }
        }
        assert_eq!(redis::keys(&server), [""; 0], "left by a start without {right}");
    }
    assert_eq!(refused, RIGHTS.matches('+').count() - 1);

    let error = redis::refusal(&worker(&server, &RIGHTS.replace("~NAMESPACE:*", "~other:*"))).await;
    is_named(&error, "key");
    // As they can be given.
    let rights = RIGHTS.replace("NAMESPACE", redis::NAMESPACE);
    assert!(error.to_string().contains(&rights), "{error}");
}

#[tokio::test]
async fn connect_to_a_cluster_names_each_missing_right() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start_cluster();
    for (without, right) in without_each(CLUSTER_RIGHTS) {
        let error = redis::refusal(&worker(&server, &format!("{RIGHTS} {without}"))).await;
        is_named(&error, right);
    }
}

/// The rights without each of the commands, and the command.
fn without_each(rights: &str) -> impl Iterator<Item = (String, &str)> {
    rights.split(' ').filter_map(move |right| {
        let without: Vec<&str> = rights.split(' ').filter(|other| *other != right).collect();
        Some((without.join(" "), right.strip_prefix('+')?))
    })
}

fn is_named(error: &StoreError, right: &str) {
    assert!(matches!(error, StoreError::Refused { .. }), "{right}: {error}");
    let told = error.to_string().to_lowercase();
    let (said, _all) = told.split_once("the user needs").unwrap();
    assert!(said.contains(right), "{right}: {said}");
    assert!(!told.contains("hunter2"), "{told}");
}

/// Gives a user these rights and no others; where it finds the server.
fn worker(server: &RedisServer, rights: &str) -> String {
    let rights = rights.replace("NAMESPACE", redis::NAMESPACE);
    let rules = ["reset", "on", ">hunter2"].into_iter().chain(rights.split(' '));
    let command: Vec<&str> = ["ACL", "SETUSER", "worker"].into_iter().chain(rules).collect();
    server.ask(&command);
    format!("redis://worker:hunter2@127.0.0.1:{}", server.port())
}
