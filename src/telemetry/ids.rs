//! Trace ids are derived, as all ids here: a task's trace is found by the task's id, and attempts in different processes are one trace.

use crate::task::TaskId;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use std::cell::Cell;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

thread_local! {
    /// The id of the next trace that starts on this thread. The SDK calls its generator without arguments.
    static NEXT: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// Begins the root span's trace under this id. Without a collector there is no trace, and nothing happens.
pub(super) fn begin(root: &Span, id: TaskId) {
    NEXT.set(Some(TraceId::from_bytes(id.0)));
    let _begun = root.context();
    NEXT.set(None);
}

/// Gives the ids that were asked for, and draws the others.
#[derive(Debug, Default)]
pub(super) struct Derived(RandomIdGenerator);

impl IdGenerator for Derived {
    fn new_trace_id(&self) -> TraceId {
        NEXT.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}
