//! JSON as Python's `json` reads and writes it, and as `orjson` writes it.

mod parse;
mod write;

pub(crate) use parse::MAX_DIGITS;
pub use parse::{JsonError, MAX_DEPTH, parse, parse_prefix};
pub use write::{
    dumps, dumps_indent, dumps_indent_members, write_compact, write_dumps, write_string, written_len,
};

use crate::value::Value;
use num_bigint::BigInt;
use num_traits::ToPrimitive;

/// The value as Python would have read it from the same JSON.
pub fn from_serde(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::None,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::Int(i),
            (None, Some(u)) => Value::from_bigint(BigInt::from(u)),
            (None, None) => Value::Float(n.as_f64().unwrap_or(f64::NAN)),
        },
        serde_json::Value::String(s) => Value::Str(s.clone()),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_serde).collect()),
        serde_json::Value::Object(items) => Value::Dict(
            items
                .iter()
                .map(|(k, v)| (Value::Str(k.clone()), from_serde(v)))
                .collect(),
        ),
    }
}

/// The value as JSON data. An integer beyond 64 bits becomes the nearest float, what is not finite null, an enum member
/// its value, a model an object.
pub fn to_serde(value: &Value) -> serde_json::Value {
    match value {
        Value::None => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(i) => (*i).into(),
        Value::BigInt(i) => i.to_u64().map_or_else(|| i.to_f64().into(), Into::into),
        Value::Float(f) => (*f).into(),
        Value::Str(s) => s.as_str().into(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter().map(|item| to_serde(&item)).collect()
        }
        Value::Dict(items) => items
            .iter()
            .map(|(k, v)| (write::key(k).into_owned(), to_serde(v)))
            .collect(),
        Value::Enum(e) => to_serde(&e.value),
        Value::Model(m) => m
            .fields
            .iter()
            .map(|(k, v)| (k.to_string(), to_serde(v)))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
