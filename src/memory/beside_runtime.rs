//! Work on long values beside the runtime, so that timers, signals and other tasks do not wait for it. The lease of the task itself is not
//! renewed meanwhile, so that work must take time in proportion to the length: seconds at most.

use std::thread::available_parallelism;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::task::block_in_place;

/// Limits how many long values are worked on at once: one for each processor.
#[derive(Debug)]
pub(super) struct BesideRuntime(Semaphore);

impl BesideRuntime {
    pub(super) fn new() -> BesideRuntime {
        BesideRuntime(Semaphore::new(available_parallelism().map_or(1, usize::from)))
    }

    /// Does `work`, while another thread of the runtime takes over what else this one had to do.
    pub(super) async fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let _place = self.0.acquire().await.expect("the semaphore is never closed");
        match Handle::current().runtime_flavor() {
            RuntimeFlavor::CurrentThread => work(),
            _ => block_in_place(work),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_go_on_while_a_long_answer_is_read() {
        let (sender, receiver) = mpsc::channel();
        // Spawned from within: the runtime's only thread runs both tasks.
        let reading = tokio::spawn(async move {
            let other = tokio::spawn(async move { sender.send(()) });
            let ended = BesideRuntime::new().run(move || receiver.recv()).await;
            (other.await, ended)
        });
        let (other, ended) = reading.await.expect("no panic");
        assert!(matches!(other, Ok(Ok(()))) && ended.is_ok());
    }
}
