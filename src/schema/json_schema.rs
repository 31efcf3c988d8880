//! The JSON Schema (draft 2020-12) of a file, from the definitions that also read the file.

use super::definition::{Key, Kind, TableDefinition};
use super::reference::prose;
use super::time_span;
use serde_json::{Map, Value as Json, json};

/// Renders the schema of a whole file.
pub(crate) fn schema(title: &str, root: &TableDefinition) -> String {
    let mut whole = Map::new();
    whole.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    whole.insert("title".to_owned(), json!(title));
    let mut tables = Map::new();
    if let Json::Object(own) = table(root, &mut tables) {
        whole.extend(own);
    }
    whole.insert("$defs".to_owned(), Json::Object(tables));
    let mut text = serde_json::to_string_pretty(&Json::Object(whole)).unwrap_or_default();
    text.push('\n');
    text
}

/// The schema of a table, which refuses unknown keys. Nested tables are added to `tables`.
fn table(definition: &TableDefinition, tables: &mut Map<String, Json>) -> Json {
    let mut properties = Map::new();
    // An editor may write the schema's own address into a JSON file.
    for key in definition.keys.iter().filter(|key| !key.is_refused()) {
        properties.insert(key.name.to_owned(), property(key, tables));
    }
    let required: Vec<&str> = definition
        .keys
        .iter()
        .filter(|key| key.notes.is_required && key.notes.providers.is_empty())
        .map(|key| key.name)
        .collect();
    json!({
        "description": prose(definition.docs),
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key, tables: &mut Map<String, Json>) -> Json {
    let mut description = prose(key.docs);
    if let Some(default) = key.notes.default {
        description.push_str(&format!("\nDefault: {default}."));
    }
    if !key.notes.providers.is_empty() {
        description.push_str(&format!(
            "\nOnly with provider: {}.",
            key.notes.providers.join(", ")
        ));
    }
    let mut value = value(&key.kind, tables);
    if let Json::Object(value) = &mut value {
        value.insert("description".to_owned(), json!(description));
    }
    value
}

fn value(kind: &Kind, tables: &mut Map<String, Json>) -> Json {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Integer(least) => json!({ "type": "integer", "minimum": least }),
        Kind::Number(least, most) if most.is_finite() => {
            json!({ "type": "number", "minimum": least, "maximum": most })
        }
        Kind::Number(least, _) if least.is_finite() => json!({ "type": "number", "minimum": least }),
        Kind::Number(..) => json!({ "type": "number" }),
        Kind::Seconds => json!({ "type": "number", "exclusiveMinimum": 0 }),
        Kind::TimeSpan => json!({ "type": "string", "pattern": time_span::PATTERN }),
        Kind::Choice(options) => {
            let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
            json!({ "type": "string", "enum": names })
        }
        Kind::List(inner) => json!({ "type": "array", "items": value(inner, tables) }),
        Kind::OneOrMany(inner) => {
            let one = value(inner, tables);
            json!({ "anyOf": [one.clone(), { "type": "array", "items": one }] })
        }
        Kind::Either(one, other) => json!({ "anyOf": [value(one, tables), value(other, tables)] }),
        Kind::Table(definition) => {
            if !tables.contains_key(definition.id) {
                // A placeholder first, because a table may contain itself.
                tables.insert(definition.id.to_owned(), Json::Null);
                let own = table(definition, tables);
                tables.insert(definition.id.to_owned(), own);
            }
            json!({ "$ref": format!("#/$defs/{}", definition.id) })
        }
        Kind::Named(_, inner) => json!({ "type": "object", "additionalProperties": value(inner, tables) }),
        Kind::Free => json!({ "type": "object" }),
        Kind::Any => json!({}),
    }
}
