//! Log lines for collectors: a JSON object each, fields flat beside timestamp, level, target and message.
//!
//! The fields of the spans around an event are fields of its line; where two have the same name, the inner one counts.

use crate::terminal_text::terminal_text;
use serde_json::{Map, Value};
use std::fmt;
use std::io::Write as _;
use std::sync::OnceLock;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Keys that every line has and no field may take.
const HEAD: [&str; 4] = ["timestamp", "level", "target", "message"];

/// What a trace backend reads of a span and no person does.
const NOT_FOR_LINES: &str = "otel.";

/// The fields of a line, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

/// The run that this process coordinates and the job's name, once there is one: on every line from then on.
static RUN: OnceLock<[(&str, String); 2]> = OnceLock::new();

/// Sets the run of this process; only the first call counts.
pub(crate) fn set_run_context(run: &str, name: &str) {
    // Tests have several in a process, and do not read lines.
    let _ = RUN.set([("run", run.to_owned()), ("name", name.to_owned())]);
}

/// Writes each event as a line on stderr.
pub(super) struct JsonLines;

impl<S> Layer<S> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        let mut visitor = MessageVisitor {
            message: String::new(),
            fields: &mut fields,
        };
        event.record(&mut visitor);
        let message = visitor.message;
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(outer) = span.extensions().get::<Fields>() {
                for (name, value) in &outer.0 {
                    fields.0.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
        let data = event.metadata();
        write_line(*data.level(), data.target(), message, fields);
    }
}

/// Writes a whole line to stderr; errors are ignored, since there is no other place for them.
pub(crate) fn write_line(level: Level, target: &str, message: String, fields: Fields) {
    let mut line = line(&now(), level, target, message, fields);
    line.push('\n');
    let _ = std::io::stderr().write_all(terminal_text(&line).as_bytes());
}

fn line(timestamp: &str, level: Level, target: &str, message: String, fields: Fields) -> String {
    let mut all = Map::with_capacity(HEAD.len() + fields.0.len());
    let head = [
        timestamp.into(),
        level.as_str().into(),
        target.into(),
        message.into(),
    ];
    all.extend(HEAD.map(str::to_owned).into_iter().zip(head));
    all.extend(fields.0);
    for (name, value) in RUN.get().into_iter().flatten() {
        all.entry(*name).or_insert_with(|| value.as_str().into());
    }
    Value::Object(all).to_string()
}

/// As people see it in their lines: RFC 3339, UTC, with microseconds.
fn now() -> String {
    let mut time = String::new();
    // Writing to a String cannot fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    time
}

impl Fields {
    /// With one more.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Fields {
        self.insert(name, value.into());
        self
    }

    fn insert(&mut self, name: &str, value: Value) {
        if name.starts_with(NOT_FOR_LINES) {
            return;
        }
        let name = if HEAD.contains(&name) {
            format!("{name}_")
        } else {
            name.to_owned()
        };
        self.0.insert(name, value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field.name(), format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field.name(), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field.name(), value.into());
    }
}

/// Separates the message of an event from its fields.
struct MessageVisitor<'a> {
    message: String,
    fields: &'a mut Fields,
}

impl Visit for MessageVisitor<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" if self.message.is_empty() => self.message = format!("{value:?}"),
            _ => self.fields.record_debug(field, value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" if self.message.is_empty() => self.message = value.to_owned(),
            _ => self.fields.record_str(field, value),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.fields.record_i64(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.fields.record_u64(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.fields.record_f64(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.fields.record_bool(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_is_one_json_object_for_any_message() {
        let fields = Fields::default().with("run", "r-1").with("tasks", 3);
        let line = line(
            "2026-01-31T23:59:59.123456Z",
            Level::WARN,
            "bsft",
            "two\n\"lines\"".into(),
            fields,
        );
        assert_eq!(
            line,
            r#"{"timestamp":"2026-01-31T23:59:59.123456Z","level":"WARN","target":"bsft","message":"two\n\"lines\"","run":"r-1","tasks":3}"#
        );
    }

    #[test]
    fn line_renames_fields_that_collide_with_its_own() {
        let fields = Fields::default()
            .with("level", "deep")
            .with("otel.kind", "client");
        let line = line("now", Level::INFO, "bsft", "visitor".into(), fields);
        assert_eq!(
            line,
            r#"{"timestamp":"now","level":"INFO","target":"bsft","message":"visitor","level_":"deep"}"#
        );
    }

    #[test]
    fn time_is_utc_in_rfc_3339() {
        let now = now();
        assert!(
            now.ends_with('Z') && now.len() == "2026-01-31T23:59:59.123456Z".len(),
            "{now}"
        );
    }
}
