//! The memory budget: how much long answers and long rows may take in this process, all of its workers together.
//!
//! What is shorter than [`LONG`] takes nothing, so the usual call costs nothing here. Each task has a [`MemoryShare`], which it enlarges
//! *before* it takes the memory, and returns at its end. A task that gets nothing more waits, unless it has the turn: one task at a time
//! may go on whatever the budget, so that none waits for memory that only waiting tasks could return.

mod beside_runtime;
mod limit;
mod share;
mod size;

pub use share::{MemoryMark, MemoryShare};
pub use size::MemorySize;

use crate::lock::lock;
use beside_runtime::BesideRuntime;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tracing::warn;

/// The bytes from which an answer, a row or a stored value is long.
pub const LONG: usize = 64 << 10;

/// What a task takes at most for each byte of a long answer: its body and its text, the text as JSON and its parts, the line of its trace,
/// which has all of them again, and what a buffer is larger than its content.
pub const PER_ANSWER_BYTE: usize = 8;

/// What the parts of an answer take in addition if they are lists, dicts or models: `["a"],` becomes two values of 32 bytes, and a text.
pub const PER_STRUCTURED_BYTE: usize = 12;

/// What a task takes at most for each byte of a long row: the message, the example, and the prompt with its copies in the request.
pub const PER_ROW_BYTE: usize = 8;

/// How soon it is logged again that tasks wait for memory.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The budget of a process, shared by its workers and its coordinator.
#[derive(Debug)]
pub struct MemoryBudget {
    size: MemorySize,
    /// One permit for each KiB that is free.
    free: Semaphore,
    /// For the task that may go on whatever is free.
    turn: Semaphore,
    beside_runtime: BesideRuntime,
    logged: Mutex<Option<Instant>>,
}

impl MemoryBudget {
    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.size.kib() << 10
    }

    /// A budget of that size.
    pub fn new(size: MemorySize) -> MemoryBudget {
        MemoryBudget {
            size,
            free: Semaphore::new(size.kib()),
            turn: Semaphore::new(1),
            beside_runtime: BesideRuntime::new(),
            logged: Mutex::new(None),
        }
    }

    /// Does work on a value of that many bytes, beside the runtime if they are many.
    pub async fn work_on<T>(&self, bytes: usize, work: impl FnOnce() -> T) -> T {
        if bytes < LONG {
            return work();
        }
        Box::pin(self.beside_runtime.run(work)).await
    }

    /// Returns once that many KiB may be taken. Cancel safe.
    async fn wait_for(&self, kib: usize) -> Granted {
        self.log();
        let free = async {
            match u32::try_from(kib) {
                Ok(permits) if kib <= self.size.kib() => self.free.acquire_many(permits).await,
                // More than there is: only the turn helps.
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            permits = free => {
                permits.expect("the semaphore is never closed").forget();
                Granted::Free
            }
            turn = self.turn.acquire() => {
                turn.expect("the semaphore is never closed").forget();
                Granted::Turn
            }
        }
    }

    /// Takes that many KiB if they are free.
    fn try_take(&self, kib: usize) -> bool {
        let permits = u32::try_from(kib).ok().filter(|_| kib <= self.size.kib());
        match permits.map(|permits| self.free.try_acquire_many(permits)) {
            Some(Ok(permits)) => {
                permits.forget();
                true
            }
            _ => false,
        }
    }

    fn log(&self) {
        let mut logged = lock(&self.logged);
        if logged.is_none_or(|at| at.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            warn!(memory = %self.size, "long answers or rows wait for memory");
        }
    }
}

/// Why a task may take memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Granted {
    /// It is free.
    Free,
    /// It is the task's turn.
    Turn,
}
