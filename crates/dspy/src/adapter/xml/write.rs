//! Writes nested values as tags, and the hints that show their structure.

use crate::signature;
use crate::signature::{Type, is_identifier};
use bsft_pycompat::repr;
use bsft_pycompat::value::Value;
use serde_json::{Map, Value as Json};
use std::borrow::Cow;

/// Escapes the characters that DSPy escapes between tags: only `&` and `<`.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '<']) {
        Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;"))
    } else {
        Cow::Borrowed(text)
    }
}

/// Writes a JSON-like value inside a tag.
pub(super) fn nested(tag: &str, value: &Value) -> String {
    let mut out = String::new();
    write(tag, "", value, &mut out);
    out
}

/// Writes a value inside a tag. `attribute` is empty or starts with a space.
fn write(tag: &str, attribute: &str, value: &Value, out: &mut String) {
    let is_void = match value {
        Value::None => true,
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.is_empty(),
        _ => false,
    };
    if is_void {
        out.push_str(&format!("<{tag}{attribute} />"));
        return;
    }
    out.push_str(&format!("<{tag}{attribute}>"));
    match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            for item in items {
                write("item", "", &item, out);
            }
        }
        Value::Model(model) => {
            for (name, child) in &model.fields {
                write_entry(name, child, out);
            }
        }
        Value::Dict(entries) => {
            for (name, child) in entries {
                write_entry(&repr::str(name), child, out);
            }
        }
        Value::Enum(member) => out.push_str(&escaped(&repr::str(&member.value))),
        scalar => out.push_str(&escaped(&repr::str(scalar))),
    }
    out.push_str(&format!("</{tag}>"));
}

fn write_entry(name: &str, value: &Value, out: &mut String) {
    if is_tag(name) {
        write(name, "", value, out);
    } else {
        write("entry", &format!(" key={}", quoted(name)), value, out);
    }
}

/// Whether the name is a Python identifier, with hyphens and full stops allowed after its first character.
fn is_tag(name: &str) -> bool {
    let Some(first) = name.chars().next() else {
        return false;
    };
    let rest = name[first.len_utf8()..].replace(['-', '.'], "_");
    is_identifier(&format!("{first}{rest}"))
}

/// `xml.sax.saxutils.quoteattr`.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' => out.push_str("&#10;"),
            '\r' => out.push_str("&#13;"),
            '\t' => out.push_str("&#9;"),
            c => out.push(c),
        }
    }
    match (out.contains('"'), out.contains('\'')) {
        (true, true) => format!("\"{}\"", out.replace('"', "&quot;")),
        (true, false) => format!("'{out}'"),
        _ => format!("\"{out}\""),
    }
}

/// The tags of a value of this type, with dots in place of the content.
pub(super) fn hint(tag: &str, ty: &Type) -> String {
    let schema = signature::schema(ty);
    let none = Map::new();
    let definitions = schema.get("$defs").and_then(Json::as_object).unwrap_or(&none);
    let mut out = String::new();
    write_hint(tag, &schema, definitions, &mut Vec::new(), &mut out);
    out
}

fn write_hint<'a>(
    tag: &str,
    schema: &'a Json,
    definitions: &'a Map<String, Json>,
    seen: &mut Vec<&'a str>,
    out: &mut String,
) {
    if let Some(name) = super::read::referred(schema) {
        match definitions.get(name).filter(|_| !seen.contains(&name)) {
            None => out.push_str(&format!("<{tag}>...</{tag}>")),
            Some(definition) => {
                seen.push(name);
                write_hint(tag, definition, definitions, seen, out);
                seen.pop();
            }
        }
        return;
    }
    if let Some([first, rest @ ..]) = schema.get("anyOf").and_then(Json::as_array).map(Vec::as_slice) {
        let choices = || std::iter::once(first).chain(rest);
        let choice = choices().find(|choice| !super::read::is_of(choice, "null"));
        write_hint(tag, choice.unwrap_or(first), definitions, seen, out);
        return;
    }
    out.push_str(&format!("<{tag}>"));
    let properties = schema.get("properties").and_then(Json::as_object);
    if super::read::is_of(schema, "array") {
        let item = schema.get("items").unwrap_or(&Json::Null);
        write_hint("item", item, definitions, seen, out);
    } else if let Some(properties) = properties.filter(|properties| !properties.is_empty()) {
        for (name, property) in properties {
            write_hint(name, property, definitions, seen, out);
        }
    } else {
        out.push_str("...");
    }
    out.push_str(&format!("</{tag}>"));
}
