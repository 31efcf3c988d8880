//! `[program.types]`: named enums and models.

use super::SignatureError;
use super::annotation::parse_type;
use super::field_info::{CONSTRAINTS, constraint};
use super::types::{EnumClass, FieldInfo, ModelClass, ModelField, NamedTypes, Type};
use bsft_pycompat::value::Value;
use bsft_pycompat::{json, repr, text};
use serde_json::{Map, Value as Json};
use std::sync::Arc;

/// An invalid definition of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("type {name}: {reason}")]
pub struct TypeError {
    /// The type's name.
    pub name: String,
    /// The cause, and what to write instead.
    pub reason: String,
}

/// Parses all definitions in order; a type may refer to earlier ones. Returns all errors together, except those that
/// another error causes.
pub fn parse_types(definitions: &Map<String, Json>) -> Result<NamedTypes, Vec<TypeError>> {
    let (mut table, mut errors) = (NamedTypes::new(), Vec::new());
    for (name, definition) in definitions {
        let mut reasons = Vec::new();
        if !is_identifier(name) {
            reasons.push("the name is no Python identifier; use letters, digits and underscores".to_owned());
        }
        let reading = Reading {
            name,
            known: &table,
            definitions,
            reasons,
        };
        let (ty, reasons) = reading.read(definition);
        if reasons.is_empty()
            && let Some(ty) = ty
        {
            table.insert(name.clone(), ty);
        }
        errors.extend(reasons.into_iter().map(|reason| TypeError {
            name: name.clone(),
            reason,
        }));
    }
    if errors.is_empty() { Ok(table) } else { Err(errors) }
}

const SHAPES: &str = "write { enum = [\"a\", \"b\"] } or { fields = [[\"name\", \"str\"]] }";

/// The keys of a definition.
const KEYS: [&str; 3] = ["enum", "fields", "doc"];

/// The keys of a field in the form of a table, beside its constraints.
const FIELD_KEYS: [&str; 7] = ["name", "type", "default", "required", "desc", "title", "examples"];

/// The state of parsing one definition.
struct Reading<'a> {
    /// Its name.
    name: &'a str,
    /// The types defined before.
    known: &'a NamedTypes,
    /// All definitions, for separate errors about undefined, later and invalid types.
    definitions: &'a Map<String, Json>,
    /// The errors so far.
    reasons: Vec<String>,
}

impl Reading<'_> {
    fn read(mut self, definition: &Json) -> (Option<Type>, Vec<String>) {
        let Json::Object(definition) = definition else {
            self.reasons.push(SHAPES.to_owned());
            return (None, self.reasons);
        };
        for key in definition.keys().filter(|key| !KEYS.contains(&key.as_str())) {
            let nearest = KEYS
                .iter()
                .min_by_key(|known| strsim::damerau_levenshtein(known, key));
            self.reasons.push(format!(
                "{key} is not a key of a type; did you mean {}?",
                nearest.unwrap_or(&"fields")
            ));
        }
        let ty = match (definition.get("enum"), definition.get("fields")) {
            (Some(Json::Array(values)), None) if !values.is_empty() => {
                Some(self.enum_class(definition.get("doc"), values))
            }
            (None, Some(Json::Array(fields))) => Some(self.model_class(definition.get("doc"), fields)),
            _ => {
                self.reasons.push(SHAPES.to_owned());
                None
            }
        };
        (ty, self.reasons)
    }

    /// Names the members as the reference programs do: upper case, spaces and hyphens as underscores.
    fn enum_class(&mut self, doc: Option<&Json>, values: &[Json]) -> Type {
        let doc = self.doc(doc);
        let mut members: Vec<(Arc<str>, Value)> = Vec::with_capacity(values.len());
        for value in values {
            if matches!(value, Json::Array(_) | Json::Object(_) | Json::Null) {
                self.reasons.push(format!(
                    "the enum's value {value} is not a string, a number or a boolean"
                ));
                continue;
            }
            let value = json::from_serde(value);
            let member = repr::str(&value).to_uppercase().replace([' ', '-'], "_");
            if members.iter().any(|(known, _)| **known == *member) {
                self.reasons.push(format!(
                    "two values of the enum make the member {member}; leave one out"
                ));
                continue;
            }
            members.push((Arc::from(member), value));
        }
        Type::Enum(Arc::new(EnumClass {
            name: Arc::from(self.name),
            doc,
            members,
        }))
    }

    fn doc(&mut self, doc: Option<&Json>) -> Option<String> {
        match doc {
            None | Some(Json::Null) => None,
            Some(Json::String(doc)) => Some(doc.clone()),
            Some(other) => {
                self.reasons.push(format!("doc is a string, not {other}"));
                None
            }
        }
    }

    fn model_class(&mut self, doc: Option<&Json>, fields: &[Json]) -> Type {
        let doc = self.doc(doc);
        let mut read: Vec<ModelField> = Vec::with_capacity(fields.len());
        for field in fields {
            let Some(field) = self.model_field(field) else {
                continue;
            };
            if read.iter().any(|known| known.name == field.name) {
                self.reasons.push(format!(
                    "two fields are called {}; rename one of them",
                    field.name
                ));
            }
            read.push(field);
        }
        Type::Model(Arc::new(ModelClass {
            name: Arc::from(self.name),
            doc,
            fields: read,
        }))
    }

    fn model_field(&mut self, field: &Json) -> Option<ModelField> {
        let written = match field {
            Json::Array(parts) => WrittenField::from_parts(parts),
            Json::Object(keys) => self.keyed_field(keys),
            _ => None,
        };
        let Some(written) = written else {
            let shape = "write [\"name\", \"type\"], [\"name\", \"type\", default] or { name = \"name\", type = \"type\" }";
            self.reasons.push(format!("{field} is not a field: {shape}"));
            return None;
        };
        let name = written.name;
        if !is_identifier(name) || name.starts_with('_') {
            self.reasons
                .push(format!("field {name}: not a name that a model's field can have"));
        }
        match parse_type(written.ty, self.known) {
            Ok(ty) => Some(ModelField {
                info: self.info(&written, &ty),
                name: Arc::from(name),
                ty,
                default: written.default,
            }),
            Err(error) => {
                self.type_error(name, &error);
                None
            }
        }
    }

    /// A field in the form of a table. `None` if it has no name or no type.
    fn keyed_field<'f>(&mut self, keys: &'f Map<String, Json>) -> Option<WrittenField<'f>> {
        let text = |key: &str| keys.get(key).and_then(Json::as_str);
        let (name, ty) = (text("name")?, text("type")?);
        let known = FIELD_KEYS.iter().chain(&CONSTRAINTS);
        for key in keys.keys().filter(|key| !known.clone().any(|known| known == key)) {
            let nearest = known
                .clone()
                .min_by_key(|known| strsim::damerau_levenshtein(known, key));
            self.reasons.push(format!(
                "field {name}: {key} is not a key of a field; did you mean {}?",
                nearest.unwrap_or(&"desc")
            ));
        }
        let default = match (keys.get("default"), keys.get("required")) {
            (None, None | Some(Json::Bool(true))) => None,
            (None, Some(Json::Bool(false))) => Some(Value::None),
            (Some(default), None) => Some(json::from_serde(default)),
            (Some(_), Some(_)) => {
                self.reasons.push(format!(
                    "field {name}: a field with a default is not required; leave `required` out"
                ));
                None
            }
            (None, Some(other)) => {
                self.reasons.push(format!(
                    "field {name}: required is true or false, not {other}; false makes None the default"
                ));
                None
            }
        };
        Some(WrittenField {
            name,
            ty,
            default,
            keys: Some(keys),
        })
    }

    /// What the table of a field adds to it.
    fn info(&mut self, written: &WrittenField<'_>, ty: &Type) -> FieldInfo {
        let Some(keys) = written.keys else {
            return FieldInfo::default();
        };
        let mut wrong = |key: &str, reason: &str| {
            self.reasons
                .push(format!("field {}: {key} = {}: {reason}", written.name, keys[key]));
        };
        let mut text = |key: &str| match keys.get(key) {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text.clone()),
            Some(_) => {
                wrong(key, "it is a string");
                None
            }
        };
        let (title, desc) = (text("title"), text("desc"));
        let examples = match keys.get("examples") {
            None | Some(Json::Null) => None,
            Some(Json::Array(examples)) => Some(examples.iter().map(json::from_serde).collect()),
            Some(_) => {
                wrong("examples", "it is a list");
                None
            }
        };
        let mut constraints = Vec::new();
        for name in CONSTRAINTS {
            let Some(bound) = keys.get(name) else { continue };
            match constraint(name, bound, ty) {
                Ok(constraint) => constraints.push(constraint),
                Err(reason) => wrong(name, &reason),
            }
        }
        FieldInfo {
            title,
            desc,
            examples,
            constraints,
        }
    }

    fn type_error(&mut self, field: &str, error: &SignatureError) {
        let place = |name: &str| self.definitions.keys().position(|known| known == name);
        let reason = match error {
            SignatureError::UnknownType { name, .. } if self.definitions.contains_key(name) => {
                if place(name) < place(self.name) {
                    // The earlier type is invalid, which is already reported.
                    return;
                }
                format!("the type `{name}` is not defined before this one; move its definition up")
            }
            other => other.to_string(),
        };
        self.reasons.push(format!("field {field}: {reason}"));
    }
}

/// A field of a model as written.
struct WrittenField<'a> {
    name: &'a str,
    ty: &'a str,
    /// `None` if the field is required.
    default: Option<Value>,
    /// The keys of a field in the form of a table.
    keys: Option<&'a Map<String, Json>>,
}

impl<'a> WrittenField<'a> {
    /// A field in the form of a list: name, type and perhaps a default.
    fn from_parts(parts: &'a [Json]) -> Option<WrittenField<'a>> {
        let (name, ty, default) = match parts {
            [Json::String(name), Json::String(ty)] => (name, ty, None),
            [Json::String(name), Json::String(ty), default] => (name, ty, Some(default)),
            _ => return None,
        };
        Some(WrittenField {
            name,
            ty,
            default: default.map(json::from_serde),
            keys: None,
        })
    }
}

/// Python's `str.isidentifier`.
pub(crate) fn is_identifier(name: &str) -> bool {
    let starts = |first: char| first == '_' || text::is_alpha(first);
    name.chars().next().is_some_and(starts) && name.chars().all(text::is_word)
}
