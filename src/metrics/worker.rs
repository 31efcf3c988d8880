//! What is counted of the workers of this process.

use super::{Registry, names};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Seconds that tasks take: examples from milliseconds to minutes, trainings up to days.
const BUCKETS: &[f64] = &[
    0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0,
    43_200.0, 172_800.0,
];

/// What became of a task here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// A trace that is trained on.
    Kept,
    /// A trace that the metric refused.
    Dropped,
    /// A model.
    Trained,
    /// A failure, stored as the outcome.
    Failed,
    /// Handed back, for the worker is stopping.
    Interrupted,
    /// Another attempt took over.
    Fenced,
    /// The message is not ours.
    Refused,
}

impl TaskEnd {
    /// What examples may come to.
    const BOOTSTRAP: [TaskEnd; 6] = [
        TaskEnd::Kept,
        TaskEnd::Dropped,
        TaskEnd::Failed,
        TaskEnd::Interrupted,
        TaskEnd::Fenced,
        TaskEnd::Refused,
    ];

    /// What fine-tune jobs may come to.
    const FINETUNE: [TaskEnd; 5] = [
        TaskEnd::Trained,
        TaskEnd::Failed,
        TaskEnd::Interrupted,
        TaskEnd::Fenced,
        TaskEnd::Refused,
    ];

    /// Its label.
    pub fn name(self) -> &'static str {
        match self {
            TaskEnd::Kept => "kept",
            TaskEnd::Dropped => "dropped",
            TaskEnd::Trained => "trained",
            TaskEnd::Failed => "failed",
            TaskEnd::Interrupted => "interrupted",
            TaskEnd::Fenced => "fenced",
            TaskEnd::Refused => "refused",
        }
    }

    /// Whether the task has its outcome, by us.
    fn is_outcome(self) -> bool {
        match self {
            TaskEnd::Kept | TaskEnd::Dropped | TaskEnd::Trained | TaskEnd::Failed => true,
            TaskEnd::Interrupted | TaskEnd::Fenced | TaskEnd::Refused => false,
        }
    }
}

/// The workers' counters.
pub struct WorkerMetrics {
    /// Of tasks that run an example.
    pub bootstrap: QueueMetrics,
    /// Of tasks that train.
    pub finetune: QueueMetrics,
    failures: IntCounterVec,
    concurrency: IntGauge,
    at_work: AtomicUsize,
}

/// The counters of one queue.
pub struct QueueMetrics {
    ends: Vec<(TaskEnd, IntCounter)>,
    in_flight: IntGauge,
    duration: Histogram,
    leases_lost: IntCounter,
}

/// The families, which show nothing before there is a worker.
pub(super) struct WorkerFamilies {
    tasks: IntCounterVec,
    in_flight: IntGaugeVec,
    duration: HistogramVec,
    failures: IntCounterVec,
    leases_lost: IntCounterVec,
    concurrency: IntGaugeVec,
}

impl WorkerFamilies {
    pub(super) fn new(registry: &Registry) -> WorkerFamilies {
        WorkerFamilies {
            tasks: registry.counters(&names::WORKER_TASKS),
            in_flight: registry.gauges(&names::WORKER_TASKS_IN_FLIGHT),
            duration: registry.histograms(&names::WORKER_TASK_DURATION, BUCKETS),
            failures: registry.counters(&names::WORKER_FAILURES),
            leases_lost: registry.counters(&names::WORKER_LEASES_LOST),
            concurrency: registry.gauges(&names::WORKER_CONCURRENCY),
        }
    }
}

impl WorkerMetrics {
    pub(super) fn new(families: &WorkerFamilies) -> WorkerMetrics {
        let queue = |queue: &str, ends: &[TaskEnd]| QueueMetrics {
            ends: (ends.iter())
                .map(|end| (*end, families.tasks.with_label_values(&[queue, end.name()])))
                .collect(),
            in_flight: families.in_flight.with_label_values(&[queue]),
            duration: families.duration.with_label_values(&[queue]),
            leases_lost: families.leases_lost.with_label_values::<&str>(&[]),
        };
        WorkerMetrics {
            bootstrap: queue("bootstrap", &TaskEnd::BOOTSTRAP),
            finetune: queue("finetune", &TaskEnd::FINETUNE),
            failures: families.failures.clone(),
            concurrency: families.concurrency.with_label_values::<&str>(&[]),
            at_work: AtomicUsize::new(0),
        }
    }

    /// A worker starts, with so many LM calls in flight at most; it ends when this is dropped.
    pub fn starts(&self, concurrency: usize) -> AtWork<'_> {
        let concurrency = i64::try_from(concurrency).unwrap_or(i64::MAX);
        self.concurrency.add(concurrency);
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork {
            of: self,
            concurrency,
        }
    }

    /// The workers of this process.
    pub fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    /// A bootstrap task failed in this way.
    pub fn failed(&self, kind: &str) {
        self.failures.with_label_values(&[kind]).inc();
    }
}

/// A worker of this process.
pub struct AtWork<'a> {
    of: &'a WorkerMetrics,
    concurrency: i64,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.of.concurrency.sub(self.concurrency);
        self.of.at_work.fetch_sub(1, Ordering::Relaxed);
    }
}

impl QueueMetrics {
    /// A task is in hand until this is dropped.
    pub fn task(&self) -> TaskTimer<'_> {
        self.in_flight.inc();
        TaskTimer {
            queue: self,
            started: Instant::now(),
        }
    }

    /// A task came to that end after so long.
    pub fn ended(&self, end: TaskEnd, took: Duration) {
        let counter = self.ends.iter().find(|(known, _)| *known == end);
        debug_assert!(counter.is_some(), "{end:?} does not end tasks of this queue");
        if let Some((_, counter)) = counter {
            counter.inc();
        }
        if end == TaskEnd::Fenced {
            self.leases_lost.inc();
        }
        if end.is_outcome() {
            self.duration.observe(took.as_secs_f64());
        }
    }
}

/// A task in hand.
pub struct TaskTimer<'a> {
    queue: &'a QueueMetrics,
    started: Instant,
}

impl TaskTimer<'_> {
    /// It came to that end.
    pub fn ended(&self, end: TaskEnd) {
        self.queue.ended(end, self.started.elapsed());
    }
}

impl Drop for TaskTimer<'_> {
    fn drop(&mut self) {
        self.queue.in_flight.dec();
    }
}
