//! What `pydantic.Field` adds to a model's field: the types that have each constraint, and the JSON Schema.

use super::constraint::{Bound, Constraint, as_float, as_int};
use super::types::{FieldInfo, TupleItems, Type};
use bsft_pycompat::json;
use regex::Regex;
use serde_json::{Map, Value as Json};

/// The names of all constraints, in the order of pydantic's documentation.
pub(super) const CONSTRAINTS: [&str; 8] = [
    "gt",
    "ge",
    "lt",
    "le",
    "multiple_of",
    "min_length",
    "max_length",
    "pattern",
];

/// The kinds of types that constraints distinguish.
#[derive(Clone, Copy, PartialEq)]
enum ConstrainedKind {
    Int,
    Float,
    Text,
    Array,
    Object,
}

impl ConstrainedKind {
    /// The kind of the type, or of its only member beside `None`. `None` if it has no constraints.
    fn of(ty: &Type) -> Option<ConstrainedKind> {
        match constrained(ty) {
            Type::Int => Some(ConstrainedKind::Int),
            Type::Float => Some(ConstrainedKind::Float),
            Type::Str => Some(ConstrainedKind::Text),
            Type::List(_) | Type::Set(_) | Type::Tuple(TupleItems::Bare | TupleItems::Repeated(_)) => {
                Some(ConstrainedKind::Array)
            }
            Type::Dict(_) => Some(ConstrainedKind::Object),
            _ => None,
        }
    }
}

/// The part of the type to which constraints apply: `int` of `Optional[int]`.
fn constrained(ty: &Type) -> &Type {
    match ty {
        Type::Union(members) => {
            let mut others = members.iter().filter(|member| **member != Type::None);
            match (others.next(), others.next()) {
                (Some(only), None) => only,
                _ => ty,
            }
        }
        ty => ty,
    }
}

/// Reads the constraint `name` of a field of this type. The error is the reason, with what to write instead.
pub(super) fn constraint(name: &str, bound: &Json, ty: &Type) -> Result<Constraint, String> {
    let name = CONSTRAINTS.iter().find(|known| **known == name);
    let name = name.copied().ok_or("it is no constraint")?;
    let kind = ConstrainedKind::of(ty);
    let bound = match (name, kind) {
        ("pattern", Some(ConstrainedKind::Text)) => pattern(bound)?,
        ("pattern", _) => return Err("it is for str".to_owned()),
        (
            "min_length" | "max_length",
            Some(ConstrainedKind::Text | ConstrainedKind::Array | ConstrainedKind::Object),
        ) => {
            let length = bound.as_u64().ok_or("it is an integer of at least 0")?;
            Bound::Length(length)
        }
        ("min_length" | "max_length", _) => {
            return Err("it is for str, list, set, dict and tuple[T, ...]".to_owned());
        }
        (_, Some(kind @ (ConstrainedKind::Int | ConstrainedKind::Float))) => number(name, bound, kind)?,
        _ => return Err("it is for int and float".to_owned()),
    };
    Ok(Constraint { name, bound })
}

/// Adds title, description, examples and constraints to the JSON Schema of a field of this type.
pub(super) fn describe(info: &FieldInfo, schema: &mut Map<String, Json>, ty: &Type) {
    for constraint in &info.constraints {
        add(constraint, schema, ty);
    }
    for (key, text) in [("title", &info.title), ("description", &info.desc)] {
        if let Some(text) = text {
            schema.insert(key.to_owned(), Json::from(text.as_str()));
        }
    }
    if let Some(examples) = &info.examples {
        let examples = examples.iter().map(json::to_serde).collect();
        schema.insert("examples".to_owned(), examples);
    }
}

fn add(constraint: &Constraint, schema: &mut Map<String, Json>, ty: &Type) {
    let kind = ConstrainedKind::of(ty);
    let key = match (constraint.name, kind) {
        ("gt", _) => "exclusiveMinimum",
        ("ge", _) => "minimum",
        ("lt", _) => "exclusiveMaximum",
        ("le", _) => "maximum",
        ("multiple_of", _) => "multipleOf",
        ("min_length", Some(ConstrainedKind::Array)) => "minItems",
        ("min_length", Some(ConstrainedKind::Object)) => "minProperties",
        ("min_length", _) => "minLength",
        ("max_length", Some(ConstrainedKind::Array)) => "maxItems",
        ("max_length", Some(ConstrainedKind::Object)) => "maxProperties",
        ("max_length", _) => "maxLength",
        (name, _) => name,
    };
    // The other member of a nullable type has no constraint.
    let of_type = if schema.contains_key("anyOf") {
        let members = schema.get_mut("anyOf").and_then(Json::as_array_mut);
        members
            .and_then(|members| members.first_mut())
            .and_then(Json::as_object_mut)
    } else {
        Some(schema)
    };
    if let Some(of_type) = of_type {
        of_type.insert(key.to_owned(), constraint.bound());
    }
}

/// pydantic's own engine for patterns is this one, too.
fn pattern(bound: &Json) -> Result<Bound, String> {
    let text = bound.as_str().ok_or("it is a string")?;
    match Regex::new(text) {
        Ok(pattern) => Ok(Bound::Pattern(pattern)),
        Err(error) => {
            let error = error.to_string();
            let reason = error.lines().last().unwrap_or_default();
            Err(format!(
                "it is no regular expression that pydantic reads: {reason}"
            ))
        }
    }
}

fn number(name: &str, bound: &Json, kind: ConstrainedKind) -> Result<Bound, String> {
    if !bound.is_number() {
        return Err("it is a number".to_owned());
    }
    let number = json::from_serde(bound);
    if kind == ConstrainedKind::Int && as_int(&number).is_none() {
        return Err("of an int it is an integer".to_owned());
    }
    if name == "multiple_of" && as_float(&number) <= 0.0 {
        return Err("it is a number above 0".to_owned());
    }
    Ok(Bound::Number(number))
}
