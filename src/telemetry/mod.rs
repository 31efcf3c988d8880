//! What a process tells of itself while it works: log lines on stderr, for people or for collectors, and traces where somebody takes them.

mod collector;
mod ids;
mod lines;
mod panics;
pub(crate) mod spans;
mod traces;

pub(crate) use lines::{Fields, set_run_context, write_line};

use lines::JsonLines;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use traces::TraceExporter;
use tracing::level_filters::LevelFilter;
use tracing::{Level, warn};
use tracing_subscriber::filter::{FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// What is logged unless `BSFT_LOG` says otherwise.
const LEVEL: &str = "info";

/// lapin reports as errors what the queue mends and reports itself: whoever wants to hear it names it.
const QUIET: &str = "lapin=off";

/// How everything on stderr is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Human,
    /// A JSON object on each line.
    Json,
}

/// Of this process, once it has begun to tell.
static FORMAT: OnceLock<LogFormat> = OnceLock::new();

/// How this process writes; as for people until it has been told.
pub(crate) fn format() -> LogFormat {
    FORMAT.get().copied().unwrap_or(LogFormat::Human)
}

/// Whether a line that changes can be drawn on stderr.
pub(crate) fn is_live() -> bool {
    format() == LogFormat::Human && std::io::stderr().is_terminal()
}

/// What ends with the process.
pub(crate) struct TelemetryGuard(Option<TraceExporter>);

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(traces) = &self.0 {
            traces.end();
        }
    }
}

/// Starts logging, and traces under this name; once in a process. `info` tells a job's story in tens of lines.
pub(crate) fn start(wanted: LogFormat, service: &'static str) -> TelemetryGuard {
    let format = *FORMAT.get_or_init(|| wanted);
    let wished = std::env::var("BSFT_LOG").unwrap_or_default();
    let (levels, unread) = match levels(&wished) {
        Ok(levels) => (levels, None),
        Err(why) => (EnvFilter::new(format!("{QUIET},{LEVEL}")), Some(why)),
    };
    let (human, json) = match format {
        LogFormat::Human => (Some(human().with_filter(levels.and(without_job()))), None),
        LogFormat::Json => {
            panics::as_lines();
            (None, Some(JsonLines.with_filter(levels)))
        }
    };
    let (traces, failure) = match TraceExporter::start(service) {
        Ok(traces) => (traces, None),
        Err(failure) => (None, Some(failure)),
    };
    tracing_subscriber::registry()
        .with(human)
        .with(json)
        .with(traces.as_ref().map(TraceExporter::layer))
        .init();
    if let Some(why) = unread {
        warn!(
            "BSFT_LOG={wished:?} is not followed: {why}; write a level (debug), or TARGET=LEVEL with commas between"
        );
    }
    if let Some(traces) = &traces {
        traces.tell();
    }
    if let Some(failure) = failure {
        warn!("no traces are sent: {failure}");
    }
    TelemetryGuard(traces)
}

/// The levels that were wished for; nothing wished is [`LEVEL`].
fn levels(wished: &str) -> Result<EnvFilter, ParseError> {
    let wished = if wished.trim().is_empty() { LEVEL } else { wished };
    // Of two directives for a target the later one counts.
    EnvFilter::try_new(format!("{QUIET},{wished}"))
}

/// A person who reads one process's lines knows whose they are.
fn without_job<S>() -> impl Filter<S> {
    filter_fn(|data| data.is_event() || *data.level() > Level::INFO).with_max_level_hint(LevelFilter::TRACE)
}

fn human<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .compact()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_for_a_level_does_not_bring_what_the_queue_says_itself() {
        for (wished, shown) in [
            ("", "lapin=off,info"),
            (" ", "lapin=off,info"),
            ("debug", "lapin=off,debug"),
            ("info,lapin=error", "lapin=error,info"),
        ] {
            assert_eq!(levels(wished).unwrap().to_string(), shown, "{wished:?}");
        }
        assert!(levels("bsft=loud").is_err());
    }
}
