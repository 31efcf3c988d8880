//! What all tasks of a worker share: the services, the built jobs, the limits, and the failure that ends the worker.

use super::Worker;
use super::built_jobs::BuiltJobs;
use super::heartbeat::Heartbeats;
use super::orphan_timer::OrphanTimer;
use super::rate_limited_log::RateLimitedLog;
use crate::account::Accounts;
use crate::artifacts::ArtifactStore;
use crate::broker::{Broker, Delivery};
use crate::calls_in_flight::CallsInFlight;
use crate::coordination::{Process, WorkerInfo};
use crate::finetune::Providers;
use crate::lock::lock;
use crate::memory::MemoryBudget;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::store::{Store, StoreError};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, Semaphore};

/// Shared by every task in flight.
pub(super) struct WorkerContext {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) store: Arc<dyn Store>,
    pub(super) artifacts: Arc<dyn ArtifactStore>,
    pub(super) providers: Providers,
    pub(super) accounts: Arc<Accounts>,
    pub(super) jobs: BuiltJobs,
    pub(super) heartbeats: Heartbeats,
    pub(super) log: RateLimitedLog,
    /// Marks of the LM calls in flight, where a run directory is at hand.
    pub(super) calls_in_flight: Option<Arc<CallsInFlight>>,
    /// Tasks that wait for a place among those that may call their LMs.
    pub(super) tasks_without_place: AtomicU64,
    /// A permit for each LM call in flight.
    pub(super) calls: Semaphore,
    pub(super) memory: Arc<MemoryBudget>,
    /// A permit for each training on this machine.
    pub(super) local: Semaphore,
    pub(super) orphan_timer: OrphanTimer,
    pub(super) metrics: Arc<Metrics>,
    pub(super) shutdown: Shutdown,
    /// The first error after which the worker cannot continue.
    failure: Mutex<Option<StoreError>>,
    failed: Notify,
}

impl WorkerContext {
    pub(super) fn new(worker: Worker, shutdown: Shutdown) -> WorkerContext {
        let (calls, places) = (worker.max_calls(), worker.prefetch());
        let info = WorkerInfo {
            process: Process::current(),
            lanes: worker.queues.names(),
            concurrency: calls,
            trainers: worker.providers.trainers(),
            lms: Vec::new(),
        };
        WorkerContext {
            accounts: Arc::clone(&worker.accounts),
            jobs: BuiltJobs::new(
                Arc::clone(&worker.store),
                Arc::clone(&worker.accounts),
                Arc::clone(&worker.metrics),
                places,
            ),
            heartbeats: Heartbeats::new(
                worker.coordination,
                info,
                worker.accounts,
                Arc::clone(&worker.metrics),
            ),
            log: RateLimitedLog::new(Arc::clone(&worker.metrics)),
            calls_in_flight: worker.calls_in_flight,
            tasks_without_place: AtomicU64::new(0),
            calls: Semaphore::new(calls),
            memory: worker.memory,
            local: Semaphore::new(worker.providers.at_once()),
            orphan_timer: OrphanTimer::default(),
            broker: worker.broker,
            store: worker.store,
            artifacts: worker.artifacts,
            providers: worker.providers,
            metrics: worker.metrics,
            shutdown,
            failure: Mutex::default(),
            failed: Notify::new(),
        }
    }

    /// The tasks that wait for an account, or behind those that do.
    pub(super) fn waiting_tasks(&self) -> usize {
        self.accounts.waiting_calls() + self.tasks_without_place.load(Ordering::Relaxed) as usize
    }

    /// Ends the worker, unless the store failed for one run only: its messages are postponed, and other runs go on.
    pub(super) async fn store_failed(&self, delivery: Option<Delivery>, why: StoreError) {
        match (delivery, &why) {
            (Some(delivery), StoreError::ForeignData { .. }) => self.log.postpone(delivery, &why).await,
            (None, StoreError::ForeignData { .. }) => self.log.postponed(&why),
            (delivery, _) => self.fail(delivery, why),
        }
    }

    /// Ends the worker, because the store failed for good or the process aborts. The broker redelivers the dropped delivery.
    pub(super) fn fail(&self, delivery: Option<Delivery>, why: StoreError) {
        drop(delivery);
        let mut failure = lock(&self.failure);
        failure.get_or_insert(why);
        self.failed.notify_one();
    }

    /// Returns after [`Self::fail`] was called. Cancel safe.
    pub(super) async fn failed(&self) {
        self.failed.notified().await;
    }

    pub(super) fn take_failure(&self) -> Option<StoreError> {
        lock(&self.failure).take()
    }
}
