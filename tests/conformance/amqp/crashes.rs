//! Brokers and workers that are killed with signal 9.

use super::{Fresh, PATIENCE, at_most, number, numbered, publish, take, take_all};
use crate::conformance::broker::BrokerUnderTest as _;
use crate::support::rabbitmq::{self, RabbitMqServer};
use crate::support::{freeze, thaw};
use bsft::broker::rabbitmq::RabbitMqBroker;
use bsft::broker::{Broker as _, BrokerError, Queue};
use bsft::task::RunId;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::{Instant, timeout};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_rabbitmq_keeps_unacked_messages_and_forgets_acked_ones() {
    if !rabbitmq::installed() {
        return;
    }
    let mut rabbitmq = RabbitMqServer::start("[].");
    let t = Fresh::on(rabbitmq.url()).await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..300)).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(40)).await.unwrap();
    let mut done = BTreeSet::new();
    for _ in 0..100 {
        let delivery = take(&mut consumer).await;
        done.insert(number(&delivery.body));
        delivery.ack().await.unwrap();
    }
    let held = take(&mut consumer).await;
    // Handed on after the acks, and the broker's disk has it when this returns: so it has the acks.
    rabbitmq.until_ctl_says(&["list_queues", "messages"], "200");
    publish(&t.broker, &Queue::Bootstrap, numbered(300..301)).await;
    rabbitmq.kill_9();
    let broker = t.broker.clone();
    let meanwhile =
        tokio::spawn(async move { publish(&broker, &Queue::Bootstrap, numbered(301..400)).await });
    rabbitmq.start_again();
    meanwhile.await.unwrap();
    let mut missing: BTreeSet<u32> = (0..400).filter(|n| !done.contains(n)).collect();
    while !missing.is_empty() {
        let delivery = take(&mut consumer).await;
        let number = number(&delivery.body);
        assert!(!done.contains(&number), "{number} came back after its ack");
        delivery.ack().await.unwrap();
        missing.remove(&number);
    }
    assert!(held.ack().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn young_queue_of_a_killed_rabbitmq_is_replaced() {
    if !rabbitmq::installed() {
        return;
    }
    let mut rabbitmq = RabbitMqServer::start("[].");
    let t = Fresh::on(rabbitmq.url()).await;
    let mut number = 0;
    let queue = loop {
        let queue = Queue::Completions(RunId(format!("new {number}")));
        number += 1;
        let began = Instant::now();
        let early = {
            let (broker, queue) = (t.broker.clone(), queue.clone());
            tokio::spawn(async move { broker.publish(&queue, numbered(0..20)).await })
        };
        // All are with the broker.
        let ready = async { while t.broker.depth(&queue).await.ok() != Some(20) {} };
        timeout(PATIENCE, ready).await.expect("they are published");
        rabbitmq.kill_9();
        let is_young = began.elapsed() < SAFE_AGE;
        let early = early.await.unwrap();
        rabbitmq.start_again();
        if is_young {
            assert!(early.is_err(), "what the hole can swallow is not called safe");
            break queue;
        }
        // The machine was too slow for this queue to show anything.
    };
    let mut consumer = loop {
        match t.broker.consume(&queue, at_most(9)).await {
            Err(BrokerError::Unreachable { .. }) => {}
            consumer => break consumer.unwrap(),
        }
    };
    // The process that replaces it must not drop what others have published to the new one.
    let other = RabbitMqBroker::connect(&t.url, &t.namespace).await.unwrap();
    tokio::join!(
        publish(&t.broker, &queue, numbered(0..20)),
        publish(&other, &queue, numbered(20..40)),
        publish(&other, &queue, numbered(40..60)),
    );
    take_all(&mut consumer, 0..60).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_rabbitmq_is_noticed_and_reconnected() {
    if !rabbitmq::installed() {
        return;
    }
    let rabbitmq = RabbitMqServer::start("[].");
    let t = Fresh::on(rabbitmq.url()).await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..2)).await;
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    let held = take(&mut consumer).await;
    freeze(rabbitmq.pid());
    let frozen = t.broker.publish(&Queue::Bootstrap, numbered(2..3)).await;
    assert!(
        matches!(frozen, Err(BrokerError::Unreachable { .. })),
        "{frozen:?}"
    );
    // By its heartbeat the consuming connection finds out, too.
    let expired = timeout(PATIENCE, async {
        while t.broker.depth(&Queue::Bootstrap).await.is_ok() {}
    });
    expired.await.expect("the connection breaks");
    thaw(rabbitmq.pid());
    publish(&t.broker, &Queue::Bootstrap, numbered(3..4)).await;
    take_all(&mut consumer, 0..2).await;
    take_all(&mut consumer, 3..4).await;
    drop(held);
}

/// The age from which a queue keeps its messages, as `broker/rabbitmq/topology.rs` has it.
const SAFE_AGE: Duration = Duration::from_secs(2);

/// Names the broker and the namespace to the child of the next test; without it the child has nothing to do.
const CHILD: &str = "BSFT_TEST_AMQP_CHILD";
const HOARDED: u32 = 20;
const DEATHS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_holds_deliveries_until_it_is_killed() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let (url, namespace) = child.split_once(' ').unwrap();
    let broker = RabbitMqBroker::connect(url, namespace).await.unwrap();
    let mut consumer = broker
        .consume(&Queue::Bootstrap, at_most(HOARDED as usize))
        .await
        .unwrap();
    let mut hoard = Vec::new();
    while hoard.len() < HOARDED as usize {
        hoard.push(take(&mut consumer).await);
    }
    writeln!(std::io::stdout().lock(), "hoarded").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn worker_killed_thirty_times_loses_no_prefetched_message() {
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..HOARDED)).await;
    for _ in 0..DEATHS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "conformance::amqp::crashes::child_holds_deliveries_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD, format!("{} {}", t.url, t.namespace))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let hoarded = stdout
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("hoarded"));
        assert!(hoarded, "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let mut consumer = t.broker.consume(&Queue::Bootstrap, at_most(5)).await.unwrap();
    let taken = take_all(&mut consumer, 0..HOARDED).await;
    assert!(taken.iter().all(|(_, redelivered)| *redelivered));
    assert!(t.dead_letters(&Queue::Bootstrap, 0).await.is_empty());
}
