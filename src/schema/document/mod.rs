//! A TOML or JSON file as a tree of values with line numbers.

mod json;
mod toml;

use super::problem::Problems;
use crate::python::json::{dumps, to_serde};
use crate::value::Value;
use indexmap::IndexMap;
use std::path::Path;

/// A value and the line on which it starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The line, counted from 1.
    pub line: u32,
    pub datum: Datum,
}

/// The possible values of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// JSON's `null`. In a job file it means the same as a missing key.
    Null,
    Bool(bool),
    /// An integer or a float.
    Number(Value),
    Text(String),
    /// TOML's dates and times, as written.
    Time(String),
    List(Vec<Node>),
    /// A table or object in the file's order.
    Table(IndexMap<String, TableEntry>),
}

/// One key of a table and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct TableEntry {
    /// The key's line.
    pub line: u32,
    /// The value.
    pub node: Node,
}

impl Datum {
    /// The name of the type, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Datum::Null => "null",
            Datum::Bool(_) => "a boolean",
            Datum::Number(Value::Float(_)) => "a float",
            Datum::Number(_) => "an integer",
            Datum::Text(_) => "a string",
            Datum::Time(_) => "a date or time",
            Datum::List(_) => "a list",
            Datum::Table(_) => "a table",
        }
    }
}

impl Node {
    /// The value as Python would parse it. Dates become strings.
    pub fn to_value(&self) -> Value {
        match &self.datum {
            Datum::Null => Value::None,
            Datum::Bool(b) => Value::Bool(*b),
            Datum::Number(n) => n.clone(),
            Datum::Text(s) | Datum::Time(s) => Value::Str(s.clone()),
            Datum::List(items) => Value::list(items.iter().map(Node::to_value)),
            Datum::Table(entries) => Value::Dict(
                entries
                    .iter()
                    .map(|(k, e)| (Value::Str(k.clone()), e.node.to_value()))
                    .collect(),
            ),
        }
    }

    /// The value as plain JSON data.
    pub fn to_json(&self) -> serde_json::Value {
        to_serde(&self.to_value())
    }

    /// The value as JSON text in which `1` and `1.0` stay apart.
    pub fn to_text(&self) -> String {
        dumps(&self.to_value())
    }
}

/// Reads `text` by the extension of `file`: `.json` is JSON, everything else TOML.
pub fn parse(file: &Path, text: &str) -> Result<Node, Problems> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match file.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("json") => json::parse(file, text),
        _ => toml::parse(file, text),
    }
}

/// The offsets at which lines start, to convert byte offsets to lines.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn new(text: &str) -> LineStarts {
        LineStarts(
            std::iter::once(0)
                .chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|i| i + 1))
                .collect(),
        )
    }

    /// The line of a byte offset, counted from 1.
    fn line_of(&self, offset: usize) -> u32 {
        u32::try_from(self.0.partition_point(|start| *start <= offset)).unwrap_or(u32::MAX)
    }
}
