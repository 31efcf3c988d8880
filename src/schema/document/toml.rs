//! TOML with line numbers, from the spanned tables of the `toml` crate.

use super::{Datum, LineStarts, Node, TableEntry};
use crate::schema::Problems;
use crate::value::Value;
use num_bigint::BigInt;
use num_traits::Num;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Parses a whole file. Every syntax error is a problem.
pub(super) fn parse(file: &Path, text: &str) -> Result<Node, Problems> {
    let lines = LineStarts::new(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(Node {
            line: 1,
            datum: entries(table.into_inner(), &lines),
        });
    }
    let mut problems = Problems::default();
    for error in errors {
        let line = error
            .span()
            .map(|span| lines.line_of(span.start.min(text.len().saturating_sub(1))));
        let message = format!("this is not TOML: {}", error.message().trim().replace('\n', "; "));
        let remedy = if error.message().contains("duplicate key") {
            "write each key and each [table] once; a list of tables has double brackets"
        } else {
            "put strings in quotes, and write one `key = value` to a line"
        };
        problems.add(file, line, message, remedy);
    }
    problems.or(None)
}

fn entries(table: DeTable<'_>, lines: &LineStarts) -> Datum {
    let entry = |(key, value): (Spanned<std::borrow::Cow<'_, str>>, Spanned<DeValue<'_>>)| {
        let line = lines.line_of(key.span().start);
        (
            key.into_inner().into_owned(),
            TableEntry {
                line,
                node: node(value, lines),
            },
        )
    };
    Datum::Table(table.into_iter().map(entry).collect())
}

fn node(value: Spanned<DeValue<'_>>, lines: &LineStarts) -> Node {
    let line = lines.line_of(value.span().start);
    let datum = match value.into_inner() {
        DeValue::String(s) => Datum::Text(s.into_owned()),
        DeValue::Integer(i) => {
            let digits = i.as_str().replace('_', "");
            let big = BigInt::from_str_radix(digits.trim_start_matches('+'), i.radix());
            Datum::Number(Value::from_bigint(big.unwrap_or_default()))
        }
        DeValue::Float(f) => Datum::Number(Value::Float(
            f.as_str().replace('_', "").parse().unwrap_or(f64::NAN),
        )),
        DeValue::Boolean(b) => Datum::Bool(b),
        DeValue::Datetime(t) => Datum::Time(t.to_string()),
        DeValue::Array(items) => Datum::List(items.into_iter().map(|item| node(item, lines)).collect()),
        DeValue::Table(table) => entries(table, lines),
    };
    Node { line, datum }
}
