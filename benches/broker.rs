//! What a message costs: publish, deliver, ack. On the embedded broker, and on the RabbitMQ at BSFT_TEST_AMQP_URL, if that is
//! set (tests/support/rabbitmq.sh DIR starts one).

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use bsft::broker::embedded::EmbeddedBroker;
use bsft::broker::rabbitmq::RabbitMqBroker;
use bsft::broker::{Broker, Queue};
use futures_util::future::join_all;
use std::num::NonZeroUsize;
use std::time::Instant;

const EMBEDDED: usize = 2_000_000;
const AMQP: usize = 100_000;
const WINDOW: usize = 1_000;

fn main() {
    let one_thread = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    one_thread.expect("a runtime starts").block_on(async {
        let broker = EmbeddedBroker::new();
        run("embedded", &broker, EMBEDDED, WINDOW, 1).await;
    });
    let Ok(url) = std::env::var("BSFT_TEST_AMQP_URL") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(async {
        let namespace = format!("bench-{:016x}", fastrand::u64(..));
        let broker = RabbitMqBroker::connect(&url, &namespace)
            .await
            .expect("the broker answers");
        // A new queue is slow to call its first messages safe.
        let first = broker.publish(&Queue::Bootstrap, vec![Vec::new()]).await;
        first.expect("the broker takes messages");
        for (what, prefetch, together) in [
            ("amqp, acked one by one", 100, 1),
            ("amqp, 50 acked at once", 100, 50),
            ("amqp, 500 acked at once", WINDOW, 500),
        ] {
            run(what, &broker, AMQP, prefetch, together).await;
        }
        broker.close().await;
    });
}

/// Publishes windows of messages and takes each back, `together` at a time.
async fn run(what: &str, broker: &dyn Broker, messages: usize, prefetch: usize, together: usize) {
    let prefetch = NonZeroUsize::new(prefetch).expect("a window is not empty");
    let mut consumer = broker
        .consume(&Queue::Bootstrap, prefetch)
        .await
        .expect("the queue is open");
    let (start, cpu) = (Instant::now(), cpu_ms());
    for _ in 0..messages / WINDOW {
        let messages = vec![vec![b'm'; 200]; WINDOW];
        broker
            .publish(&Queue::Bootstrap, messages)
            .await
            .expect("the queue is open");
        for _ in 0..WINDOW / together {
            let mut unacked = Vec::with_capacity(together);
            for _ in 0..together {
                let delivery = consumer.next().await.expect("the queue works");
                unacked.push(delivery.expect("the queue is open").ack());
            }
            for acked in join_all(unacked).await {
                acked.expect("the delivery can be acked");
            }
        }
    }
    let per_message = |microseconds: f64| microseconds / messages as f64;
    println!(
        "{what}: {:.2} us per message of 200 B, {:.2} us of them this process's CPU",
        per_message(start.elapsed().as_secs_f64() * 1e6),
        per_message((cpu_ms() - cpu) as f64 * 1e3),
    );
}

/// Processor time of this process so far; Linux counts it in ticks of 10 ms.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |field: usize| {
        // The second field is a name in parentheses, which may hold spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().nth(field - 3);
        ticks.and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0)
    };
    (ticks(14) + ticks(15)) * 10
}
