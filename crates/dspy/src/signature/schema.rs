//! JSON Schemas as pydantic generates them, and the key order that DSPy shows in a prompt.

use super::types::{EnumClass, ModelClass, ModelField, TupleItems, Type};
use super::{field_info, instructions};
use bsft_pycompat::value::Value;
use bsft_pycompat::{json, text};
use serde_json::{Map, Value as Json, json};

/// The docstring that Python gave to every enum, which pydantic leaves out.
const ENUM_DOC: &str = "An enumeration.";

/// The schema in a prompt: keys sorted with `type` first, `json.dumps` spacing.
pub fn json_schema(ty: &Type) -> String {
    json::dumps(&json::from_serde(&type_first(schema(ty))))
}

/// `TypeAdapter(ty).json_schema()`, properties in declaration order.
pub fn schema(ty: &Type) -> Json {
    let mut definitions = Map::new();
    let mut schema = match ty {
        // At the root, a model or an enum is inlined instead of referenced.
        Type::Model(class) => model(class, &mut definitions),
        Type::Enum(class) => enumeration(class),
        other => schema_of(other, &mut definitions),
    };
    if !definitions.is_empty()
        && let Json::Object(schema) = &mut schema
    {
        schema.insert("$defs".to_owned(), Json::Object(definitions));
    }
    schema
}

/// The schema of a nested type, which references enums and models.
pub(super) fn schema_of(ty: &Type, definitions: &mut Map<String, Json>) -> Json {
    match ty {
        Type::Any => json!({}),
        Type::None => json!({"type": "null"}),
        Type::Str => json!({"type": "string"}),
        Type::Int => json!({"type": "integer"}),
        Type::Float => json!({"type": "number"}),
        Type::Bool => json!({"type": "boolean"}),
        Type::Literal(members) => literal(members),
        Type::Enum(class) => {
            if !definitions.contains_key(&*class.name) {
                definitions.insert(class.name.to_string(), enumeration(class));
            }
            json!({"$ref": format!("#/$defs/{}", class.name)})
        }
        Type::Model(class) => {
            if !definitions.contains_key(&*class.name) {
                let schema = model(class, definitions);
                definitions.insert(class.name.to_string(), schema);
            }
            json!({"$ref": format!("#/$defs/{}", class.name)})
        }
        Type::List(item) => json!({"items": item_schema(item.as_deref(), definitions), "type": "array"}),
        Type::Set(item) => {
            json!({"items": item_schema(item.as_deref(), definitions), "type": "array", "uniqueItems": true})
        }
        Type::Dict(None) => json!({"additionalProperties": true, "type": "object"}),
        Type::Dict(Some(items)) => dict(&items.0, &items.1, definitions),
        Type::Tuple(TupleItems::Bare) => json!({"items": {}, "type": "array"}),
        Type::Tuple(TupleItems::Repeated(item)) => {
            json!({"items": schema_of(item, definitions), "type": "array"})
        }
        Type::Tuple(TupleItems::Fixed(items)) => {
            let schemas: Vec<Json> = items.iter().map(|item| schema_of(item, definitions)).collect();
            json!({"maxItems": items.len(), "minItems": items.len(), "prefixItems": schemas, "type": "array"})
        }
        Type::Union(members) => union(members, definitions),
    }
}

/// pydantic gives a property a title, unless it is a plain or nullable reference.
pub(super) fn titled(name: &str, ty: &Type, definitions: &mut Map<String, Json>) -> Json {
    let mut schema = schema_of(ty, definitions);
    let is_class = |ty: &Type| matches!(ty, Type::Enum(_) | Type::Model(_));
    let is_reference = match ty {
        Type::Union(members) if members.len() == 2 && members.contains(&Type::None) => {
            members.iter().any(is_class)
        }
        other => is_class(other),
    };
    if let Json::Object(schema) = &mut schema
        && !is_reference
    {
        let title = text::title(name).replace('_', " ");
        schema.insert("title".to_owned(), json!(text::strip(&title)));
    }
    schema
}

fn item_schema(item: Option<&Type>, definitions: &mut Map<String, Json>) -> Json {
    item.map_or_else(|| json!({}), |item| schema_of(item, definitions))
}

/// Includes a schema of the keys only if it restricts more than the type `string`.
fn dict(key: &Type, value: &Type, definitions: &mut Map<String, Json>) -> Json {
    let names = match schema_of(key, definitions) {
        Json::Object(mut names) if names.len() > 1 && names.get("type") == Some(&json!("string")) => {
            names.shift_remove("type");
            Some(names)
        }
        Json::Object(names) if names.contains_key("$ref") => Some(names),
        _ => None,
    };
    let values = match value {
        Type::Any => json!(true),
        value => schema_of(value, definitions),
    };
    let mut schema = json!({"additionalProperties": values, "type": "object"});
    if let (Some(names), Json::Object(schema)) = (names, &mut schema) {
        schema.insert("propertyNames".to_owned(), Json::Object(names));
    }
    schema
}

/// Lists each schema once, with null last.
fn union(members: &[Type], definitions: &mut Map<String, Json>) -> Json {
    let others = members.iter().filter(|member| **member != Type::None);
    let null = members.iter().filter(|member| **member == Type::None);
    let mut schemas: Vec<Json> = Vec::with_capacity(members.len());
    for member in others.chain(null) {
        let schema = schema_of(member, definitions);
        if !schemas.contains(&schema) {
            schemas.push(schema);
        }
    }
    if schemas.len() == 1 {
        schemas.swap_remove(0)
    } else {
        json!({"anyOf": schemas})
    }
}

fn literal(members: &[Value]) -> Json {
    let values: Vec<Json> = members.iter().map(json::to_serde).collect();
    let mut schema = match values.as_slice() {
        [one] => json!({"const": one}),
        _ => json!({"enum": values}),
    };
    add_type(&mut schema, members);
    schema
}

fn enumeration(class: &EnumClass) -> Json {
    let members: Vec<Value> = class.members.iter().map(|(_, value)| value.clone()).collect();
    let values: Vec<Json> = members.iter().map(json::to_serde).collect();
    let mut schema = json!({"enum": values, "title": &*class.name});
    if let (Some(doc), Json::Object(schema)) = (described(class.doc.as_deref()), &mut schema) {
        schema.insert("description".to_owned(), json!(doc));
    }
    // An enum of `None` alone has no type, unlike such a literal.
    if !members.contains(&Value::None) {
        add_type(&mut schema, &members);
    }
    schema
}

/// The docstring of a class as its description; `None` if it is empty.
fn described(doc: Option<&str>) -> Option<String> {
    let doc = doc.filter(|doc| !doc.is_empty() && *doc != ENUM_DOC)?;
    Some(instructions::clean(doc))
}

/// Sets the members' type if they share one.
fn add_type(schema: &mut Json, members: &[Value]) {
    let name = |value: &Value| match value {
        Value::Str(_) => Some("string"),
        Value::Int(_) | Value::BigInt(_) => Some("integer"),
        Value::Float(_) => Some("number"),
        Value::Bool(_) => Some("boolean"),
        Value::None => Some("null"),
        _ => None,
    };
    let first = members.first().and_then(name);
    if let (Some(first), Json::Object(schema)) = (first, schema)
        && members.iter().all(|member| name(member) == Some(first))
    {
        schema.insert("type".to_owned(), json!(first));
    }
}

fn model(class: &ModelClass, definitions: &mut Map<String, Json>) -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for field in &class.fields {
        if field.default.is_none() {
            required.push(json!(&*field.name));
        }
        properties.insert(field.name.to_string(), property(field, definitions));
    }
    let mut schema = Map::new();
    if let Some(doc) = class.doc.as_deref().filter(|doc| !doc.is_empty()) {
        schema.insert("description".to_owned(), json!(instructions::clean(doc)));
    }
    schema.insert("properties".to_owned(), Json::Object(properties));
    if !required.is_empty() {
        schema.insert("required".to_owned(), Json::Array(required));
    }
    schema.insert("title".to_owned(), json!(&*class.name));
    schema.insert("type".to_owned(), json!("object"));
    Json::Object(schema)
}

/// The schema of a model's field. Beside a reference, pydantic leaves out what the referenced definition says, too.
fn property(field: &ModelField, definitions: &mut Map<String, Json>) -> Json {
    let mut schema = titled(&field.name, &field.ty, definitions);
    let Json::Object(property) = &mut schema else {
        return schema;
    };
    if let Some(default) = &field.default {
        property.insert("default".to_owned(), json::to_serde(default));
    }
    field_info::describe(&field.info, property, &field.ty);
    let reference = property.get("$ref").and_then(Json::as_str);
    let referenced = reference.and_then(|reference| definitions.get(reference.strip_prefix("#/$defs/")?));
    if let Some(Json::Object(referenced)) = referenced {
        property.retain(|key, value| key == "$ref" || referenced.get(key) != Some(value));
    }
    schema
}

/// Sorts keys alphabetically after `type`, names of properties included.
fn type_first(schema: Json) -> Json {
    match schema {
        Json::Object(entries) => {
            let mut entries: Vec<(String, Json)> = entries.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| (a != "type", a).cmp(&(b != "type", b)));
            let entries = entries.into_iter().map(|(name, value)| (name, type_first(value)));
            Json::Object(entries.collect())
        }
        Json::Array(items) => Json::Array(items.into_iter().map(type_first).collect()),
        plain => plain,
    }
}
