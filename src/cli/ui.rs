//! What a command prints beside the log: results on stdout, messages on stderr in the format of the log.
//!
//! A reader that goes away (`| head`) is no error: the command goes on and keeps its exit code. A stdout that cannot be written for
//! another reason, such as a full disk, is reported once and makes the exit code 1. What happens to stderr changes nothing.

use super::exit::Exit;
use crate::service_url::without_passwords;
use crate::telemetry::{Fields, LogFormat, format, is_quiet, write_line};
use crate::terminal_text::terminal_text;
use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use std::fmt::Display;
use std::io::{self, Write as _};
use std::sync::OnceLock;
use tracing::Level;

/// The target of such a line.
const TARGET: &str = "bsft";

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

/// Why stdout cannot be written any more; nothing is written after that.
static STDOUT_ERROR: OnceLock<io::Error> = OnceLock::new();

/// Prints a result on stdout, with a newline. Colors are removed where stdout takes none.
pub(super) fn stdout(result: impl Display) {
    write_stdout(&terminal_text(&format!("{result}\n")));
}

/// Prints a message about the state of the command, unless `--quiet` was given.
pub(super) fn info(text: impl Display) {
    message(Level::INFO, "", text);
}

/// Prints what a run came to, unless `--quiet` was given: in full for people, otherwise its first line with the figures as fields.
pub(super) fn summary(text: &str, fields: impl FnOnce() -> Fields) {
    match format() {
        _ if is_quiet() => {}
        LogFormat::Human => write_stderr(&terminal_text(&format!("{text}\n"))),
        LogFormat::Json => {
            let first = text.lines().next().unwrap_or_default();
            write_line(Level::INFO, TARGET, first.to_owned(), fields());
        }
    }
}

/// Prints what the user has to do or to know although nothing went wrong.
pub(super) fn notice(text: impl Display) {
    message(Level::WARN, "", text);
}

/// Warns about something that is allowed but probably not meant.
pub(super) fn warn(text: impl Display) {
    message(Level::WARN, &label(WARNING, "warning"), text);
}

/// Prints a list of problems, each of which names its place.
pub(super) fn problem(text: impl Display) {
    message(Level::ERROR, "", text);
}

/// Prints why the command failed.
pub(super) fn error(text: impl Display) {
    message(Level::ERROR, &label(ERROR, "error"), text);
}

/// Prints clap's help, version or usage error.
pub(super) fn usage(error: &clap::Error) -> Exit {
    // An argument in the wrong place may be a URL.
    let text = without_passwords(&error.render().ansi().to_string());
    if error.use_stderr() {
        write_stderr(&text);
        Exit::Usage
    } else {
        write_stdout(&text);
        exit(Exit::Done)
    }
}

/// The exit code of the process: that of the command, or 1 where its result could not be written to stdout.
pub(super) fn exit(exit: Exit) -> Exit {
    match STDOUT_ERROR.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe && exit == Exit::Done => Exit::Failed,
        _ => exit,
    }
}

/// A number of things: `1 teacher`, `2 teachers`.
pub(super) fn counted(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

fn label(style: Style, word: &str) -> String {
    format!("{style}{word}:{style:#} ")
}

fn message(level: Level, label: &str, text: impl Display) {
    if is_quiet() && level > Level::WARN {
        return;
    }
    let text = without_passwords(&text.to_string());
    match format() {
        LogFormat::Human => write_stderr(&format!("{label}{}\n", terminal_text(&text))),
        LogFormat::Json => write_line(level, TARGET, text, Fields::default()),
    }
}

fn write_stdout(text: &str) {
    if STDOUT_ERROR.get().is_some() {
        return;
    }
    let mut out = AutoStream::auto(io::stdout().lock());
    if let Err(failure) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        if failure.kind() != io::ErrorKind::BrokenPipe {
            error(format_args!("cannot write to stdout: {failure}"));
        }
        // Only the first error counts.
        let _ = STDOUT_ERROR.set(failure);
    }
}

fn write_stderr(text: &str) {
    // There is no place left for a message about stderr.
    let _ = AutoStream::auto(io::stderr().lock()).write_all(text.as_bytes());
}
