//! What a process reports while it works: log lines on stderr, for people or for collectors, and OpenTelemetry traces.

mod collector;
mod ids;
mod lines;
mod panics;
pub(crate) mod spans;
mod traces;

pub(crate) use lines::{Fields, set_run_context, write_line};

use anstream::{AutoStream, ColorChoice};
use indicatif::ProgressDrawTarget;
use lines::JsonLines;
use std::sync::OnceLock;
use traces::TraceExporter;
use tracing::level_filters::LevelFilter;
use tracing::{Level, warn};
use tracing_subscriber::filter::{FilterExt as _, ParseError, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// lapin logs as errors what the broker client handles and reports itself; `BSFT_LOG=lapin=error` brings it back.
const SILENCED: &str = "lapin=off";

/// How everything on stderr is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Human,
    /// A JSON object on each line.
    Json,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verbosity {
    /// Warnings and errors, and no progress.
    Quiet,
    /// `info`: some tens of lines for a run.
    Normal,
    /// The debug lines of bsft itself.
    Debug,
    /// The trace lines of bsft itself.
    Trace,
}

impl Verbosity {
    /// The filter that it stands for, in the syntax of `BSFT_LOG`.
    fn filter(self) -> &'static str {
        match self {
            Verbosity::Quiet => "warn",
            Verbosity::Normal => "info",
            Verbosity::Debug => "info,bsft=debug",
            Verbosity::Trace => "info,bsft=trace",
        }
    }
}

/// How a process logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) format: LogFormat,
    pub(crate) verbosity: Verbosity,
}

/// The options of this process, once [`start`] was called.
static OPTIONS: OnceLock<LogOptions> = OnceLock::new();

/// The format of everything on stderr; [`LogFormat::Human`] before [`start`].
pub(crate) fn format() -> LogFormat {
    OPTIONS.get().map_or(LogFormat::Human, |options| options.format)
}

/// Whether only warnings and errors are wanted.
pub(crate) fn is_quiet() -> bool {
    OPTIONS
        .get()
        .is_some_and(|options| options.verbosity == Verbosity::Quiet)
}

/// Whether a live block can be drawn on stderr: not in a pipe, on a dumb terminal, between JSON lines, or with `--quiet`.
pub(crate) fn is_live() -> bool {
    format() == LogFormat::Human && !is_quiet() && !ProgressDrawTarget::stderr().is_hidden()
}

/// Whether stderr takes colors: `--color`, `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and whether it is a terminal decide, in this order.
fn has_colors() -> bool {
    AutoStream::choice(&std::io::stderr()) != ColorChoice::Never
}

/// Sends the last spans when it is dropped, at the end of the process.
pub(crate) struct TelemetryGuard(Option<TraceExporter>);

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(traces) = &self.0 {
            traces.end();
        }
    }
}

/// Starts logging, and tracing under the name of the service; to be called once in a process.
pub(crate) fn start(options: LogOptions, service: &'static str) -> TelemetryGuard {
    let LogOptions { format, verbosity } = *OPTIONS.get_or_init(|| options);
    console::set_colors_enabled_stderr(has_colors());
    let variable = std::env::var("BSFT_LOG").unwrap_or_default();
    let (levels, invalid) = match levels(&variable, verbosity) {
        Ok(levels) => (levels, None),
        Err(reason) => (
            EnvFilter::new(format!("{SILENCED},{}", verbosity.filter())),
            Some(reason),
        ),
    };
    panics::print_as(format);
    let (human, json) = match format {
        LogFormat::Human => (Some(human().with_filter(levels.and(without_job()))), None),
        LogFormat::Json => (None, Some(JsonLines.with_filter(levels))),
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
    if let Some(reason) = invalid {
        warn!(
            "BSFT_LOG={variable:?} is ignored: {reason}; write a level (debug), or TARGET=LEVEL pairs with commas between"
        );
    }
    if let Some(traces) = &traces {
        traces.log_target();
    }
    if let Some(failure) = failure {
        warn!("no traces are sent: {failure}");
    }
    TelemetryGuard(traces)
}

/// The filter of log lines: `BSFT_LOG` where it is set, otherwise that of `-q` and `-v`.
fn levels(variable: &str, verbosity: Verbosity) -> Result<EnvFilter, ParseError> {
    let filter = if variable.trim().is_empty() {
        verbosity.filter()
    } else {
        variable
    };
    // Of two directives for a target the later one counts.
    EnvFilter::try_new(format!("{SILENCED},{filter}"))
}

/// Leaves out the span of the run: a person who reads the lines of one process knows the run.
fn without_job<S>() -> impl Filter<S> {
    filter_fn(|data| data.is_event() || *data.level() > Level::INFO).with_max_level_hint(LevelFilter::TRACE)
}

fn human<S>() -> impl tracing_subscriber::Layer<S>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(has_colors())
        // It would print to stderr that stderr cannot be written to, and panic.
        .log_internal_errors(false)
        .with_target(false)
        .compact()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_silence_lapin_unless_bsft_log_names_it() {
        for (variable, filter) in [
            ("", "lapin=off,info"),
            (" ", "lapin=off,info"),
            ("debug", "lapin=off,debug"),
            ("info,lapin=error", "lapin=error,info"),
        ] {
            let levels = levels(variable, Verbosity::Normal).unwrap();
            assert_eq!(levels.to_string(), filter, "{variable:?}");
        }
        assert!(levels("bsft=loud", Verbosity::Normal).is_err());
    }

    #[test]
    fn levels_follow_verbosity_unless_bsft_log_is_set() {
        for (verbosity, filter) in [
            (Verbosity::Quiet, "lapin=off,warn"),
            (Verbosity::Debug, "lapin=off,bsft=debug,info"),
            (Verbosity::Trace, "lapin=off,bsft=trace,info"),
        ] {
            assert_eq!(levels("", verbosity).unwrap().to_string(), filter);
            assert_eq!(levels("error", verbosity).unwrap().to_string(), "lapin=off,error");
        }
    }
}
