//! The JSON Schema of a file, for editors that complete and check it.

use super::table::{Key, Kind, Presence, Table};
use serde_json::{Map, Value as Json, json};

/// The JSON Schema (draft 2020-12) of the file whose top level is `root`.
pub fn json_schema(root: &'static Table, title: &str) -> Json {
    let definitions: Map<String, Json> = root
        .walk()
        .into_iter()
        .skip(1)
        .map(|table| (definition_name(table), object(table)))
        .collect();
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
    });
    if let (Json::Object(schema), Json::Object(root)) = (&mut schema, object(root)) {
        schema.extend(root);
        schema.insert("$defs".to_owned(), Json::Object(definitions));
    }
    schema
}

/// A table's name among the schema's definitions: its path without the names that users choose.
fn definition_name(table: &Table) -> String {
    table.path.replace(".*", "").replace('.', "_")
}

fn object(table: &Table) -> Json {
    let mut properties = Map::new();
    // Editors write the line that names the schema itself as a key in JSON.
    if table.path.is_empty() {
        properties.insert("$schema".to_owned(), json!({"type": "string"}));
    }
    let taken = table
        .keys
        .iter()
        .filter(|key| !matches!(key.presence, Presence::Refused { .. }));
    properties.extend(taken.map(|key| (key.name.to_owned(), property(key))));
    let required = table.keys.iter().filter(|key| key.presence == Presence::Required);
    json!({
        "type": "object",
        "description": table.doc.trim(),
        "properties": properties,
        "required": required.map(|key| key.name).collect::<Vec<_>>(),
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Json {
    let mut property = Map::new();
    property.insert("description".to_owned(), Json::from(key.doc.trim()));
    if let Json::Object(kind) = of_kind(&key.kind) {
        property.extend(kind);
    }
    if let Presence::Default(value) = key.presence
        && let Ok(value) = serde_json::from_str::<Json>(value)
    {
        property.insert("default".to_owned(), value);
    }
    Json::Object(property)
}

fn of_kind(kind: &Kind) -> Json {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Word => json!({"type": "string", "minLength": 1}),
        Kind::OneOf { values, .. } => json!({"enum": values}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Count { least } => json!({"type": "integer", "minimum": least}),
        Kind::Number { least, most } if most.is_finite() => {
            json!({"type": "number", "minimum": least, "maximum": most})
        }
        Kind::Number { least, .. } => json!({"type": "number", "minimum": least}),
        Kind::Seconds => json!({"type": "number", "exclusiveMinimum": 0}),
        Kind::List(inner) => json!({"type": "array", "items": of_kind(inner)}),
        Kind::Map(inner) => json!({"type": "object", "additionalProperties": of_kind(inner)}),
        Kind::Table(table) => json!({"$ref": format!("#/$defs/{}", definition_name(table))}),
        Kind::Any => json!({}),
        Kind::Either(kinds) => json!({"anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>()}),
    }
}
