//! Converts the tags of an answer to values, guided by the JSON Schema of each field.

use crate::adapter::{ParseFailure, answer};
use crate::signature::{Field, Signature, coerce, schema};
use bsft_pycompat::text;
use bsft_pycompat::value::{Record, Value};
use indexmap::IndexMap;
use roxmltree::{Document, Node, NodeType};
use serde_json::{Map, Value as Json};
use std::sync::LazyLock;

/// The maximum depth of elements; Python fails at a similar depth.
const MAX_DEPTH: usize = 400;

/// The schema of a value without a declared type.
static ANYTHING: LazyLock<Json> = LazyLock::new(|| Json::Object(Map::new()));

pub(super) fn parse(signature: &Signature, completion: &str) -> Result<Record, ParseFailure> {
    if completion.is_empty() {
        return Err(answer::empty());
    }
    let not_xml = |reason: String| ParseFailure {
        reason: format!("the answer is not XML: {reason}"),
        partial: None,
    };
    if nests_too_deeply(completion) {
        return Err(not_xml(format!("it nests deeper than {MAX_DEPTH} tags")));
    }
    let text = format!("<dspy_root>{completion}</dspy_root>");
    let document = Document::parse(&text).map_err(|error| not_xml(error.to_string()))?;
    let elements = by_name(document.root_element());
    let mut found = Vec::with_capacity(signature.outputs.len());
    for field in &signature.outputs {
        found.push(match elements.get(field.name.as_str()) {
            None => None,
            Some(elements) => Some(field_value(field, elements)?),
        });
    }
    answer::complete(signature, found)
}

/// Whether the tags nest deeper than [`MAX_DEPTH`]. Counts tags without parsing, so it may overestimate the depth. Reads the text once: a
/// `>` that was found closes every `<` before it.
fn nests_too_deeply(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (mut depth, mut closed_at) = (0_usize, 0);
    for (at, _) in text.match_indices('<') {
        match bytes.get(at + 1) {
            Some(b'/') => depth = depth.saturating_sub(1),
            Some(b'!' | b'?') | None => {}
            Some(_) => {
                if closed_at <= at {
                    closed_at = text[at..].find('>').map_or(text.len(), |end| at + end);
                }
                if bytes.get(closed_at.wrapping_sub(1)) != Some(&b'/') {
                    depth += 1;
                }
            }
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Tries the type's schema, then each of its alternatives, as DSPy does.
fn field_value(field: &Field, elements: &[Node<'_, '_>]) -> Result<Value, ParseFailure> {
    let whole = schema(&field.ty);
    let none = Map::new();
    let definitions = whole.get("$defs").and_then(Json::as_object).unwrap_or(&none);
    let alternatives = whole.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    let mut refused = None;
    for candidate in std::iter::once(&whole).chain(alternatives) {
        let value = value_of(elements, candidate, definitions);
        match coerce::from_value_or_as_it_is(value, &field.ty) {
            Ok(value) => return Ok(value),
            Err(error) => refused = Some(error),
        }
    }
    let reason = refused.map_or_else(String::new, |error| error.to_string());
    Err(answer::unreadable(&field.name, &reason, None))
}

/// The name of the definition to which a schema refers.
pub(super) fn referred(schema: &Json) -> Option<&str> {
    schema.get("$ref")?.as_str()?.rsplit('/').next()
}

/// Whether the schema's type is `name`.
pub(super) fn is_of(schema: &Json, name: &str) -> bool {
    schema.get("type").and_then(Json::as_str) == Some(name)
}

/// Converts elements of one name to JSON-like data. `elements` is not empty.
fn value_of(elements: &[Node<'_, '_>], schema: &Json, definitions: &Map<String, Json>) -> Value {
    let Some(&element) = elements.first() else {
        return Value::None;
    };
    let mut schema = referred(schema)
        .and_then(|name| definitions.get(name))
        .unwrap_or(schema);
    let has_children = element.children().any(|child| child.is_element());
    let blank = text::strip(&leading_text(element)).is_empty();
    if let Some(choices) = schema.get("anyOf").and_then(Json::as_array) {
        let is_null = |choice: &&Json| is_of(choice, "null");
        if choices.iter().any(|choice| is_null(&choice)) && !has_children && blank {
            return Value::None;
        }
        let mut others = choices.iter().filter(|choice| !is_null(choice));
        schema = others.clone().next().unwrap_or(&ANYTHING);
        if has_children {
            schema = others.find(|choice| !is_of(choice, "string")).unwrap_or(schema);
        }
    }
    if is_of(schema, "array") {
        return list(elements, schema, definitions);
    }
    if is_of(schema, "string") && has_children {
        return Value::Str(inner_xml(element));
    }
    if !has_children {
        if is_of(schema, "object") && blank {
            return Value::Dict(Vec::new());
        }
        let texts = elements
            .iter()
            .map(|e| Value::from(text::strip(&leading_text(*e))));
        let mut texts: Vec<Value> = texts.collect();
        return match texts.len() {
            1 => texts.remove(0),
            _ => Value::list(texts),
        };
    }
    let of_others = schema.get("additionalProperties").filter(|s| s.is_object());
    let entries = by_name(element).into_iter().map(|(name, elements)| {
        let property = schema.get("properties").and_then(|p| p.get(&name));
        let schema = property.or(of_others).unwrap_or(&ANYTHING);
        (Value::Str(name.clone()), value_of(&elements, schema, definitions))
    });
    Value::Dict(entries.collect())
}

fn list(elements: &[Node<'_, '_>], schema: &Json, definitions: &Map<String, Json>) -> Value {
    let of_item = schema.get("items").unwrap_or(&ANYTHING);
    let mut items = elements.to_vec();
    if let [only] = elements {
        if !only.children().any(|child| child.is_element()) {
            let leading = leading_text(*only);
            let text = text::strip(&leading);
            if text.is_empty() {
                return Value::list([]);
            }
            if text.starts_with('[') {
                return Value::from(text);
            }
        }
        if let Some(inside) = by_name(*only).swap_remove("item") {
            items = inside;
        }
    }
    let items = items.iter().map(|item| value_of(&[*item], of_item, definitions));
    Value::list(items)
}

/// Groups child elements by tag, and an `entry` by its key, in order of first appearance.
fn by_name<'a, 'i>(element: Node<'a, 'i>) -> IndexMap<String, Vec<Node<'a, 'i>>> {
    let mut names: IndexMap<String, Vec<Node<'a, 'i>>> = IndexMap::new();
    for child in element.children().filter(Node::is_element) {
        let name = match (tag(child), child.attribute("key")) {
            (tag, Some(key)) if tag == "entry" => key.to_owned(),
            (tag, _) => tag,
        };
        names.entry(name).or_default().push(child);
    }
    names
}

/// The tag as ElementTree names it: the namespace in braces before the name.
fn tag(element: Node<'_, '_>) -> String {
    match element.tag_name().namespace() {
        Some(space) => format!("{{{space}}}{}", element.tag_name().name()),
        None => element.tag_name().name().to_owned(),
    }
}

/// The text before the first child element, without comments.
fn leading_text(element: Node<'_, '_>) -> String {
    element
        .children()
        .take_while(|child| !child.is_element())
        .filter(Node::is_text)
        .filter_map(|child| child.text())
        .collect()
}

/// The content of an element, with its tags as ElementTree writes them.
fn inner_xml(element: Node<'_, '_>) -> String {
    let mut out = leading_text(element);
    let children = element.children().skip_while(|child| !child.is_element());
    for child in children {
        write_node(child, &mut out);
    }
    out
}

fn write_node(node: Node<'_, '_>, out: &mut String) {
    match node.node_type() {
        NodeType::Element => {
            let name = node.tag_name().name();
            out.push('<');
            out.push_str(name);
            for attribute in node.attributes() {
                let value = attribute.value();
                let value = value
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;")
                    .replace('"', "&quot;")
                    .replace('\r', "&#13;")
                    .replace('\n', "&#10;")
                    .replace('\t', "&#09;");
                out.push_str(&format!(" {}=\"{value}\"", attribute.name()));
            }
            let mut inside = String::new();
            for child in node.children() {
                write_node(child, &mut inside);
            }
            if inside.is_empty() {
                out.push_str(" />");
            } else {
                out.push_str(&format!(">{inside}</{name}>"));
            }
        }
        NodeType::Text => {
            let text = node.text().unwrap_or_default();
            out.push_str(
                &text
                    .replace('&', "&amp;")
                    .replace('<', "&lt;")
                    .replace('>', "&gt;"),
            );
        }
        NodeType::Root | NodeType::Comment | NodeType::PI => {}
    }
}
