//! Metrics and health of a process, and the HTTP server that serves them.
//!
//! Every module may use this one; it uses no part of the pipeline. Counting is always on and costs a few atomic additions: each part of the
//! program keeps its counters, which it looks up once by their labels. The server runs only on request.

mod account;
mod health;
mod lm;
pub mod names;
mod run;
mod server;
mod worker;

pub use account::{AccountMetrics, AccountReading};
pub use health::{Health, Need, Watchdog};
pub use lm::{DollarsPerMillion, LmMetrics, RequestTimer};
pub use run::{Done, JobCounts, RunMetrics, TrainingMetrics};
pub use server::MetricsServer;
pub use worker::{AtWork, PutOffReason, QueueMetrics, TaskEnd, TaskTimer, WorkerMetrics};

use lm::LmFamilies;
use names::{Definition, InstrumentKind};
use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, TextEncoder,
};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use worker::WorkerFamilies;

/// A service that a process works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    RabbitMq,
    Redis,
}

impl Service {
    /// The value of the `service` label.
    pub fn name(self) -> &'static str {
        match self {
            Service::RabbitMq => "rabbitmq",
            Service::Redis => "redis",
        }
    }
}

/// The metrics and the health of a process: created once and shared.
pub struct Metrics {
    registry: Registry,
    /// The metrics of the run that this process coordinates.
    pub run: RunMetrics,
    /// The accounts behind the LMs of this process's workers.
    pub account: AccountMetrics,
    /// Whether the process is alive and ready for work.
    pub health: Health,
    lm: LmFamilies,
    worker_families: WorkerFamilies,
    worker: OnceLock<WorkerMetrics>,
    service_up: IntGaugeVec,
    service_waits: IntCounterVec,
    is_served: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Creates the metrics, with all counters at 0.
    pub fn new() -> Metrics {
        let registry = Registry::default();
        let build = registry.gauges(&names::BUILD_INFO);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Metrics {
            worker_families: WorkerFamilies::new(&registry),
            worker: OnceLock::new(),
            run: RunMetrics::new(&registry),
            account: AccountMetrics::new(&registry),
            health: Health::default(),
            lm: LmFamilies::new(&registry),
            service_up: registry.gauges(&names::SERVICE_UP),
            service_waits: registry.counters(&names::SERVICE_WAITS),
            is_served: AtomicBool::new(false),
            registry,
        }
    }

    /// Declares that the process cannot work without the service.
    pub fn needs(&self, service: Service) {
        self.service_up.with_label_values(&[service.name()]).set(0);
        self.service_waits.with_label_values(&[service.name()]);
        self.health.needs(Need::Service(service));
    }

    /// Records whether the service answered the last probe, or the error.
    pub fn service_answered(&self, service: Service, answer: Result<(), String>) {
        let up = self.service_up.with_label_values(&[service.name()]);
        up.set(i64::from(answer.is_ok()));
        match answer {
            Ok(()) => self.health.has(Need::Service(service)),
            Err(why) => self.health.lacks(Need::Service(service), why),
        }
    }

    /// Returns the counter of the calls that waited for the service.
    pub fn waits(&self, service: Service) -> Waits {
        Waits(self.service_waits.clone(), service)
    }

    /// The counters of this process's workers. They are not exported if the process has no worker.
    pub fn worker(&self) -> &WorkerMetrics {
        self.worker
            .get_or_init(|| WorkerMetrics::new(&self.worker_families))
    }

    /// The number of workers of this process.
    pub fn workers_here(&self) -> usize {
        self.worker.get().map_or(0, WorkerMetrics::at_work)
    }

    /// Whether a server exports the metrics. Values that cost a request are updated only then.
    pub fn is_served(&self) -> bool {
        self.is_served.load(Ordering::Relaxed)
    }

    /// Renders all metrics in Prometheus' text format, version 0.0.4.
    pub fn text(&self) -> Result<String, String> {
        let encoded = TextEncoder::new().encode_to_string(&self.registry.0.gather());
        encoded.map_err(|error| error.to_string())
    }
}

/// Counts calls that had to wait for a service.
#[derive(Clone, Debug)]
pub struct Waits(IntCounterVec, Service);

impl Waits {
    /// Counts a call that is retried.
    pub fn waited(&self) {
        self.0.with_label_values(&[self.1.name()]).inc();
    }
}

/// Creates and registers the metrics of [`names::ALL`].
#[derive(Default)]
struct Registry(prometheus::Registry);

impl Registry {
    fn counters(&self, metric: &Definition) -> IntCounterVec {
        self.add(
            metric,
            InstrumentKind::Counter,
            IntCounterVec::new(options(metric), metric.labels),
        )
    }

    fn float_counters(&self, metric: &Definition) -> CounterVec {
        self.add(
            metric,
            InstrumentKind::Counter,
            CounterVec::new(options(metric), metric.labels),
        )
    }

    fn gauges(&self, metric: &Definition) -> IntGaugeVec {
        self.add(
            metric,
            InstrumentKind::Gauge,
            IntGaugeVec::new(options(metric), metric.labels),
        )
    }

    fn float_gauges(&self, metric: &Definition) -> GaugeVec {
        self.add(
            metric,
            InstrumentKind::Gauge,
            GaugeVec::new(options(metric), metric.labels),
        )
    }

    fn histograms(&self, metric: &Definition, buckets: &[f64]) -> HistogramVec {
        let options = HistogramOpts::from(options(metric)).buckets(buckets.to_vec());
        self.add(
            metric,
            InstrumentKind::Histogram,
            HistogramVec::new(options, metric.labels),
        )
    }

    fn add<T: Collector + Clone + 'static>(
        &self,
        metric: &Definition,
        kind: InstrumentKind,
        made: prometheus::Result<T>,
    ) -> T {
        assert_eq!(
            metric.kind, kind,
            "{} is not created with the kind of its definition",
            metric.name
        );
        let made = made.expect("the table's names and labels are well formed");
        let registered = self.0.register(Box::new(made.clone()));
        registered.expect("every metric of the table is made once");
        made
    }
}

fn options(metric: &Definition) -> Opts {
    Opts::new(metric.name, metric.help)
}

#[cfg(test)]
mod tests;
