//! JSON with line numbers and in key order. Uses `jsonc-parser`, restricted to plain JSON.

use super::{Datum, LineStarts, Node, TableEntry};
use crate::schema::Problems;
use indexmap::IndexMap;
use indexmap::map::Entry as Slot;
use jsonc_parser::ast::Value as Ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use std::path::Path;

/// The maximum nesting depth of lists and objects, because the parser recurses.
const MAX_DEPTH: usize = 128;

/// Parses a whole file. A syntax error or a duplicate key is a problem.
pub(super) fn parse(file: &Path, text: &str) -> Result<Node, Problems> {
    let lines = LineStarts::new(text);
    let mut problems = Problems::default();
    if let Some(offset) = too_deep(text) {
        let message = format!("this nests deeper than {MAX_DEPTH} levels");
        problems.add(file, Some(lines.line_of(offset)), message, "write it flatter");
        return problems.or(None);
    }
    let options = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let node = match parse_to_ast(text, &CollectOptions::default(), &options) {
        Ok(parsed) => match parsed.value {
            Some(value) => Some(node(&value, file, &lines, &mut problems)),
            None => {
                problems.add(file, None, "the file is empty", "write a JSON object");
                None
            }
        },
        Err(error) => {
            let message = format!("this is not JSON: {}", error.kind());
            let remedy = "put keys and strings in double quotes; leave out comments and a comma at the end";
            problems.add(file, Some(lines.line_of(error.range().start)), message, remedy);
            None
        }
    };
    problems.or(node)
}

/// The offset of the first bracket that nests too deep. `None` if there is none.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Some(offset);
        }
    }
    None
}

fn node(value: &Ast<'_>, file: &Path, lines: &LineStarts, problems: &mut Problems) -> Node {
    let line = lines.line_of(value.range().start);
    let datum = match value {
        Ast::StringLit(s) => Datum::Text(s.value.clone().into_owned()),
        Ast::NumberLit(n) => match crate::python::json::parse(n.value) {
            Ok(number) => Datum::Number(number),
            Err(_) => {
                problems.add(
                    file,
                    Some(line),
                    format!("`{}` is not a number", n.value),
                    "write a JSON number",
                );
                Datum::Null
            }
        },
        Ast::BooleanLit(b) => Datum::Bool(b.value),
        Ast::NullKeyword(_) => Datum::Null,
        Ast::Array(list) => Datum::List(
            list.elements
                .iter()
                .map(|item| node(item, file, lines, problems))
                .collect(),
        ),
        Ast::Object(object) => {
            let mut table = IndexMap::with_capacity(object.properties.len());
            for property in &object.properties {
                let line = lines.line_of(property.range.start);
                let entry = TableEntry {
                    line,
                    node: node(&property.value, file, lines, problems),
                };
                match table.entry(property.name.as_str().to_owned()) {
                    Slot::Vacant(slot) => {
                        slot.insert(entry);
                    }
                    Slot::Occupied(slot) => {
                        let message = format!("the key `{}` occurs twice", slot.key());
                        problems.add(file, Some(line), message, "write each key once");
                    }
                }
            }
            Datum::Table(table)
        }
    };
    Node { line, datum }
}
