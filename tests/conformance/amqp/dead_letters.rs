//! The policy by which dead letters end, as in the operators' notes.

use super::{Fresh, PATIENCE, numbered, publish, take};
use crate::conformance::broker::at_most;
use crate::support::documented_rights::dead_letter_policy;
use crate::support::rabbitmq::{self, RabbitMqServer};
use bsft::broker::{Broker as _, Queue};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documented_policy_ends_dead_letters_and_no_other_message() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    let t = Fresh::on(rabbitmq.url()).await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..2)).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    take(&mut consumer).await.reject().await.unwrap();
    let until_dead = async |letters: usize| {
        let come = async { while t.broker.dead_letter_count(&Queue::Bootstrap).await.unwrap() != letters {} };
        timeout(PATIENCE, come).await.expect("they come and go");
    };
    until_dead(1).await;
    drop(consumer);
    let mut policy = dead_letter_policy();
    let definition = policy.last_mut().unwrap();
    assert!(definition.contains("2592000000"), "{definition}");
    *definition = definition.replace("2592000000", "1");
    let policy: Vec<&str> = policy.iter().map(String::as_str).collect();
    rabbitmq.ctl(&policy);
    until_dead(0).await;
    rabbitmq.until_ctl_says(
        &["list_queues", "name", "messages"],
        &format!("{}\t1", t.name("bootstrap")),
    );
}
