//! What a message costs in the embedded queue: publish, deliver, settle.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use bsft::queue::embedded::EmbeddedQueue;
use bsft::queue::{Lane, Queue, Settlement};
use std::num::NonZeroUsize;
use std::time::Instant;

const MESSAGES: usize = 2_000_000;
const WINDOW: usize = 1_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime starts").block_on(async {
        let queue = EmbeddedQueue::new();
        let prefetch = NonZeroUsize::new(WINDOW).expect("a window is not empty");
        let mut intake = queue
            .consume(&Lane::Bootstrap, prefetch)
            .await
            .expect("the queue is open");
        let start = Instant::now();
        for _ in 0..MESSAGES / WINDOW {
            let messages = vec![vec![b'm'; 200]; WINDOW];
            queue
                .publish(&Lane::Bootstrap, messages)
                .await
                .expect("the queue is open");
            for _ in 0..WINDOW {
                let delivery = intake
                    .next()
                    .await
                    .expect("a lane in memory works")
                    .expect("the queue is open");
                delivery
                    .settle(Settlement::Done)
                    .await
                    .expect("a loan can be settled");
            }
        }
        println!(
            "{:.2} us per message of 200 B",
            start.elapsed().as_secs_f64() * 1e6 / MESSAGES as f64
        );
    });
}
