//! An OpenTelemetry collector as far as a test needs one: it takes traces over HTTP, or takes none.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// What the collector does with the spans that it receives.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    Takes,
    /// Answers with that status line, and everything that it was sent in the body.
    Refuses(&'static str),
    /// Never answers.
    Hangs,
}

/// A span as it came in.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty for a root.
    pub(super) parent: String,
    pub(super) is_error: bool,
    pub(super) fields: BTreeMap<String, String>,
    pub(super) service: BTreeMap<String, String>,
}

/// The collector; it ends with the test's process.
pub(super) struct Collector {
    address: String,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) spans: Vec<Span>,
    /// Heads and bodies as they came.
    pub(super) bytes: Vec<u8>,
    pub(super) requests: usize,
}

impl Collector {
    pub(super) fn start(manner: Manner) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Taken::default()));
        let shared = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = Arc::clone(&shared);
                thread::spawn(move || serve(stream, manner, &taken));
            }
        });
        Collector { address, taken }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// What came in so far.
    pub(super) fn taken(&self) -> Taken {
        std::mem::take(&mut *self.taken.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Answers requests on a connection until it goes.
fn serve(stream: TcpStream, manner: Manner, taken: &Mutex<Taken>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let answer = {
            let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
            taken.requests += 1;
            taken.bytes.extend_from_slice(head.as_bytes());
            taken.bytes.extend_from_slice(&body);
            match manner {
                Manner::Takes => {
                    assert!(head.starts_with("POST /v1/traces "), "{head}");
                    taken.spans.extend(spans(&body));
                    ("200 OK", Vec::new())
                }
                Manner::Refuses(status) => (status, [head.into_bytes(), body].concat()),
                Manner::Hangs => continue,
            }
        };
        let (status, said) = answer;
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", said.len());
        if reader
            .get_mut()
            .write_all(&[head.into_bytes(), said].concat())
            .is_err()
        {
            return;
        }
    }
}

fn spans(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let mut found = Vec::new();
    for resource in request.resource_spans {
        let service = fields(
            resource
                .resource
                .map(|resource| resource.attributes)
                .unwrap_or_default(),
        );
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.events.is_empty(), "{span:?}");
            found.push(Span {
                name: span.name,
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                is_error: span
                    .status
                    .is_some_and(|status| status.code == StatusCode::Error as i32),
                fields: fields(span.attributes),
                service: service.clone(),
            });
        }
    }
    found
}

fn fields(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|field| (field.key, text(field.value)))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
