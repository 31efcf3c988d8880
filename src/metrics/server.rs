//! The HTTP server of `/metrics`, `/healthz` and `/readyz`. The only module that serves HTTP.
//!
//! Each connection serves one request. The number of connections and the duration of each are limited, so that slow or many clients
//! cannot block others: a connection beyond the limit closes the oldest one.

use super::Metrics;
use crate::shutdown::Shutdown;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, warn};

/// The maximum number of open connections. A request is answered within milliseconds, so the oldest connection is a slow client's.
pub(crate) const MOST_CONNECTIONS: usize = 64;

/// The time limit for a client to send its request.
const ASK_WITHIN: Duration = Duration::from_secs(5);

/// The time limit for a connection.
const DONE_WITHIN: Duration = Duration::from_secs(15);

/// The pause after a failed accept, which usually means that there are no free file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(200);

/// The content type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

const PLAIN: &str = "text/plain; charset=utf-8";

/// A running server. It stops when this is dropped.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    _task: AbortOnDropHandle<()>,
}

/// The state that all requests read.
struct ServedState {
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

impl MetricsServer {
    /// Starts to serve on the listener, in a task of the current runtime.
    pub fn start(
        listener: std::net::TcpListener,
        metrics: Arc<Metrics>,
        shutdown: Shutdown,
    ) -> io::Result<MetricsServer> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        metrics
            .is_served
            .store(true, std::sync::atomic::Ordering::Relaxed);
        let state = Arc::new(ServedState { metrics, shutdown });
        let task = tokio::spawn(accept(listener, state));
        Ok(MetricsServer {
            address,
            _task: AbortOnDropHandle::new(task),
        })
    }

    /// The address of the listener, with the actual port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn accept(listener: TcpListener, state: Arc<ServedState>) {
    let mut connections = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut has_failed = false;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    has_failed = false;
                    if oldest_first.len() >= MOST_CONNECTIONS && let Some(oldest) = oldest_first.pop_front() {
                        oldest.abort();
                    }
                    oldest_first.push_back(connections.spawn(serve(stream, Arc::clone(&state))));
                }
                Err(error) => {
                    if !std::mem::replace(&mut has_failed, true) {
                        warn!(%error, "a connection for metrics cannot be accepted");
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
            Some(ended) = connections.join_next_with_id() => {
                let id = ended.as_ref().map_or_else(JoinError::id, |(id, ())| *id);
                oldest_first.retain(|connection| connection.id() != id);
                if let Err(panicked) = ended && panicked.is_panic() {
                    error!(%panicked, "bug: an answer about metrics ended in a panic; please report it");
                }
            },
        }
    }
}

async fn serve(stream: TcpStream, state: Arc<ServedState>) {
    let answer = service_fn(|request| {
        let answer = state.answer(&request);
        async { Ok::<_, Infallible>(answer) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASK_WITHIN)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer);
    match tokio::time::timeout(DONE_WITHIN, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "a client of the metrics went wrong"),
        Err(_) => debug!("a client of the metrics was too slow"),
    }
}

impl ServedState {
    fn answer(&self, request: &Request<Incoming>) -> Response<String> {
        let answer: fn(&ServedState) -> Response<String> = match request.uri().path() {
            "/metrics" => ServedState::metrics,
            "/healthz" => ServedState::health,
            "/readyz" => ServedState::readiness,
            _ => {
                let paths = "there are /metrics, /healthz and /readyz\n".to_owned();
                return response(StatusCode::NOT_FOUND, PLAIN, paths);
            }
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET it\n".to_owned());
            refused
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        answer(self)
    }

    fn metrics(&self) -> Response<String> {
        match self.metrics.text() {
            Ok(text) => response(StatusCode::OK, TEXT_FORMAT, text),
            Err(why) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, why),
        }
    }

    fn health(&self) -> Response<String> {
        verdict(&self.metrics.health.stuck())
    }

    fn readiness(&self) -> Response<String> {
        let mut missing = self.metrics.health.missing();
        if self.shutdown.is_draining() {
            missing.push("draining".to_owned());
        }
        verdict(&missing)
    }
}

fn verdict(against: &[String]) -> Response<String> {
    match against {
        [] => response(StatusCode::OK, PLAIN, "ok\n".to_owned()),
        // One line for each reason, even if the reason contains line feeds.
        reasons => {
            let lines: Vec<String> = reasons
                .iter()
                .map(|reason| reason.replace(['\n', '\r'], " ") + "\n")
                .collect();
            response(StatusCode::SERVICE_UNAVAILABLE, PLAIN, lines.concat())
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
