//! What a panic prints: a bug in bsft, for people or as a JSON log line. Caught panics print nothing.

use super::LogFormat;
use super::lines::{Fields, write_line};
use crate::caught_panic::{is_caught, message};
use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::{PanicHookInfo, set_hook, take_hook};
use tracing::Level;

/// Prints panics in this format from now on.
pub(super) fn print_as(format: LogFormat) {
    let human = take_hook();
    set_hook(Box::new(move |panic| match format {
        _ if is_caught() => {}
        LogFormat::Human => human(panic),
        LogFormat::Json => write(panic),
    }));
}

fn write(panic: &PanicHookInfo<'_>) {
    let mut fields = Fields::default();
    if let Some(place) = panic.location() {
        fields = fields.with("place", place.to_string());
    }
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        fields = fields.with("backtrace", backtrace.to_string());
    }
    let text = format!("panicked: {}", message(panic.payload()));
    write_line(Level::ERROR, "bsft", text, fields);
}
