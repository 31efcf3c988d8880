//! Writes one value into a prompt: DSPy's `format_field_value`, and the JSON data behind it.

use crate::signature::Type;
use bsft_pycompat::value::Value;
use bsft_pycompat::value::items::Items;
use bsft_pycompat::{equal::DictBuilder, float, json, repr};
use std::borrow::Cow;

/// Why a value cannot be written into a prompt; DSPy raises there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "item {index} of the list is {kind}; a list in a field of type str takes strings: change the item or the field's type"
)]
pub struct Unwritable {
    /// Position in the list, from 1.
    pub index: usize,
    /// What the item is, such as "a dict".
    pub kind: &'static str,
}

/// Returns the text of `value` in a field annotated `ty`; inputs, outputs and demos have the same format.
pub fn render(value: &Value, ty: &Type) -> Result<String, Unwritable> {
    let mut out = String::new();
    write(value, ty, &mut out)?;
    Ok(out)
}

/// Appends the result of [`render`] to `out`.
pub fn write(value: &Value, ty: &Type, out: &mut String) -> Result<(), Unwritable> {
    match value {
        Value::Str(s) => out.push_str(s),
        Value::List(items) if *ty == Type::Str => write_passages(items, out)?,
        Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Dict(_) | Value::Model(_) => {
            json::write_dumps(&jsonable(value), out);
        }
        // Outside JSON, pydantic keeps a float as it is, but converts an enum member that is not finite to null.
        Value::Enum(e) => match &e.value {
            Value::Float(f) if !f.is_finite() => out.push_str("None"),
            inner => write(inner, &Type::Any, out)?,
        },
        Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => {
            repr::write_repr(value, out);
        }
    }
    Ok(())
}

/// Converts a value as pydantic's JSON mode does: string keys, no tuples, no NaN outside of models.
pub fn jsonable(value: &Value) -> Cow<'_, Value> {
    if is_plain(value) {
        Cow::Borrowed(value)
    } else {
        Cow::Owned(plain(value, FloatContext::Container))
    }
}

/// The context of a float. The fields of a model are typed, and pydantic keeps a typed float as it is.
#[derive(Clone, Copy)]
enum FloatContext {
    Container,
    Model,
}

fn is_plain(value: &Value) -> bool {
    match value {
        Value::Float(f) => f.is_finite(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.are_ints() || items.iter().all(|item| is_plain(&item))
        }
        Value::Dict(items) => items
            .iter()
            .all(|(k, v)| matches!(k, Value::Str(_)) && is_plain(v)),
        Value::Enum(e) => is_plain(&e.value),
        Value::Model(m) => m.fields.iter().all(|(_, v)| is_plain(v)),
        Value::None | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Str(_) => true,
    }
}

fn plain(value: &Value, context: FloatContext) -> Value {
    match (value, context) {
        (Value::Float(f), FloatContext::Container) if !f.is_finite() => Value::None,
        (Value::List(items) | Value::Tuple(items) | Value::Set(items), _) => {
            Value::List(items.iter().map(|item| plain(&item, context)).collect())
        }
        (Value::Dict(items), _) => {
            let mut dict = DictBuilder::default();
            for (k, v) in items {
                let mut name = String::new();
                write_key(k, &mut name);
                dict.insert(Value::Str(name), plain(v, context));
            }
            Value::Dict(dict.finish())
        }
        (Value::Enum(e), _) => plain(&e.value, FloatContext::Container),
        (Value::Model(m), _) => {
            let fields = m.fields.iter();
            Value::Dict(
                fields
                    .map(|(name, v)| (Value::from(&**name), plain(v, FloatContext::Model)))
                    .collect(),
            )
        }
        _ => value.clone(),
    }
}

/// A dict key as pydantic's JSON mode writes it: `true`, `None`, `1.5`, and a tuple's items joined by commas.
fn write_key(key: &Value, out: &mut String) {
    match key {
        Value::Str(s) => out.push_str(s),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Float(f) if !f.is_finite() => out.push_str("None"),
        Value::Float(f) => float::write_repr(*f, out),
        Value::Enum(e) => write_key(&e.value, out),
        Value::Tuple(items) => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_key(&item, out);
            }
        }
        _ => repr::write_repr(key, out),
    }
}

/// Writes a list of texts, numbered if there are several.
fn write_passages(items: &Items, out: &mut String) -> Result<(), Unwritable> {
    match items.len() {
        0 => out.push_str("N/A"),
        1 => items.iter().try_for_each(|only| write_passage(&only, 1, out))?,
        _ => {
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push('\n');
                }
                out.push('[');
                repr::write_repr(&Value::Int(i as i64 + 1), out);
                out.push_str("] ");
                write_passage(&item, i + 1, out)?;
            }
        }
    }
    Ok(())
}

fn write_passage(item: &Value, index: usize, out: &mut String) -> Result<(), Unwritable> {
    let kind = match item {
        Value::Str(s) => {
            write_blob(s, out);
            return Ok(());
        }
        Value::None => "None",
        Value::Bool(_) => "a bool",
        Value::Int(_) | Value::BigInt(_) => "an int",
        Value::Float(_) => "a float",
        Value::Enum(_) => "an enum member",
        // DSPy tests whether a mark is *in* the item. For a container with such a member it then fails to indent the
        // item.
        Value::List(inner) | Value::Tuple(inner) | Value::Set(inner)
            if inner.iter().any(|item| is_mark(&item)) =>
        {
            "a container of a line break or a guillemet"
        }
        Value::Dict(inner) if inner.iter().any(|(k, _)| is_mark(k)) => {
            "a dict with a line break or a guillemet as key"
        }
        Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Dict(_) | Value::Model(_) => {
            out.push('«');
            out.push_str(&repr::str(item));
            out.push('»');
            return Ok(());
        }
    };
    Err(Unwritable { index, kind })
}

fn is_mark(value: &Value) -> bool {
    matches!(value.as_str(), Some("\n" | "«" | "»"))
}

fn write_blob(text: &str, out: &mut String) {
    if !text.contains(['\n', '«', '»']) {
        out.push('«');
        out.push_str(text);
        out.push('»');
        return;
    }
    out.push_str("«««\n    ");
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push_str("\n    ");
        }
        out.push_str(line);
    }
    out.push_str("\n»»»");
}
