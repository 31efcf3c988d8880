//! Users with the rights that broker and store need and no others, created as in `docs/operations/servers.md`.

use crate::conformance::broker::all_broker_cases;
use crate::conformance::child_process::{InAChild, tests_of};
use crate::conformance::redis;
use crate::conformance::store::all_store_cases;
use crate::support::rabbitmq::{self, RabbitMqServer};
use crate::support::redis_server::{RedisServer, is_installed};
use bsft::store::StoreError;
use bsft::store::redis::{CLUSTER_RIGHTS, RIGHTS, RedisStore, StoreUser};

#[test]
fn broker_works_with_the_least_rights() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    InAChild::new()
        .with(rabbitmq::SHARED, &rabbitmq.admit_users())
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
    let mut needed = 0;
    for user in [StoreUser::Both, StoreUser::Coordinator, StoreUser::Worker] {
        let rights = user.rights();
        needed += rights.matches('+').count() - 1;
        RedisStore::connect_as(user, &worker(&server, rights), redis::NAMESPACE)
            .await
            .expect("the rights of the list are enough");
        assert_eq!(redis::keys(&server), [""; 0], "left by a start as {user:?}");
        for (without, right) in without_each(rights) {
            let url = worker(&server, &without);
            match RedisStore::connect_as(user, &url, redis::NAMESPACE).await {
                // Without it the server cannot be looked at, and the store works.
                Ok(_) => assert_eq!(right, "info"),
                Err(error) => {
                    is_named(&error, right);
                    refused += 1;
                }
            }
            assert_eq!(redis::keys(&server), [""; 0], "left by a start without {right}");
        }
    }
    assert_eq!(refused, needed);

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

#[tokio::test]
async fn worker_cannot_write_what_only_a_coordinator_writes() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let url = worker(&server, StoreUser::Worker.rights());
    let client = redis_client(&url);
    let mut connection = client.get_connection().unwrap();
    let mut refused = |command: &[&str]| {
        let mut request = ::redis::cmd(command[0]);
        let reply: ::redis::RedisResult<::redis::Value> = request.arg(&command[1..]).query(&mut connection);
        let error = reply.expect_err("it was allowed");
        assert_eq!(error.code(), Some("NOPERM"), "{command:?}: {error}");
    };
    let key = |name: &str| format!("{}:v1:{{run}}:{name}", redis::NAMESPACE);
    for name in ["job", "cancelled", "file:00ff", "file:00ff:0", "leader", "report"] {
        refused(&["SET", &key(name), "forged"]);
        refused(&["EXPIRE", &key(name), "1"]);
        refused(&["DEL", &key(name)]);
        refused(&[
            "EVAL",
            "return redis.call('SET', KEYS[1], 'forged')",
            "1",
            &key(name),
        ]);
    }
    for name in ["leader", "report"] {
        refused(&["GET", &key(name)]);
    }
    refused(&["XDEL", &key("outcomes"), "1-0"]);
    refused(&["HSET", &format!("{}:v1:runs", redis::NAMESPACE), "run", "1"]);
    refused(&["SCAN", "0"]);
    refused(&["KEYS", "*"]);
    refused(&["FLUSHALL"]);
}

#[tokio::test]
async fn coordinator_cannot_write_outcomes() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let url = worker(&server, StoreUser::Coordinator.rights());
    let key = format!("{}:v1:{{run}}:outcomes", redis::NAMESPACE);
    let mut connection = redis_client(&url).get_connection().unwrap();
    let mut request = ::redis::cmd("XADD");
    let reply: ::redis::RedisResult<String> = request
        .arg(&[&key, "1-0", "t", "task", "o", "outcome"])
        .query(&mut connection);
    assert_eq!(reply.expect_err("it was allowed").code(), Some("NOPERM"));
}

fn redis_client(url: &str) -> ::redis::Client {
    ::redis::Client::open(url).unwrap()
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
