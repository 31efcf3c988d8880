//! The promises of [`Broker`], each a case; `broker_cases!` makes them the tests of one implementation.

use async_trait::async_trait;
use bsft::broker::{Broker, BrokerError, Consumer, Delivery, Disposition, Queue};
use bsft::task::RunId;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A queue of its own for one test.
#[async_trait]
pub(crate) trait BrokerUnderTest: Sized {
    /// Whether its server is installed; prints a line if not.
    fn available() -> bool {
        true
    }
    async fn start() -> Self;
    fn broker(&self) -> &dyn Broker;
    /// Waits until the queue has the expected number of dead letters, and returns all that it has then.
    async fn dead_letters(&self, queue: &Queue, expected: usize) -> Vec<Vec<u8>>;
    async fn close(&self);
}

/// How long no message must arrive until a queue counts as silent.
const QUIET: Duration = Duration::from_millis(200);
/// How long anything that must happen may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long a message is kept back that has to come back.
const DELAY: Duration = Duration::from_millis(300);
/// How long one is kept back that must not come back before the test is over.
const LONG_DELAY: Duration = Duration::from_secs(1800);

/// Gives all cases to another macro.
macro_rules! all_broker_cases {
    ($then:ident! $($arguments:tt)*) => { $then! { $($arguments)*:
        acked_messages_are_never_redelivered
        queues_are_separate
        prefetch_limits_unacked_deliveries
        dropped_delivery_is_redelivered
        delivery_outlives_its_consumer
        nack_after_redelivers_after_its_delay
        delivery_counts_how_often_its_message_was_postponed
        nack_after_does_not_delay_other_messages
        reject_moves_a_message_to_the_dead_letters
        cancelled_next_loses_no_message
        waiting_consumer_wakes_for_a_message
        two_consumers_share_a_queue
        depth_counts_ready_messages
        close_ends_consumers_and_refuses_messages
    } };
}
pub(crate) use all_broker_cases;

/// A test for each case.
macro_rules! broker_cases {
    ($under_test:ty, $test:meta: $($case:ident)+) => {$(
        #[$test]
        async fn $case() {
            if <$under_test as crate::conformance::broker::BrokerUnderTest>::available() {
                crate::conformance::broker::$case::<$under_test>().await;
            }
        }
    )+};
    ($under_test:ty, $test:meta) => {
        crate::conformance::broker::all_broker_cases! { broker_cases! $under_test, $test }
    };
}
pub(crate) use broker_cases;

pub(crate) fn at_most(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap()
}

fn completions() -> Queue {
    Queue::Completions(RunId("a run".to_owned()))
}

fn numbered(n: u32) -> Vec<Vec<u8>> {
    (0..n).map(|i| i.to_be_bytes().to_vec()).collect()
}

async fn take(consumer: &mut Box<dyn Consumer>) -> Delivery {
    timeout(PATIENCE, consumer.next())
        .await
        .expect("a delivery comes")
        .unwrap()
        .expect("the queue is open")
}

async fn is_quiet(consumer: &mut Box<dyn Consumer>) -> bool {
    timeout(QUIET, consumer.next()).await.is_err()
}

pub(crate) async fn acked_messages_are_never_redelivered<T: BrokerUnderTest>() {
    let t = T::start().await;
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(7)).await.unwrap();
    t.broker()
        .publish(&Queue::Bootstrap, numbered(500))
        .await
        .unwrap();
    let mut seen = BTreeSet::new();
    for _ in 0..500 {
        let delivery = take(&mut consumer).await;
        assert!(!delivery.redelivered);
        seen.insert(delivery.body.to_vec());
        delivery.ack().await.unwrap();
    }
    assert_eq!(seen, numbered(500).into_iter().collect());
    assert!(is_quiet(&mut consumer).await);
}

pub(crate) async fn queues_are_separate<T: BrokerUnderTest>() {
    let t = T::start().await;
    let other_run = Queue::Completions(RunId("another run".to_owned()));
    let queues = [Queue::Bootstrap, Queue::Finetune, completions(), other_run];
    for (i, queue) in (0u8..).zip(&queues) {
        t.broker().publish(queue, vec![vec![i]]).await.unwrap();
    }
    for (i, queue) in (0u8..).zip(&queues) {
        let mut consumer = t.broker().consume(queue, at_most(9)).await.unwrap();
        let delivery = take(&mut consumer).await;
        assert_eq!(*delivery.body, [i]);
        assert!(is_quiet(&mut consumer).await);
        delivery.ack().await.unwrap();
    }
}

pub(crate) async fn prefetch_limits_unacked_deliveries<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Finetune, numbered(10)).await.unwrap();
    let mut consumer = t.broker().consume(&Queue::Finetune, at_most(3)).await.unwrap();
    let mut unacked = vec![
        take(&mut consumer).await,
        take(&mut consumer).await,
        take(&mut consumer).await,
    ];
    assert!(is_quiet(&mut consumer).await);
    let acked = unacked.swap_remove(1).ack();
    let (acked, next) = tokio::join!(acked, take(&mut consumer));
    acked.unwrap();
    assert!(!next.redelivered);
    assert!(is_quiet(&mut consumer).await);
}

pub(crate) async fn dropped_delivery_is_redelivered<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Bootstrap, numbered(1)).await.unwrap();
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    let mut delivery = take(&mut consumer).await;
    assert_eq!(*std::mem::take(&mut delivery.body), numbered(1)[0]);
    drop(delivery);
    let again = take(&mut consumer).await;
    assert_eq!((&*again.body, again.redelivered), (&numbered(1)[0], true));
}

pub(crate) async fn delivery_outlives_its_consumer<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Bootstrap, numbered(1)).await.unwrap();
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(5)).await.unwrap();
    let delivery = take(&mut consumer).await;
    drop(consumer);
    delivery.ack().await.unwrap();
    let mut other = t.broker().consume(&Queue::Bootstrap, at_most(5)).await.unwrap();
    assert!(is_quiet(&mut other).await);
}

pub(crate) async fn nack_after_redelivers_after_its_delay<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Bootstrap, numbered(1)).await.unwrap();
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    for after in [Duration::ZERO, DELAY] {
        let returned = Instant::now();
        take(&mut consumer).await.nack_after(after).await.unwrap();
        let again = take(&mut consumer).await;
        assert!(again.redelivered);
        assert!(returned.elapsed() >= after);
        again
            .resolve(Disposition::Requeue {
                after: Duration::ZERO,
            })
            .await
            .unwrap();
    }
}

pub(crate) async fn nack_after_does_not_delay_other_messages<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Bootstrap, numbered(1)).await.unwrap();
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    take(&mut consumer).await.nack_after(LONG_DELAY).await.unwrap();
    t.broker()
        .publish(&Queue::Bootstrap, vec![b"new".to_vec()])
        .await
        .unwrap();
    let new = take(&mut consumer).await;
    assert_eq!(*new.body, b"new");
    new.ack().await.unwrap();
    assert!(is_quiet(&mut consumer).await);
}

pub(crate) async fn delivery_counts_how_often_its_message_was_postponed<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Bootstrap, numbered(1)).await.unwrap();
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    for postponed in 0..3 {
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.postponed, postponed);
        // What is requeued for another reason keeps its count.
        delivery.nack_after(Duration::ZERO).await.unwrap();
        take(&mut consumer).await.nack_after(DELAY).await.unwrap();
        let delivery = take(&mut consumer).await;
        assert_eq!(delivery.postponed, postponed);
        let later = Disposition::Postpone { after: DELAY };
        delivery.resolve(later).await.unwrap();
    }
}

pub(crate) async fn reject_moves_a_message_to_the_dead_letters<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Bootstrap, numbered(2)).await.unwrap();
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(2)).await.unwrap();
    let bad = take(&mut consumer).await;
    let body = bad.body.to_vec();
    bad.reject().await.unwrap();
    take(&mut consumer).await.ack().await.unwrap();
    assert!(is_quiet(&mut consumer).await);
    assert_eq!(t.dead_letters(&Queue::Bootstrap, 1).await, [body]);
    assert!(t.dead_letters(&Queue::Finetune, 0).await.is_empty());
}

pub(crate) async fn cancelled_next_loses_no_message<T: BrokerUnderTest>() {
    let t = T::start().await;
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(4)).await.unwrap();
    let mut seen = BTreeSet::new();
    for message in numbered(100) {
        assert!(timeout(Duration::from_micros(1), consumer.next()).await.is_err());
        t.broker()
            .publish(&Queue::Bootstrap, vec![message])
            .await
            .unwrap();
        let delivery = loop {
            if let Ok(next) = timeout(Duration::from_millis(1), consumer.next()).await {
                break next.unwrap().expect("the queue is open");
            }
        };
        assert!(!delivery.redelivered);
        seen.insert(delivery.body.to_vec());
        delivery.ack().await.unwrap();
    }
    assert_eq!(seen.len(), 100);
}

pub(crate) async fn waiting_consumer_wakes_for_a_message<T: BrokerUnderTest>() {
    let t = T::start().await;
    let queue = completions();
    let mut abandoned = t.broker().consume(&queue, at_most(1)).await.unwrap();
    assert!(is_quiet(&mut abandoned).await);
    drop(abandoned);
    let mut consumer = t.broker().consume(&queue, at_most(1)).await.unwrap();
    let (delivery, published) = tokio::join!(take(&mut consumer), t.broker().publish(&queue, numbered(1)));
    published.unwrap();
    assert_eq!(*delivery.body, numbered(1)[0]);
}

pub(crate) async fn two_consumers_share_a_queue<T: BrokerUnderTest>() {
    let t = T::start().await;
    let mut one = t.broker().consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    let mut two = t.broker().consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    let (a, b, published) = tokio::join!(
        take(&mut one),
        take(&mut two),
        t.broker().publish(&Queue::Bootstrap, numbered(2))
    );
    published.unwrap();
    assert_ne!(a.body, b.body);
    drop(a);
    b.ack().await.unwrap();
    // Both have room for it; a broker hands it to whichever it likes.
    let again = tokio::select! {
        again = take(&mut one) => again,
        again = take(&mut two) => again,
    };
    assert!(again.redelivered);
}

pub(crate) async fn close_ends_consumers_and_refuses_messages<T: BrokerUnderTest>() {
    let t = T::start().await;
    t.broker().publish(&Queue::Bootstrap, numbered(1)).await.unwrap();
    let mut full = t.broker().consume(&Queue::Bootstrap, at_most(1)).await.unwrap();
    let mut idle = t.broker().consume(&Queue::Finetune, at_most(1)).await.unwrap();
    let unacked = take(&mut full).await;
    let ended = async {
        (
            full.next().await.unwrap().is_none(),
            idle.next().await.unwrap().is_none(),
        )
    };
    let (ended, ()) = timeout(PATIENCE, async { tokio::join!(ended, t.close()) })
        .await
        .expect("it ends");
    assert_eq!(ended, (true, true));
    // Whether the delivery can still be acked depends on the broker; the call must not hang.
    drop(unacked.ack().await);
    assert!(matches!(
        t.broker().publish(&Queue::Bootstrap, numbered(1)).await,
        Err(BrokerError::Closed)
    ));
    assert!(matches!(
        t.broker().consume(&Queue::Bootstrap, at_most(1)).await,
        Err(BrokerError::Closed)
    ));
}

pub(crate) async fn depth_counts_ready_messages<T: BrokerUnderTest>() {
    let t = T::start().await;
    let depth = async || t.broker().depth(&Queue::Bootstrap).await.unwrap();
    assert_eq!(depth().await, 0);
    t.broker().publish(&Queue::Bootstrap, numbered(5)).await.unwrap();
    t.broker().publish(&Queue::Finetune, numbered(1)).await.unwrap();
    until_depth(t.broker(), &Queue::Bootstrap, 5).await;
    let mut consumer = t.broker().consume(&Queue::Bootstrap, at_most(5)).await.unwrap();
    for _ in 0..5 {
        take(&mut consumer).await.ack().await.unwrap();
    }
    until_depth(t.broker(), &Queue::Bootstrap, 0).await;
}

/// Waits until the queue has that depth: a broker counts a moment later than it confirms.
pub(crate) async fn until_depth(broker: &dyn Broker, queue: &Queue, waiting: usize) {
    let counted = async {
        while broker.depth(queue).await.unwrap() != waiting {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, counted)
        .await
        .unwrap_or_else(|_| panic!("the depth did not become {waiting}"));
}
