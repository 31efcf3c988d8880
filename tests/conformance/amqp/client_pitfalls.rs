//! Pitfalls of RabbitMQ and its client, which the broker has to handle.

use super::{Fresh, at_most, number, numbered, publish, raw_channel, take, take_all};
use crate::conformance::broker::{BrokerUnderTest, until_depth};
use crate::support::rabbitmq::{self, RabbitMqServer};
use bsft::broker::rabbitmq::RabbitMqBroker;
use bsft::broker::{Broker as _, BrokerError, Disposition, Queue};
use lapin::options::QueueDeleteOptions;
use std::time::Duration;

async fn delete(t: &Fresh, broker: &str) {
    let (_connection, channel) = raw_channel(&t.url).await;
    channel
        .queue_delete(t.name(broker).as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unroutable_messages_are_published_again() {
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    t.broker.publish(&Queue::Bootstrap, numbered(0..1)).await.unwrap();
    delete(&t, "bootstrap").await;
    t.broker
        .publish(&Queue::Bootstrap, numbered(0..700))
        .await
        .unwrap();
    until_depth(&t.broker, &Queue::Bootstrap, 700).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(50)).await.unwrap();
    take_all(&mut consumer, 0..700).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumer_survives_a_deleted_queue() {
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    let mut consumer = t.broker.consume(&Queue::Finetune, at_most(5)).await.unwrap();
    publish(&t.broker, &Queue::Finetune, numbered(0..1)).await;
    take_all(&mut consumer, 0..1).await;
    delete(&t, "finetune").await;
    publish(&t.broker, &Queue::Finetune, numbered(1..2)).await;
    take_all(&mut consumer, 1..2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn depth_needs_no_queue() {
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    let queue = Queue::Completions(bsft::task::RunId("never used".to_owned()));
    assert_eq!(t.broker.depth(&queue).await.unwrap(), 0);
    t.broker.publish(&queue, numbered(0..3)).await.unwrap();
    until_depth(&t.broker, &queue, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nack_after_is_not_bound_by_the_delivery_limit() {
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    t.broker.publish(&Queue::Finetune, numbered(0..1)).await.unwrap();
    let mut consumer = t.broker.consume(&Queue::Finetune, at_most(1)).await.unwrap();
    let after = Duration::from_millis(1);
    for _ in 0..150 {
        take(&mut consumer).await.nack_after(after).await.unwrap();
    }
    let delivery = take(&mut consumer).await;
    assert!(delivery.redelivered);
    delivery.ack().await.unwrap();
    assert!(t.dead_letters(&Queue::Finetune, 0).await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ack_after_a_lost_connection_reports_an_expired_receipt() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    let t = Fresh::on(rabbitmq.url()).await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..4)).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(4)).await.unwrap();
    let mut stale = Vec::new();
    for _ in 0..3 {
        stale.push(take(&mut consumer).await);
    }
    rabbitmq.ctl(&["close_all_connections", "a test"]);
    // The fourth may have arrived on the first connection, and does not depend on the second one.
    let mut again = take(&mut consumer).await;
    while !again.redelivered {
        again = take(&mut consumer).await;
    }
    let after = Duration::from_secs(1);
    for disposition in [
        Disposition::Ack,
        Disposition::Reject,
        Disposition::Requeue { after },
    ] {
        let resolved = stale.remove(0).resolve(disposition).await;
        assert!(
            matches!(resolved, Err(BrokerError::ReceiptExpired)),
            "{resolved:?}"
        );
    }
    let mut missing: std::collections::BTreeSet<u32> = (0..4).collect();
    loop {
        missing.remove(&number(&again.body));
        again.ack().await.unwrap();
        if missing.is_empty() {
            break;
        }
        again = take(&mut consumer).await;
    }
    publish(&t.broker, &Queue::Bootstrap, numbered(4..5)).await;
    take_all(&mut consumer, 4..5).await;
}

/// Closes the channel of a consumer that sits on a delivery for 4 s, and leaves its connection alone.
const IMPATIENT: &str = "[{rabbit, [{channel_tick_interval, 1000}, {consumer_timeout, 4000}]}].";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consumer_survives_a_channel_error() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start(IMPATIENT);
    let t = Fresh::on(rabbitmq.url()).await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..1)).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    let mut other = t.broker.consume(&Queue::Finetune, at_most(1)).await.unwrap();
    let held = take(&mut consumer).await;
    // The prefetch is used up: only the end of the channel brings it again.
    let mut again = take(&mut consumer).await;
    assert!(again.redelivered);
    let late = held.ack().await;
    assert!(matches!(late, Err(BrokerError::ReceiptExpired)), "{late:?}");
    // On a slow machine this one may have been sat on for too long as well.
    while let Err(BrokerError::ReceiptExpired) = again.ack().await {
        again = take(&mut consumer).await;
    }
    publish(&t.broker, &Queue::Finetune, numbered(7..8)).await;
    let taken = take_all(&mut other, 7..8).await;
    assert_eq!(taken, [(7, false)], "the other queue is unaffected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publish_waits_and_consume_continues_while_rabbitmq_lacks_memory() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    let t = Fresh::on(rabbitmq.url()).await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..3)).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(2)).await.unwrap();
    let (one, two) = (take(&mut consumer).await, take(&mut consumer).await);
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
    let broker = t.broker.clone();
    let waiting = tokio::spawn(async move { broker.publish(&Queue::Finetune, numbered(5..6)).await });
    rabbitmq.until_ctl_says(&["list_connections", "state"], "blocked");
    // A new connection is accepted: only a consumer frees memory.
    let late = RabbitMqBroker::connect(&t.url, &t.namespace).await.unwrap();
    until_depth(&late, &Queue::Bootstrap, 1).await;
    let mut theirs = late.consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    take_all(&mut theirs, 2..3).await;
    one.ack().await.unwrap();
    two.ack().await.unwrap();
    assert!(!waiting.is_finished());
    rabbitmq.ctl(&["set_vm_memory_high_watermark", "absolute", "1GB"]);
    waiting.await.unwrap().unwrap();
    let mut finetune = t.broker.consume(&Queue::Finetune, at_most(1)).await.unwrap();
    take_all(&mut finetune, 5..6).await;
}
