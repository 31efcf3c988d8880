//! TraceExporter to an OpenTelemetry collector (OTLP over HTTP, protobuf), where the environment names one.
//!
//! Spans wait in a bounded queue, which its own thread empties. A collector that is away costs spans, never a task.

use super::collector::{Collector, Traffic};
use super::ids::Derived;
use crate::http::{self, BadAddress};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, Key, KeyValue};
use opentelemetry_otlp::{Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanProcessor,
};
use std::env::VarError;
use std::sync::Arc;
use std::time::Duration;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, info, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// How long the end of a process waits until its last spans are with the collector.
const LAST_SPANS: Duration = Duration::from_secs(3);

/// The queue size in spans unless `OTEL_BSP_MAX_QUEUE_SIZE` is set: about 40 MB, or one second of the fastest worker.
const QUEUE: usize = 32_768;

/// The batch size in spans unless `OTEL_BSP_MAX_EXPORT_BATCH_SIZE` is set: about 2 MB.
const BATCH: usize = 4_096;

/// The request timeout unless `OTEL_EXPORTER_OTLP_TIMEOUT` is set: the default of the specification.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How often a batch is sent again that a collector in trouble refused, and how long after.
const RETRIES: usize = 2;
const RETRY_AFTER: Duration = Duration::from_millis(300);

/// The part of the specification's variables that is read here; the exporter and the SDK read the rest themselves.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const PROTOCOL: [&str; 2] = [
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// Why no spans are sent although a collector is configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum TracesError {
    #[error("{variable} is {value:?}: only http/protobuf is supported, usually on port 4318")]
    Protocol { variable: &'static str, value: String },
    #[error("{variable} is not the address of a collector: {reason}; write http://HOST:4318")]
    Endpoint { variable: &'static str, reason: String },
    #[error("{0}")]
    Exporter(String),
}

/// TraceExporter on their way to a collector.
pub(super) struct TraceExporter {
    provider: SdkTracerProvider,
    traffic: Arc<Traffic>,
}

impl TraceExporter {
    /// `None` if no collector is configured.
    pub(super) fn start(service: &'static str) -> Result<Option<TraceExporter>, TracesError> {
        let Some((variable, endpoint)) = endpoint() else {
            return Ok(None);
        };
        if let Some((variable, value)) = first(PROTOCOL).filter(|(_, value)| value != "http/protobuf") {
            return Err(TracesError::Protocol { variable, value });
        }
        let url = http::address(&endpoint).map_err(|bad| TracesError::Endpoint {
            variable,
            reason: match bad {
                BadAddress::Credentials => {
                    "it holds a password; put it into OTEL_EXPORTER_OTLP_HEADERS".to_owned()
                }
                BadAddress::Unusable(reason) => reason,
            },
        })?;
        let timeout = first(TIMEOUTS)
            .and_then(|(_, value)| value.parse().ok())
            .map_or(TIMEOUT, Duration::from_millis);
        let traffic = Arc::new(Traffic::to(&url));
        let collector = Collector::new(&url, timeout, Arc::clone(&traffic)).map_err(TracesError::Exporter)?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(collector)
            .with_endpoint(url.as_str())
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(timeout)
            .with_retry_policy(
                RetryPolicy::disabled()
                    .with_max_retries(RETRIES)
                    .with_initial_delay(RETRY_AFTER)
                    .with_max_delay(RETRY_AFTER),
            )
            .build()
            .map_err(|error| TracesError::Exporter(error.to_string()))?;
        let waiting = BatchSpanProcessor::builder(traffic.watched(exporter))
            .with_batch_config(batches())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_id_generator(Derived::default())
            .with_resource(resource(service))
            .with_span_processor(Counted {
                inner: waiting,
                traffic: Arc::clone(&traffic),
            })
            .build();
        Ok(Some(TraceExporter { provider, traffic }))
    }

    /// Takes the spans of bsft and no events: messages of errors belong to the log.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let ours = filter_fn(|data| {
            data.is_span() && data.target().starts_with("bsft") && *data.level() <= tracing::Level::DEBUG
        });
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("bsft"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(ours.with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Logs where the spans go.
    pub(super) fn log_target(&self) {
        info!(collector = self.traffic.place(), "traces are sent");
    }

    /// Sends the waiting spans, with a timeout; logs if some are left.
    pub(super) fn end(&self) {
        // The counters show the result, so the error adds nothing.
        let _ = self.provider.shutdown_with_timeout(LAST_SPANS);
        let (made, taken) = self.traffic.count();
        if taken < made {
            let (spans, lost) = (made, made - taken);
            warn!(
                spans,
                lost,
                collector = self.traffic.place(),
                "not all spans came to the collector"
            );
        }
    }
}

/// The variable that names a collector, and its address for traces.
fn endpoint() -> Option<(&'static str, String)> {
    let is = |name: &str, value: &str| variable(name).is_some_and(|set| set.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    if let Some(whole) = variable(TRACES_ENDPOINT) {
        return Some((TRACES_ENDPOINT, whole));
    }
    let base = variable(ENDPOINT)?;
    Some((ENDPOINT, format!("{}/v1/traces", base.trim_end_matches('/'))))
}

/// The first of the variables that is set.
fn first(names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| Some((name, variable(name)?)))
}

/// A variable's value; an empty one is as good as none.
fn variable(name: &str) -> Option<String> {
    match std::env::var(name) {
        Ok(value) if !value.trim().is_empty() => Some(value.trim().to_owned()),
        Ok(_) | Err(VarError::NotPresent | VarError::NotUnicode(_)) => None,
    }
}

fn batches() -> opentelemetry_sdk::trace::BatchConfig {
    let mut batches = BatchConfigBuilder::default();
    if variable("OTEL_BSP_MAX_QUEUE_SIZE").is_none() {
        batches = batches.with_max_queue_size(QUEUE);
    }
    if variable("OTEL_BSP_MAX_EXPORT_BATCH_SIZE").is_none() {
        batches = batches.with_max_export_batch_size(BATCH);
    }
    batches.build()
}

/// The attributes of this process, unless `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` set them.
fn resource(service: &'static str) -> Resource {
    const NAME: Key = Key::from_static_str("service.name");
    let given = Resource::builder().build();
    let ours = [
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        (
            "service.instance.id",
            crate::coordination::Process::current().to_string(),
        ),
    ];
    let missing = ours
        .into_iter()
        .filter(|(key, _)| given.get(&Key::from_static_str(key)).is_none());
    let mut resource =
        Resource::builder().with_attributes(missing.map(|(key, value)| KeyValue::new(key, value)));
    let named = given.get(&NAME).map(|name| name.to_string());
    if named.is_none_or(|name| name.starts_with("unknown_service")) {
        resource = resource.with_service_name(service);
    }
    resource.build()
}

/// Counts the spans to export, because the queue does not report how many it dropped.
#[derive(Debug)]
struct Counted {
    inner: BatchSpanProcessor,
    traffic: Arc<Traffic>,
}

impl SpanProcessor for Counted {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.inner.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() {
            self.traffic.made();
        }
        self.inner.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> Result<(), OTelSdkError> {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
