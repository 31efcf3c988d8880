//! Panics as JSON log lines.

use super::lines::{Fields, write_line};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};
use tracing::Level;

/// Logs panics as JSON lines from now on.
pub(super) fn as_lines() {
    set_hook(Box::new(|panic| {
        let mut fields = Fields::default();
        if let Some(place) = panic.location() {
            fields = fields.with("place", place.to_string());
        }
        let backtrace = Backtrace::capture();
        if backtrace.status() == BacktraceStatus::Captured {
            fields = fields.with("backtrace", backtrace.to_string());
        }
        write_line(
            Level::ERROR,
            "bsft",
            format!("panicked: {}", message(panic)),
            fields,
        );
    }));
}

fn message<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}
