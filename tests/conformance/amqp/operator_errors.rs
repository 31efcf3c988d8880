//! Errors that an operator has to fix, and whether the message explains how.

use super::{Fresh, raw_channel};
use crate::conformance::broker::BrokerUnderTest as _;
use crate::support::ReservedPort;
use crate::support::rabbitmq::{self, RabbitMqServer};
use bsft::broker::BrokerError;
use bsft::broker::rabbitmq::RabbitMqBroker;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use std::net::TcpListener;
use url::Url;

async fn failure(url: &str) -> BrokerError {
    match RabbitMqBroker::connect(url, "refused").await {
        Ok(_) => panic!("{url} was connected to"),
        Err(e) => e,
    }
}

fn assert_contains(e: &BrokerError, texts: &[&str]) {
    let message = e.to_string();
    for text in texts {
        assert!(message.contains(text), "{text:?} is missing from {message:?}");
    }
    assert!(!message.contains("secret"), "{message}");
}

#[tokio::test]
async fn connect_to_a_closed_port_is_unreachable() {
    let reserved = ReservedPort::new();
    let port = reserved.number();
    let e = failure(&format!("amqp://me:secret@127.0.0.1:{port}")).await;
    assert!(matches!(e, BrokerError::Unreachable { .. }), "{e}");
    let url = format!("amqp://me@127.0.0.1:{port}/%2f");
    assert_contains(
        &e,
        &[
            &url,
            "Connection refused",
            "check that RabbitMQ runs there",
            "5671",
        ],
    );
}

#[tokio::test]
async fn connect_to_a_server_that_hangs_up_suggests_amqps() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://me:secret@{}", listener.local_addr().unwrap());
    let hangs_up = std::thread::spawn(move || listener.accept().map(drop));
    let e = failure(&url).await;
    hangs_up.join().unwrap().unwrap();
    assert!(matches!(e, BrokerError::Unreachable { .. }), "{e}");
    assert_contains(&e, &["check that RabbitMQ runs there", "amqps://"]);
}

#[tokio::test]
async fn wrong_password_and_missing_vhost_are_refused() {
    if !rabbitmq::installed() {
        return;
    }
    let url = rabbitmq::shared_url();
    let mut wrong = Url::parse(&url).unwrap();
    wrong.set_password(Some("wrong")).unwrap();
    let e = failure(wrong.as_str()).await;
    assert!(matches!(e, BrokerError::Refused { .. }), "{e}");
    let check = format!("check the user {:?} and its password", wrong.username());
    assert_contains(&e, &["ACCESS_REFUSED", &check]);
    let e = failure(&format!("{url}/no-such")).await;
    assert!(matches!(e, BrokerError::Refused { .. }), "{e}");
    assert_contains(
        &e,
        &[
            "/no-such",
            "check that the vhost \"no-such\" exists",
            "rabbitmqctl",
        ],
    );
}

#[tokio::test]
async fn amqps_on_a_plain_port_is_refused() {
    if !rabbitmq::installed() {
        return;
    }
    let url = rabbitmq::shared_url().replace("amqp:", "amqps:");
    let user = Url::parse(&url).unwrap().username().to_owned();
    let e = failure(&url).await;
    assert!(matches!(e, BrokerError::Refused { .. }), "{e}");
    assert_contains(&e, &[&format!("amqps://{user}@"), "5671"]);
}

#[tokio::test]
async fn connect_names_each_missing_permission() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    rabbitmq.ctl(&["add_user", "worker", "secret"]);
    let url = rabbitmq.url_of("worker", "secret");
    let e = failure(&url).await;
    assert!(matches!(e, BrokerError::Refused { .. }), "{e}");
    assert_contains(
        &e,
        &["the user \"worker\" may use it", "rabbitmqctl set_permissions"],
    );
    let (all, none) = (".*", "^$");
    for (permission, patterns) in [
        ("configure", [none, all, all]),
        ("write", [all, none, all]),
        ("read", [all, all, none]),
    ] {
        let [configure, write, read] = patterns;
        rabbitmq.ctl(&["set_permissions", "worker", configure, write, read]);
        let e = failure(&url).await;
        assert!(matches!(e, BrokerError::Refused { .. }), "{e}");
        assert_contains(&e, &["\"worker\"", &format!("needs the {permission} permission")]);
    }
    let ours = r"^bsft\..*$";
    rabbitmq.ctl(&["set_permissions", "worker", ours, r"^amq\.default$", ours]);
    RabbitMqBroker::connect(&url, "refused")
        .await
        .expect("what the messages ask for is enough");
}

#[tokio::test]
async fn queue_declared_with_other_arguments_is_refused() {
    if !Fresh::available() {
        return;
    }
    let url = rabbitmq::shared_url();
    let namespace = format!("test-{:016x}", fastrand::u64(..));
    let (_connection, channel) = raw_channel(&url).await;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let name = format!("bsft.{namespace}.v1.bootstrap");
    channel
        .queue_declare(name.as_str().into(), durable, FieldTable::default())
        .await
        .unwrap();
    let Err(e) = RabbitMqBroker::connect(&url, &namespace).await else {
        panic!("the queue was taken as it is")
    };
    assert!(matches!(e, BrokerError::Refused { .. }), "{e}");
    assert_contains(&e, &[&name, "other arguments", "another namespace"]);
}
