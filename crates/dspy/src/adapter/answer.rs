//! The checks after an answer's fields are parsed: missing fields, field order and failures.

use super::ParseFailure;
use crate::signature::Signature;
use bsft_pycompat::value::{Record, Value};
use std::fmt::Display;

/// Returns all fields in signature order. A missing field becomes `None` if its annotation allows that.
pub(super) fn complete(signature: &Signature, found: Vec<Option<Value>>) -> Result<Record, ParseFailure> {
    let mut record = Record::with_capacity(found.len());
    let mut missing: Vec<&str> = Vec::new();
    for (field, value) in signature.outputs.iter().zip(found) {
        match value {
            Some(value) => {
                record.insert(field.name.clone(), value);
            }
            None if field.ty.admits_none() => {
                record.insert(field.name.clone(), Value::None);
            }
            None => missing.push(&field.name),
        }
    }
    if missing.is_empty() {
        return Ok(record);
    }
    Err(ParseFailure {
        reason: format!("the answer lacks the output field `{}`", missing.join("`, `")),
        partial: Some(record),
    })
}

/// The failure of an empty answer.
pub(super) fn empty() -> ParseFailure {
    ParseFailure {
        reason: "the answer is empty".to_owned(),
        partial: None,
    }
}

/// The failure of a value that does not fit its field's type.
pub(super) fn unreadable(field: &str, error: &dyn Display, partial: Option<Record>) -> ParseFailure {
    ParseFailure {
        reason: format!("the answer's field `{field}` cannot be read: {error}"),
        partial,
    }
}
