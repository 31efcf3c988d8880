//! Panics as log lines: where every line is a JSON object, a bug's words are one, too.

use super::lines::{Fields, write_line};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook};
use tracing::Level;

/// From now on.
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
            format!("panicked: {}", words(panic)),
            fields,
        );
    }));
}

fn words<'a>(panic: &'a PanicHookInfo<'_>) -> &'a str {
    let payload = panic.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no words")
}
