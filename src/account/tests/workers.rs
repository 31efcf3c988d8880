//! The workers of a cluster that share an account, and the LM that they ask.

use super::limited_lm::{Behavior, LimitedLm, Seen};
use super::shared_state::SharedState;
use super::{ask_until, within};
use crate::account::{Accounts, GateError, GatedLm};
use crate::lm::AccountLimits;
use crate::lm::testing;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Requests per second that the server allows: 6,000 a minute.
pub(super) const LIMIT: f64 = 100.0;

/// A queue of questions, an LM, and the state that the workers share.
pub(super) struct Workers {
    pub(super) lm: Arc<LimitedLm>,
    pub(super) state: Arc<SharedState>,
    pub(super) declared: Option<AccountLimits>,
    pub(super) concurrency: usize,
    pub(super) questions: Arc<Mutex<VecDeque<u64>>>,
    pub(super) asked: u64,
    /// Questions whose calls failed.
    pub(super) failed: Arc<AtomicU64>,
}

/// One worker. Dropping it is `kill -9`: its questions return to the queue.
pub(super) struct Worker {
    pub(super) accounts: Arc<Accounts>,
    shutdown: Shutdown,
    tasks: JoinSet<()>,
}

/// A question that returns to the queue unless it is answered.
struct Taken {
    question: Option<u64>,
    questions: Arc<Mutex<VecDeque<u64>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(question) = self.question {
            self.questions.lock().unwrap().push_back(question);
        }
    }
}

impl Workers {
    pub(super) fn new(
        behavior: Behavior,
        declared: impl Into<Option<AccountLimits>>,
        questions: u64,
        concurrency: usize,
    ) -> Workers {
        fastrand::seed(7);
        Workers {
            lm: Arc::new(LimitedLm::new(behavior, 7)),
            state: Arc::new(SharedState::new()),
            declared: declared.into(),
            concurrency,
            questions: Arc::new(Mutex::new((0..questions).collect())),
            asked: questions,
            failed: Arc::default(),
        }
    }

    pub(super) fn start(&self) -> Worker {
        let accounts = Arc::new(Accounts::shared(Arc::clone(&self.state) as _));
        let mut settings = testing::settings("http://127.0.0.1:1/v1");
        settings.account = Some("limited".to_owned());
        let gate = accounts.gate(&settings, self.declared);
        let metrics = settings.metrics(&Metrics::new());
        let lm = Arc::new(GatedLm::new(
            vec![(Arc::clone(&self.lm) as _, gate)],
            &settings,
            metrics,
        ));
        let (permits, shutdown) = (Arc::new(Semaphore::new(self.concurrency)), Shutdown::new());
        let mut tasks = JoinSet::new();
        // A worker prefetches a quarter more tasks than it has permits.
        for _ in 0..self.concurrency.div_ceil(4) * 5 {
            let (lm, permits, shutdown) = (Arc::clone(&lm), Arc::clone(&permits), shutdown.clone());
            let (questions, failed) = (Arc::clone(&self.questions), Arc::clone(&self.failed));
            tasks.spawn(async move {
                while !shutdown.is_draining() {
                    let Some(question) = questions.lock().unwrap().pop_front() else {
                        return;
                    };
                    let mut taken = Taken {
                        question: Some(question),
                        questions: Arc::clone(&questions),
                    };
                    match ask_until(&lm, &permits, question, &shutdown).await {
                        Ok(()) => taken.question = None,
                        Err(GateError::Failed(_)) => {
                            failed.fetch_add(1, Relaxed);
                        }
                        // A task that is handed back is redelivered after a delay.
                        Err(GateError::HandedBack) => sleep(Duration::from_secs(2)).await,
                    }
                }
            });
        }
        Worker {
            accounts,
            shutdown,
            tasks,
        }
    }

    pub(super) fn start_many(&self, number: usize) -> Vec<Worker> {
        (0..number).map(|_| self.start()).collect()
    }

    /// Asserts that every question was answered and no request was refused.
    pub(super) fn assert_complete(&self) {
        self.lm.seen(|seen| {
            assert_eq!(seen.refused.len(), 0);
            assert_eq!(seen.answered.len() as u64, self.asked);
        });
    }
}

impl Worker {
    /// SIGTERM: the worker sends no more requests, and those in flight end.
    pub(super) async fn drain(mut self) {
        self.shutdown.drain();
        while self.tasks.join_next().await.is_some() {}
    }

    pub(super) async fn end(mut self) {
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

pub(super) async fn end(workers: Vec<Worker>) {
    for worker in workers {
        worker.end().await;
    }
}

/// The share of the limit that was used from the second `from` to the second `to`.
pub(super) fn used(seen: &Seen, from: u64, to: u64) -> f64 {
    within(&seen.accepted, from, to) as f64 / (to - from) as f64 / LIMIT
}
