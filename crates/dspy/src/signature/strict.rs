//! The JSON Schema of a strict `response_format`: pydantic's schema after DSPy's two passes, including their limits.

use super::Signature;
use super::schema::titled;
use serde_json::{Map, Value as Json, json};

/// Returns the schema of all outputs: required properties, closed objects, no null defaults.
pub fn strict_schema(signature: &Signature) -> Json {
    let (mut properties, mut definitions) = (Map::new(), Map::new());
    for field in &signature.outputs {
        let schema = titled(&field.name, &field.ty, &mut definitions);
        properties.insert(field.name.clone(), schema);
    }
    let mut root = json!({
        "additionalProperties": false, "properties": properties, "title": "DSPyProgramOutputs", "type": "object",
    });
    if let Json::Object(root) = &mut root {
        if !definitions.is_empty() {
            root.insert("$defs".to_owned(), Json::Object(definitions));
        }
        if !signature.outputs.is_empty() {
            let names = signature.outputs.iter().map(|field| json!(field.name));
            root.insert("required".to_owned(), names.collect());
        }
    }
    let mut root = sorted(root, "");
    require_all(&mut root);
    let definitions = root.get("$defs").cloned().unwrap_or_default();
    strict(&mut root, &definitions);
    root
}

/// Sorts keys as pydantic does: alphabetically, except the names of properties and the content of defaults.
fn sorted(schema: Json, parent: &str) -> Json {
    match schema {
        Json::Object(entries) => {
            let mut entries: Vec<(String, Json)> = entries.into_iter().collect();
            if parent != "properties" && parent != "default" {
                entries.sort_by(|a, b| a.0.cmp(&b.0));
            }
            let entries = entries.into_iter().map(|(key, value)| {
                let value = sorted(value, &key);
                (key, value)
            });
            Json::Object(entries.collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(|item| sorted(item, parent)).collect()),
        plain => plain,
    }
}

fn names(properties: &Map<String, Json>) -> Json {
    properties.keys().map(|name| json!(name)).collect()
}

/// DSPy's own pass. It visits properties, items and definitions, but neither unions nor tuples.
fn require_all(schema: &mut Json) {
    let Json::Object(schema) = schema else { return };
    if schema.get("type") == Some(&json!("object")) {
        let mut required = json!([]);
        match schema.get_mut("properties") {
            Some(Json::Object(properties)) => {
                required = names(properties);
                properties.values_mut().for_each(require_all);
            }
            _ => {
                schema.insert("properties".to_owned(), json!({}));
            }
        }
        schema.insert("required".to_owned(), required);
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    if schema.get("type") == Some(&json!("array"))
        && let Some(items) = schema.get_mut("items")
    {
        require_all(items);
    }
    if let Some(Json::Object(definitions)) = schema.get_mut("$defs") {
        definitions.values_mut().for_each(require_all);
    }
}

/// The pass of DSPy's client. It visits unions too, and inlines a reference that has sibling keys.
fn strict(schema: &mut Json, definitions: &Json) {
    let Json::Object(entries) = schema else { return };
    if let Some(Json::Object(named)) = entries.get_mut("$defs") {
        named.values_mut().for_each(|schema| strict(schema, definitions));
    }
    if entries.get("type") == Some(&json!("object")) && !entries.contains_key("additionalProperties") {
        entries.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(Json::Object(properties)) = entries.get_mut("properties") {
        properties
            .values_mut()
            .for_each(|schema| strict(schema, definitions));
        let required = names(properties);
        entries.insert("required".to_owned(), required);
    }
    if let Some(items) = entries.get_mut("items") {
        strict(items, definitions);
    }
    if let Some(Json::Array(members)) = entries.get_mut("anyOf") {
        members.iter_mut().for_each(|schema| strict(schema, definitions));
    }
    if entries.get("default").is_some_and(Json::is_null) {
        entries.shift_remove("default");
    }
    if entries.len() > 1
        && let Some(Json::String(reference)) = entries.get("$ref")
        && let Some(name) = reference.strip_prefix("#/$defs/")
        && let Some(mut resolved) = definitions.get(name).cloned()
    {
        strict(&mut resolved, definitions);
        entries.shift_remove("$ref");
        if let Json::Object(resolved) = &mut resolved {
            resolved.append(entries);
        }
        *schema = resolved;
    }
}
