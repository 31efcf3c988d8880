//! The metrics of this process's workers.

use super::{Registry, names};
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Bucket bounds of task durations in seconds: milliseconds to minutes for examples, up to days for trainings.
const BUCKETS: &[f64] = &[
    0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 10_800.0,
    43_200.0, 172_800.0,
];

/// The result of a task on this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskEnd {
    /// The trace is trained on.
    Kept,
    /// The metric rejected the trace.
    Dropped,
    /// The training produced a model.
    Trained,
    /// A failure, stored as the outcome.
    Failed,
    /// Requeued, because the worker is stopping.
    Interrupted,
    /// Another attempt took over.
    Fenced,
    /// The message is not a task of ours.
    Refused,
}

impl TaskEnd {
    /// The possible ends of a bootstrap task.
    const BOOTSTRAP: [TaskEnd; 6] = [
        TaskEnd::Kept,
        TaskEnd::Dropped,
        TaskEnd::Failed,
        TaskEnd::Interrupted,
        TaskEnd::Fenced,
        TaskEnd::Refused,
    ];

    /// The possible ends of a fine-tune task.
    const FINETUNE: [TaskEnd; 5] = [
        TaskEnd::Trained,
        TaskEnd::Failed,
        TaskEnd::Interrupted,
        TaskEnd::Fenced,
        TaskEnd::Refused,
    ];

    /// The value of the `outcome` label.
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

    /// Whether this worker stored an outcome of the task.
    fn is_outcome(self) -> bool {
        match self {
            TaskEnd::Kept | TaskEnd::Dropped | TaskEnd::Trained | TaskEnd::Failed => true,
            TaskEnd::Interrupted | TaskEnd::Fenced | TaskEnd::Refused => false,
        }
    }
}

/// Why a worker puts a delivery off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOffReason {
    /// The store has no job of this run.
    UnknownRun,
    /// Another version wrote the message or the job.
    OtherVersion,
    /// The store's values of this run are not what bsft wrote.
    Damaged,
    /// The job's programs cannot be built.
    Job,
    /// The job's LMs cannot be used here, for example without their keys.
    Lm,
    /// The training's provider cannot be used here: its trainer or its key is missing.
    Provider,
    /// The state of the training is unknown.
    Training,
    /// A service did not carry out a call.
    Service,
}

impl PutOffReason {
    const ALL: [PutOffReason; 8] = [
        PutOffReason::UnknownRun,
        PutOffReason::OtherVersion,
        PutOffReason::Damaged,
        PutOffReason::Job,
        PutOffReason::Lm,
        PutOffReason::Provider,
        PutOffReason::Training,
        PutOffReason::Service,
    ];

    /// The value of the `reason` label.
    pub fn name(self) -> &'static str {
        match self {
            PutOffReason::UnknownRun => "unknown_run",
            PutOffReason::OtherVersion => "other_version",
            PutOffReason::Damaged => "damaged",
            PutOffReason::Job => "job",
            PutOffReason::Lm => "lm",
            PutOffReason::Provider => "provider",
            PutOffReason::Training => "training",
            PutOffReason::Service => "service",
        }
    }
}

pub struct WorkerMetrics {
    /// The counters of the bootstrap queue.
    pub bootstrap: QueueMetrics,
    /// The counters of the finetune queue.
    pub finetune: QueueMetrics,
    failures: IntCounterVec,
    put_off: IntCounterVec,
    concurrency: IntGauge,
    at_work: AtomicUsize,
}

pub struct QueueMetrics {
    ends: Vec<(TaskEnd, IntCounter)>,
    in_flight: IntGauge,
    duration: Histogram,
    leases_lost: IntCounter,
}

/// The metric families. They are empty until a worker starts.
pub(super) struct WorkerFamilies {
    tasks: IntCounterVec,
    in_flight: IntGaugeVec,
    duration: HistogramVec,
    failures: IntCounterVec,
    leases_lost: IntCounterVec,
    put_off: IntCounterVec,
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
            put_off: registry.counters(&names::WORKER_PUT_OFF),
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
        for reason in PutOffReason::ALL {
            families.put_off.with_label_values(&[reason.name()]);
        }
        WorkerMetrics {
            bootstrap: queue("bootstrap", &TaskEnd::BOOTSTRAP),
            finetune: queue("finetune", &TaskEnd::FINETUNE),
            failures: families.failures.clone(),
            put_off: families.put_off.clone(),
            concurrency: families.concurrency.with_label_values::<&str>(&[]),
            at_work: AtomicUsize::new(0),
        }
    }

    /// Counts a worker that starts, with its maximum number of concurrent LM calls, until the result is dropped.
    pub fn starts(&self, concurrency: usize) -> AtWork<'_> {
        let concurrency = i64::try_from(concurrency).unwrap_or(i64::MAX);
        self.concurrency.add(concurrency);
        self.at_work.fetch_add(1, Ordering::Relaxed);
        AtWork {
            of: self,
            concurrency,
        }
    }

    pub fn at_work(&self) -> usize {
        self.at_work.load(Ordering::Relaxed)
    }

    /// Counts a delivery that is put off.
    pub fn put_off(&self, reason: PutOffReason) {
        self.put_off.with_label_values(&[reason.name()]).inc();
    }

    /// Counts a failed bootstrap task of this kind.
    pub fn failed(&self, kind: &str) {
        self.failures.with_label_values(&[kind]).inc();
    }
}

/// A running worker, counted until this is dropped.
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
    /// Counts a task as in flight until the result is dropped.
    pub fn task(&self) -> TaskTimer<'_> {
        self.in_flight.inc();
        TaskTimer {
            queue: self,
            started: Instant::now(),
        }
    }

    /// Counts the end of a task and its duration.
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

/// A task in flight.
pub struct TaskTimer<'a> {
    queue: &'a QueueMetrics,
    started: Instant,
}

impl TaskTimer<'_> {
    /// Records how the task ended.
    pub fn ended(&self, end: TaskEnd) {
        self.queue.ended(end, self.started.elapsed());
    }
}

impl Drop for TaskTimer<'_> {
    fn drop(&mut self) {
        self.queue.in_flight.dec();
    }
}
