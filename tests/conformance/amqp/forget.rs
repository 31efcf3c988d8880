//! Forgetting the messages of a run beside those of others.

use super::{Fresh, LOOK_EVERY, PATIENCE, numbered, publish, raw_channel, take};
use crate::conformance::broker::{BrokerUnderTest as _, at_most};
use bsft::broker::rabbitmq::{RabbitMqBroker, RemovedMessages};
use bsft::broker::{Broker as _, Queue};
use bsft::task::RunId;
use lapin::options::BasicGetOptions;
use lapin::types::AMQPValue;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Messages with odd numbers are those of the run.
fn is_odd(body: &[u8]) -> bool {
    body.last().is_some_and(|byte| byte % 2 == 1)
}

fn run() -> RunId {
    RunId("odd".to_owned())
}

fn even(range: std::ops::Range<u32>) -> Vec<Vec<u8>> {
    numbered(range).into_iter().filter(|body| !is_odd(body)).collect()
}

/// Consumes so many messages, and returns them in order.
async fn bodies(broker: &RabbitMqBroker, queue: &Queue, messages: usize) -> Vec<Vec<u8>> {
    let mut consumer = broker.consume(queue, at_most(1)).await.unwrap();
    let mut bodies = Vec::new();
    while bodies.len() < messages {
        let mut delivery = take(&mut consumer).await;
        bodies.push(std::mem::take(&mut delivery.body));
        delivery.ack().await.unwrap();
    }
    bodies
}

/// Takes each of the messages and returns it in this way.
async fn each(broker: &RabbitMqBroker, queue: &Queue, messages: usize, dead: bool) {
    let mut consumer = broker.consume(queue, at_most(messages)).await.unwrap();
    for _ in 0..messages {
        let delivery = take(&mut consumer).await;
        let returned = if dead {
            delivery.reject().await
        } else {
            delivery.nack_after(Duration::from_secs(1_000)).await
        };
        returned.unwrap();
    }
}

/// Waits until RabbitMQ has moved or taken back what makes so many.
async fn until_depth(broker: &RabbitMqBroker, queue: &Queue, messages: usize) {
    let come = async {
        while broker.depth(queue).await.unwrap() != messages {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, come).await.expect("they come");
}

async fn until_dead(broker: &RabbitMqBroker, queue: &Queue, messages: usize) {
    let come = async {
        while broker.dead_letter_count(queue).await.unwrap() != messages {
            sleep(LOOK_EVERY).await;
        }
    };
    timeout(PATIENCE, come).await.expect("they come");
}

/// Takes so many messages out of a queue of that name, each with the number of its earlier deliveries.
async fn drained(url: &str, name: &str, messages: usize) -> Vec<(Vec<u8>, i64)> {
    let (_connection, channel) = raw_channel(url).await;
    let mut taken = Vec::new();
    while taken.len() < messages {
        let got = channel.basic_get(name.into(), BasicGetOptions { no_ack: true });
        let Some(message) = got.await.unwrap() else {
            continue;
        };
        let headers = message.delivery.properties.headers().as_ref();
        let times = headers.and_then(|headers| headers.inner().get("x-delivery-count"));
        let times = match times {
            Some(AMQPValue::LongLongInt(times)) => *times,
            None => 0,
            other => panic!("{other:?}"),
        };
        taken.push((message.delivery.data.clone(), times));
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forget_takes_a_run_out_of_every_queue_and_keeps_the_others_in_order() {
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    for queue in [Queue::Bootstrap, Queue::Finetune] {
        publish(&t.broker, &queue, numbered(0..10)).await;
        each(&t.broker, &queue, 10, false).await;
        publish(&t.broker, &queue, numbered(10..20)).await;
        each(&t.broker, &queue, 10, true).await;
        until_dead(&t.broker, &queue, 10).await;
        publish(&t.broker, &queue, numbered(20..300)).await;
    }
    for id in ["odd", "even"] {
        let completions = Queue::Completions(RunId(id.to_owned()));
        publish(&t.broker, &completions, numbered(0..7)).await;
    }
    let removed = t.broker.forget(&run(), is_odd).await.unwrap();
    let expected = RemovedMessages {
        waiting: 2 * (5 + 140) + 7,
        dead_letters: 2 * 5,
    };
    assert_eq!(removed, expected);
    for queue in [Queue::Bootstrap, Queue::Finetune] {
        until_depth(&t.broker, &queue, 140).await;
        assert_eq!(bodies(&t.broker, &queue, 140).await, even(20..300));
        assert_eq!(t.dead_letters(&queue, 5).await, even(10..20));
    }
    for wait in ["wait.bootstrap.1048576ms", "wait.finetune.1048576ms"] {
        let waiting = drained(&t.url, &t.name(wait), 5).await;
        let waiting: Vec<Vec<u8>> = waiting.into_iter().map(|(body, _)| body).collect();
        assert_eq!(waiting, even(0..10));
    }
    let kept = Queue::Completions(RunId("even".to_owned()));
    assert_eq!(t.broker.depth(&kept).await.unwrap(), 7);
    assert_eq!(
        t.broker.forget(&run(), is_odd).await.unwrap(),
        RemovedMessages::default()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forget_takes_more_messages_than_one_consumer_may_hold() {
    const MESSAGES: u32 = 70_000;
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    // The first and the last message are those of the run.
    let ours = b"ours".to_vec();
    let all = [vec![ours.clone()], numbered(0..MESSAGES), vec![ours.clone()]].concat();
    publish(&t.broker, &Queue::Bootstrap, all).await;
    let removed = t.broker.forget(&run(), |body| body == ours).await.unwrap();
    assert_eq!(removed.waiting, 2);
    until_depth(&t.broker, &Queue::Bootstrap, MESSAGES as usize).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forget_as_often_as_one_likes_wears_no_message_out() {
    const TIMES: usize = 25;
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..20)).await;
    each(&t.broker, &Queue::Bootstrap, 10, true).await;
    for _ in 0..TIMES {
        until_depth(&t.broker, &Queue::Bootstrap, 10).await;
        until_dead(&t.broker, &Queue::Bootstrap, 10).await;
        let removed = t.broker.forget(&run(), |_| false).await.unwrap();
        assert_eq!(removed, RemovedMessages::default());
    }
    for (queue, expected) in [
        ("bootstrap", numbered(10..20)),
        ("dead.bootstrap", numbered(0..10)),
    ] {
        let mut left = drained(&t.url, &t.name(queue), 10).await;
        // RabbitMQ 4 drops a dead letter that was delivered twenty times.
        assert!(left.iter().all(|(_, times)| *times < 20), "{left:?}");
        left.sort();
        let left: Vec<Vec<u8>> = left.into_iter().map(|(body, _)| body).collect();
        assert_eq!(left, expected, "{queue}");
    }
}

/// Names the broker and the namespace to the child of the next test.
const CHILD: &str = "BSFT_TEST_AMQP_FORGET_CHILD";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_forgets_until_it_is_killed() {
    let Ok(child) = std::env::var(CHILD) else { return };
    let mut parts = child.split(' ');
    let mut next = || parts.next().unwrap();
    let (url, namespace, until) = (next(), next(), next().parse::<usize>().unwrap());
    let broker = RabbitMqBroker::connect(url, namespace).await.unwrap();
    let seen = std::cell::Cell::new(0);
    let is_of_run = |body: &[u8]| {
        seen.set(seen.get() + 1);
        if seen.get() == until {
            writeln!(std::io::stdout().lock(), "in the middle").unwrap();
            // For ever, as far as this process is concerned.
            loop {
                std::thread::park();
            }
        }
        is_odd(body)
    };
    let _ = broker.forget(&run(), is_of_run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forget_killed_in_the_middle_loses_no_message_of_another_run() {
    const MESSAGES: u32 = 200;
    if !Fresh::available() {
        return;
    }
    let t = Fresh::start().await;
    publish(&t.broker, &Queue::Bootstrap, numbered(0..MESSAGES)).await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..5 {
        let until = random.usize(1..=MESSAGES as usize / 2);
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "conformance::amqp::forget::child_forgets_until_it_is_killed",
                "--nocapture",
            ])
            .env(CHILD, format!("{} {} {until}", t.url, t.namespace))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let is_in_the_middle = stdout
            .lines()
            .map_while(Result::ok)
            .any(|line| line.contains("in the middle"));
        assert!(is_in_the_middle, "the child ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let returned =
            async { while t.broker.depth(&Queue::Bootstrap).await.unwrap() < MESSAGES as usize / 2 {} };
        timeout(PATIENCE, returned)
            .await
            .expect("RabbitMQ takes them back");
    }
    t.broker.forget(&run(), is_odd).await.unwrap();
    let left = bodies(&t.broker, &Queue::Bootstrap, MESSAGES as usize / 2).await;
    assert_eq!(left, even(0..MESSAGES));
    assert_eq!(t.broker.depth(&Queue::Bootstrap).await.unwrap(), 0);
}
