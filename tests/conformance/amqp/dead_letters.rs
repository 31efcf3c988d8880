//! The policy by which dead letters end, as in the operators' notes.

use super::{Fresh, LOOK_EVERY, PATIENCE, numbered, publish, take};
use crate::conformance::broker::at_most;
use crate::support::documented_rights::dead_letter_policy;
use crate::support::rabbitmq::{self, RabbitMqServer};
use bsft::broker::{Broker as _, Queue};
use tokio::time::{sleep, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documented_policy_ends_dead_letters_and_no_other_message() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    let t = Fresh::on(rabbitmq.url()).await;
    let mut policy = dead_letter_policy();
    let definition = policy.last_mut().unwrap();
    assert!(definition.contains("2592000000"), "{definition}");
    *definition = definition.replace("2592000000", "1");
    let policy: Vec<&str> = policy.iter().map(String::as_str).collect();
    rabbitmq.ctl(&policy);
    publish(&t.broker, &Queue::Bootstrap, numbered(0..2)).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    take(&mut consumer).await.reject().await.unwrap();
    drop(consumer);
    // The rejected message leaves its queue when it has become a dead letter.
    let left = format!("{}\t1", t.name("bootstrap"));
    rabbitmq.until_ctl_says(&["list_queues", "name", "messages"], &left);
    let ended = async {
        while t.broker.dead_letter_count(&Queue::Bootstrap).await.unwrap() > 0 {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the dead letter ends");
    assert!(rabbitmq.ctl(&["list_queues", "name", "messages"]).contains(&left));
}
