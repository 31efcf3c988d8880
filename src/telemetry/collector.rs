//! The HTTP client that exports spans to the OpenTelemetry collector, and the warnings when an export fails.

use crate::http::{self, LARGEST_ERROR, chain, collect};
use crate::lock::lock;
use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use reqwest::{Client, Url};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tracing::{info, warn};

/// Interval at which the warning is repeated while the collector accepts nothing.
const WARN_INTERVAL: Duration = Duration::from_secs(600);

/// What goes to the collector, and what becomes of it.
#[derive(Debug)]
pub(super) struct Traffic {
    /// Without what may be secret in it.
    place: String,
    made: AtomicU64,
    taken: AtomicU64,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    /// What the last request ended with.
    why: String,
    /// When the last warning was logged; `None` while the collector accepts spans.
    warned: Option<Instant>,
}

impl Traffic {
    pub(super) fn to(url: &Url) -> Traffic {
        let mut redacted = url.clone();
        redacted.set_query(None);
        Traffic {
            place: redacted.to_string(),
            made: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            trouble: Mutex::default(),
        }
    }

    /// The collector's address, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// A span is to be sent.
    pub(super) fn made(&self) {
        self.made.fetch_add(1, Relaxed);
    }

    /// Spans that were to be sent, and those that the collector took.
    pub(super) fn count(&self) -> (u64, u64) {
        (self.made.load(Relaxed), self.taken.load(Relaxed))
    }

    /// The exporter, whose every request counts here.
    pub(super) fn watched<E: SpanExporter>(self: &Arc<Traffic>, exporter: E) -> Watched<E> {
        Watched {
            exporter,
            traffic: Arc::clone(self),
        }
    }

    /// Records the result of a request, and logs a change.
    fn ended(&self, spans: usize, result: &OTelSdkResult) {
        let mut trouble = self.lock();
        match result {
            Ok(()) => {
                self.taken.fetch_add(spans as u64, Relaxed);
                if trouble.warned.take().is_some() {
                    info!(collector = self.place, "the collector takes traces again");
                }
            }
            Err(error) => {
                if trouble
                    .warned
                    .is_none_or(|warned| warned.elapsed() >= WARN_INTERVAL)
                {
                    trouble.warned = Some(Instant::now());
                    let why = match trouble.why.as_str() {
                        "" => error.to_string(),
                        why => why.to_owned(),
                    };
                    warn!(
                        collector = self.place,
                        why, "the collector does not take traces: spans are lost, the work goes on"
                    );
                }
            }
        }
        trouble.why.clear();
    }

    fn failed(&self, why: String) {
        self.lock().why = why;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Trouble> {
        lock(&self.trouble)
    }
}

/// An exporter that is watched.
#[derive(Debug)]
pub(super) struct Watched<E> {
    exporter: E,
    traffic: Arc<Traffic>,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.exporter.export(batch).await;
        self.traffic.ended(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// The collector's HTTP side. Used by the thread that sends spans, and by no other: it drives its own runtime, since the last spans are sent
/// when the process's runtime is gone.
#[derive(Debug)]
pub(super) struct Collector {
    client: Client,
    runtime: Runtime,
    traffic: Arc<Traffic>,
}

impl Collector {
    /// Opens no connection yet.
    pub(super) fn new(url: &Url, timeout: Duration, traffic: Arc<Traffic>) -> Result<Collector, String> {
        let client = http::client(url)
            .timeout(timeout)
            .build()
            .map_err(|error| chain(&error.without_url()))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Collector {
            client,
            runtime,
            traffic,
        })
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, reqwest::Error> {
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        // A token may be in any of them, and HTTP libraries log what is not marked.
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        let request = self.client.request(parts.method, parts.uri.to_string());
        let response = request.headers(headers).body(body).send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        if !status.is_success() {
            self.traffic.failed(format!("HTTP {}", status.as_u16()));
        }
        let (body, _whole) = collect(response, LARGEST_ERROR).await?;
        let mut answer = Response::new(Bytes::from(body));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.runtime.block_on(self.exchange(request));
        answer.map_err(|error| {
            let why = chain(&error.without_url());
            self.traffic.failed(why.clone());
            why.into()
        })
    }
}
