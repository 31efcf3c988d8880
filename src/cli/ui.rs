//! What a command says itself, whatever the log level: the answer on stdout, and on stderr how it went, in the log's own format.

use crate::telemetry::{Fields, LogFormat, format, write_line};
use std::fmt::Display;
use tracing::Level;

/// The target of such a line.
const TARGET: &str = "bsft";

/// Gives a person or a script what was asked for.
#[expect(clippy::print_stdout, reason = "what was asked for goes to stdout")]
pub(super) fn stdout(what: impl Display) {
    println!("{what}");
}

/// Tells how things go.
pub(super) fn info(what: impl Display) {
    message(Level::INFO, "", what);
}

/// Tells what a run came to: all of it to a person, to a program the first line and the figures as fields.
#[expect(clippy::print_stderr, reason = "a person reads it")]
pub(super) fn summary(words: &str, fields: impl FnOnce() -> Fields) {
    match format() {
        LogFormat::Human => eprintln!("{words}"),
        LogFormat::Json => {
            let first = words.lines().next().unwrap_or_default();
            write_line(Level::INFO, TARGET, first.to_owned(), fields());
        }
    }
}

/// Tells what somebody has to do, or know, although nothing went wrong.
pub(super) fn notice(what: impl Display) {
    message(Level::WARN, "", what);
}

/// Warns of what is allowed but hardly meant.
pub(super) fn warn(what: impl Display) {
    message(Level::WARN, "warning: ", what);
}

/// Tells what is wrong with what was asked for; the words say that it is.
pub(super) fn problem(what: impl Display) {
    message(Level::ERROR, "", what);
}

/// Tells why it ended.
pub(super) fn error(what: impl Display) {
    message(Level::ERROR, "error: ", what);
}

#[expect(clippy::print_stderr, reason = "a person reads it")]
fn message(level: Level, mark: &str, what: impl Display) {
    match format() {
        LogFormat::Human => eprintln!("{mark}{what}"),
        LogFormat::Json => write_line(level, TARGET, what.to_string(), Fields::default()),
    }
}

/// So many of a thing, in words: `1 teacher`, `2 teachers`.
pub(super) fn counted(number: usize, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}
