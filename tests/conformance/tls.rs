//! Broker and store over TLS, as operators have it: the authority of the servers' certificates is in the file that `SSL_CERT_FILE`
//! names. The setting is one of the process, so a test that trusts an authority runs in its own process.

use crate::conformance::broker::{all_broker_cases, at_most};
use crate::conformance::child_process::{InAChild, tests_of};
use crate::conformance::store::{LEASE, all_store_cases, claimed, run, task};
use crate::support::certificates::Certificates;
use crate::support::rabbitmq::{self, RabbitMqServer};
use crate::support::redis_server::{RedisServer, is_installed};
use bsft::broker::rabbitmq::RabbitMqBroker;
use bsft::broker::{Broker as _, BrokerError, Queue};
use bsft::store::redis::RedisStore;
use bsft::store::{Store as _, StoreError};
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

/// The longest that connecting may take to end, one way or the other.
const PATIENCE: Duration = Duration::from_secs(180);

/// The folder of the certificates that a child trusts; without it a test is not in a child yet.
const CERTIFICATES: &str = "BSFT_TEST_CERTIFICATES";

/// In the child: where its certificates are. Otherwise, `None` after it has passed in a child.
fn trusted(test: &str, certificates: impl FnOnce() -> Option<Certificates>) -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os(CERTIFICATES) {
        return Some(folder.into());
    }
    if let Some(certificates) = certificates() {
        InAChild::new()
            .trusting(&certificates.authority())
            .with(CERTIFICATES, certificates.dir().to_str().unwrap())
            .pass(&[test]);
    }
    None
}

#[test]
fn broker_works_over_tls() {
    let Some(certificates) = for_a_broker() else {
        return;
    };
    let rabbitmq = RabbitMqServer::start_with_tls(certificates.dir());
    InAChild::new()
        .trusting(&certificates.authority())
        .with(rabbitmq::SHARED, &rabbitmq.tls_url())
        .pass(&all_broker_cases! { tests_of! "conformance::amqp" });
}

#[test]
fn store_works_over_tls() {
    let Some(certificates) = for_redis() else { return };
    let server = RedisServer::start_with_tls(certificates.dir(), &[]);
    InAChild::new()
        .trusting(&certificates.authority())
        .with(crate::conformance::redis::SERVER, &server.tls_url())
        .pass(&all_store_cases! { tests_of! "conformance::redis" });
}

#[test]
fn store_on_a_cluster_works_over_tls() {
    let Some(certificates) = for_redis() else { return };
    let cluster = ["--cluster-enabled", "yes", "--tls-cluster", "yes"];
    let server = RedisServer::start_with_tls(
        certificates.dir(),
        &[&cluster[..], &["--appendfsync", "always"]].concat(),
    );
    server.become_cluster();
    InAChild::new()
        .trusting(&certificates.authority())
        .with(crate::conformance::redis::SERVER, &server.tls_url())
        .pass(&all_store_cases! { tests_of! "conformance::redis" });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broker_reconnects_over_tls_after_kill_9() {
    let test = "conformance::tls::broker_reconnects_over_tls_after_kill_9";
    let Some(certificates) = trusted(test, for_a_broker) else {
        return;
    };
    let mut rabbitmq = RabbitMqServer::start_with_tls(&certificates);
    let broker = RabbitMqBroker::connect(&rabbitmq.tls_url(), "killed")
        .await
        .unwrap();
    broker.publish(&Queue::Bootstrap, vec![vec![1]]).await.unwrap();
    let mut consumer = broker.consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    rabbitmq.kill_9();
    rabbitmq.start_again();
    let published = async {
        while let Err(e) = broker.publish(&Queue::Bootstrap, vec![vec![2]]).await {
            assert!(matches!(e, BrokerError::Unreachable { .. }), "{e}");
        }
    };
    timeout(PATIENCE, published)
        .await
        .expect("the broker is found again");
    for expected in [1, 2] {
        loop {
            let next = timeout(PATIENCE, consumer.next()).await;
            let delivery = next.expect("a delivery comes").unwrap().unwrap();
            let body = delivery.body.clone();
            // What a lost connection brought comes again.
            if delivery.ack().await.is_ok() && *body == [expected] {
                break;
            }
        }
    }
}

#[tokio::test]
async fn store_reconnects_over_tls_after_kill_9() {
    let test = "conformance::tls::store_reconnects_over_tls_after_kill_9";
    let Some(certificates) = trusted(test, for_redis) else {
        return;
    };
    let mut server = RedisServer::start_with_tls(&certificates, &["--appendfsync", "always"]);
    let store = RedisStore::connect(&server.tls_url(), "killed").await.unwrap();
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    server.kill();
    let lost = store
        .record(&run(), attempt, 0, b"paid".into())
        .await
        .unwrap_err();
    assert!(matches!(lost, StoreError::Unreachable { .. }), "{lost}");
    server.start_again();
    store.record(&run(), attempt, 0, b"paid".into()).await.unwrap();
}

/// Asserts that the error contains these texts and no password.
fn helps(error: &dyn std::error::Error, words: &[&str]) {
    let told = format!("{error} {error:?}");
    for word in words {
        assert!(told.contains(word), "{word:?} is missing from {told}");
    }
    assert!(!told.contains("hunter2"), "{told}");
}

async fn queue_error(url: &str) -> BrokerError {
    let connecting = RabbitMqBroker::connect(url, "tls");
    let ended = timeout(PATIENCE, connecting).await.expect("the attempt ends");
    ended.err().expect("the queue does not connect")
}

async fn store_error(url: &str) -> StoreError {
    let connecting = RedisStore::connect(url, "tls");
    let ended = timeout(PATIENCE, connecting).await.expect("the attempt ends");
    ended.expect_err("the store does not connect")
}

/// The URL with a password that must not be shown.
fn with_password(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap();
    let host = rest.split_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://guest:hunter2@{host}")
}

async fn a_broker_is_refused(url: &str, reason: &str) {
    let error = queue_error(&with_password(url)).await;
    assert!(matches!(error, BrokerError::Refused { .. }), "{error}");
    helps(&error, &[reason, "amqps://guest@", "SSL_CERT_FILE"]);
}

async fn a_redis_is_refused(url: &str, reason: &str) {
    let error = store_error(&with_password(url)).await;
    assert!(matches!(error, StoreError::Misconfigured { .. }), "{error}");
    helps(&error, &[reason, "rediss://guest@", "SSL_CERT_FILE"]);
}

#[tokio::test]
async fn certificate_of_an_unknown_authority_is_refused() {
    if let Some(certificates) = for_a_broker() {
        let rabbitmq = RabbitMqServer::start_with_tls(certificates.dir());
        a_broker_is_refused(&rabbitmq.tls_url(), "UnknownIssuer").await;
    }
    if let Some(certificates) = for_redis() {
        let server = RedisServer::start_with_tls(certificates.dir(), &[]);
        a_redis_is_refused(&server.tls_url(), "UnknownIssuer").await;
    }
}

#[tokio::test]
async fn certificate_for_another_host_is_refused() {
    let test = "conformance::tls::certificate_for_another_host_is_refused";
    let elsewhere = || {
        let there = rabbitmq::installed() && is_installed();
        there.then(|| Certificates::made_for("DNS:elsewhere.example"))?
    };
    let Some(certificates) = trusted(test, elsewhere) else {
        return;
    };
    let rabbitmq = RabbitMqServer::start_with_tls(&certificates);
    a_broker_is_refused(&rabbitmq.tls_url(), "elsewhere.example").await;
    let server = RedisServer::start_with_tls(&certificates, &[]);
    a_redis_is_refused(&server.tls_url(), "elsewhere.example").await;
}

#[tokio::test]
async fn unreadable_ssl_cert_file_is_named() {
    let test = "conformance::tls::unreadable_ssl_cert_file_is_named";
    let Some(certificates) = trusted(test, for_redis) else {
        return;
    };
    std::fs::remove_file(certificates.join("authority.pem")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rediss://127.0.0.1:{}", listener.local_addr().unwrap().port());
    helps(&store_error(&url).await, &["authority.pem", "SSL_CERT_FILE"]);
}

#[tokio::test]
async fn tls_auth_clients_is_named() {
    let test = "conformance::tls::tls_auth_clients_is_named";
    let Some(certificates) = trusted(test, for_redis) else {
        return;
    };
    let server = RedisServer::start_with_tls(&certificates, &["--tls-auth-clients", "yes"]);
    let error = store_error(&server.tls_url()).await;
    helps(&error, &["tls-auth-clients"]);
}

#[tokio::test]
async fn mixed_up_plain_and_tls_ports_are_reported() {
    if let Some(certificates) = for_a_broker() {
        let rabbitmq = RabbitMqServer::start_with_tls(certificates.dir());
        let plain = with_password(&rabbitmq.tls_url()).replace("amqps:", "amqp:");
        helps(&queue_error(&plain).await, &["needs amqps://"]);
        a_broker_is_refused(&rabbitmq.url().replace("amqp:", "amqps:"), "uses TLS").await;
    }
    if let Some(certificates) = for_redis() {
        let server = RedisServer::start_with_tls(certificates.dir(), &[]);
        let plain = with_password(&server.tls_url()).replace("rediss:", "redis:");
        helps(&store_error(&plain).await, &["requires TLS (rediss://)"]);
        let tls = with_password(&server.url()).replace("redis:", "rediss:");
        helps(&store_error(&tls).await, &["uses TLS"]);
    }
}

#[tokio::test]
async fn connect_to_a_silent_port_times_out() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = format!("guest:hunter2@{}", mute.local_addr().unwrap());
    let urls = ["amqp", "amqps", "redis", "rediss"].map(|scheme| format!("{scheme}://{host}"));
    let (amqp, amqps, redis, rediss) = tokio::join!(
        queue_error(&urls[0]),
        queue_error(&urls[1]),
        store_error(&urls[2]),
        store_error(&urls[3]),
    );
    for (error, scheme) in [(amqp, "amqp"), (amqps, "amqps")] {
        assert!(matches!(error, BrokerError::Unreachable { .. }), "{error}");
        helps(&error, &[scheme]);
    }
    for (error, scheme) in [(redis, "redis"), (rediss, "rediss")] {
        assert!(matches!(error, StoreError::Unreachable { .. }), "{error}");
        helps(&error, &[scheme]);
    }
}

fn for_a_broker() -> Option<Certificates> {
    rabbitmq::installed().then(Certificates::made)?
}

fn for_redis() -> Option<Certificates> {
    is_installed().then(Certificates::made)?
}
