//! What a process tells of itself while it works: log lines on stderr, for people or for collectors.

mod lines;
mod panics;

pub(crate) use lines::{Fields, write_line};

use lines::JsonLines;
use std::io::IsTerminal as _;
use std::sync::OnceLock;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// What is logged unless `BSFT_LOG` says otherwise. lapin reports as errors what the queue mends and reports itself.
const LEVELS: &str = "info,lapin=off";

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

/// Starts logging; once in a process. `info` tells a job's story in tens of lines.
pub(crate) fn start(wanted: LogFormat) {
    let format = *FORMAT.get_or_init(|| wanted);
    let levels = EnvFilter::try_from_env("BSFT_LOG").unwrap_or_else(|_| EnvFilter::new(LEVELS));
    let (human, json) = match format {
        LogFormat::Human => (Some(human().with_filter(levels)), None),
        LogFormat::Json => {
            panics::as_lines();
            (None, Some(JsonLines.with_filter(levels)))
        }
    };
    tracing_subscriber::registry().with(human).with(json).init();
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
