//! The flags that decide what goes to stderr and how: `--log-format`, `--quiet`, `--verbose` and `--color`.

use crate::telemetry::{LogFormat, LogOptions, Verbosity};
use clap::{ArgAction, Args, ColorChoice, ValueEnum};
use std::ffi::OsString;
use std::io::IsTerminal as _;

/// Log options.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Log options")]
pub struct LogFlags {
    /// Print only warnings and errors on stderr; results still go to stdout
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Log more: -v for debug, -vv for trace. BSFT_LOG, if set, overrides -v and -q for log lines
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// When to use colors: auto, always or never. NO_COLOR, CLICOLOR_FORCE and TERM decide in auto
    #[arg(
        long,
        global = true,
        hide_possible_values = true,
        value_name = "WHEN",
        default_value = "auto"
    )]
    pub color: ColorChoice,
    /// Format of the lines on stderr: human, json, or auto (json for services without a terminal)
    #[arg(
        long,
        global = true,
        hide_possible_values = true,
        value_name = "FORMAT",
        env = "BSFT_LOG_FORMAT",
        default_value = "human"
    )]
    pub log_format: LogFormatName,
}

/// A format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormatName {
    /// Lines for people
    // An empty variable counts as unset.
    #[value(alias = "")]
    Human,
    /// A JSON object on each line
    Json,
    /// JSON where stderr is no terminal, for the commands that run as a service; otherwise lines for people
    Auto,
}

impl LogFlags {
    /// Of a command that may run as a service, so that a collector may read its lines.
    pub(super) fn for_service(&self) -> LogOptions {
        self.options(if std::io::stderr().is_terminal() {
            LogFormat::Human
        } else {
            LogFormat::Json
        })
    }

    /// Of a command that answers a person, wherever its output goes.
    pub(super) fn for_person(&self) -> LogOptions {
        self.options(LogFormat::Human)
    }

    fn options(&self, auto: LogFormat) -> LogOptions {
        LogOptions {
            format: match self.log_format {
                LogFormatName::Human => LogFormat::Human,
                LogFormatName::Json => LogFormat::Json,
                LogFormatName::Auto => auto,
            },
            verbosity: match (self.quiet, self.verbose) {
                (true, _) => Verbosity::Quiet,
                (false, 0) => Verbosity::Normal,
                (false, 1) => Verbosity::Debug,
                (false, _) => Verbosity::Trace,
            },
        }
    }
}

/// Applies `--color` to everything that is printed, before the arguments are parsed: help and usage errors follow it, too.
pub(super) fn choose_colors(arguments: &[OsString]) {
    let choice = match color_argument(arguments) {
        ColorChoice::Always => anstream::ColorChoice::Always,
        ColorChoice::Never => anstream::ColorChoice::Never,
        ColorChoice::Auto => anstream::ColorChoice::Auto,
    };
    choice.write_global();
}

/// The value of `--color`; `auto` where it is missing or wrong.
fn color_argument(arguments: &[OsString]) -> ColorChoice {
    let arguments: Vec<&str> = arguments
        .iter()
        .filter_map(|argument| argument.to_str())
        .collect();
    let value = arguments.iter().enumerate().find_map(|(i, argument)| {
        let rest = argument.strip_prefix("--color")?;
        if rest.is_empty() {
            arguments.get(i + 1).copied()
        } else {
            rest.strip_prefix('=')
        }
    });
    value
        .and_then(|value| ColorChoice::from_str(value, false).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_argument_is_found_before_parsing() {
        for (arguments, choice) in [
            (&["bsft", "status"][..], ColorChoice::Auto),
            (&["bsft", "--color", "never", "status"], ColorChoice::Never),
            (&["bsft", "status", "--color=always"], ColorChoice::Always),
            (&["bsft", "--color=blue"], ColorChoice::Auto),
            (&["bsft", "--colorful", "never"], ColorChoice::Auto),
            (&["bsft", "--color"], ColorChoice::Auto),
        ] {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            assert_eq!(color_argument(&arguments), choice, "{arguments:?}");
        }
    }
}
