//! Numbers and booleans as pydantic's lax mode accepts them.

use super::union::{Fit, How};
use bsft_pycompat::text;
use bsft_pycompat::value::Value;
use num_bigint::BigInt;

/// The bound of the integral floats that pydantic accepts as an int: 2^63.
const LARGEST_INTEGRAL: f64 = 9_223_372_036_854_775_808.0;

/// The longest text that pydantic accepts as an int: Python's own limit.
const LONGEST_INT: usize = 4300;

/// An int from a bool, an integral float or a text.
pub(super) fn int(value: &Value, how: &mut How) -> Option<Value> {
    how.floor_unless(matches!(value, Value::Int(_) | Value::BigInt(_)));
    match value {
        Value::Bool(b) => Some(Value::Int(i64::from(*b))),
        Value::Int(_) | Value::BigInt(_) => Some(value.clone()),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < LARGEST_INTEGRAL => Some(Value::Int(*f as i64)),
        Value::Str(given) if given.len() <= LONGEST_INT => int_of_text(text::strip(given)),
        _ => None,
    }
}

/// Parses a sign, digits with single underscores between them, and zeros after a decimal point.
fn int_of_text(given: &str) -> Option<Value> {
    let whole = match given.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|b| b == b'0') => whole,
        Some(_) => return None,
        None => given,
    };
    let digits = whole.strip_prefix(['+', '-']).unwrap_or(whole);
    let number = plain_digits(digits)?;
    let sign = if whole.starts_with('-') { "-" } else { "" };
    format!("{sign}{number}")
        .parse::<BigInt>()
        .ok()
        .map(Value::from_bigint)
}

fn plain_digits(digits: &str) -> Option<String> {
    let groups = digits.split('_');
    let valid = groups
        .clone()
        .all(|group| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit()));
    valid.then(|| groups.collect())
}

/// A float from a number or a text.
pub(super) fn float(value: &Value, how: &mut How) -> Option<f64> {
    match value {
        Value::Float(_) => {}
        Value::Int(_) | Value::BigInt(_) => how.floor(Fit::Strict),
        _ => how.floor(Fit::Lax),
    }
    match value {
        Value::Bool(b) => Some(f64::from(u8::from(*b))),
        Value::Int(i) => Some(*i as f64),
        Value::BigInt(i) => i.to_string().parse().ok().filter(|f: &f64| f.is_finite()),
        Value::Float(f) => Some(*f),
        Value::Str(given) => float_of_text(text::strip(given)),
        _ => None,
    }
}

/// Python's `float(text)`.
fn float_of_text(given: &str) -> Option<f64> {
    let bytes = given.as_bytes();
    let between_digits = |at: usize| {
        at > 0 && bytes[at - 1].is_ascii_digit() && bytes.get(at + 1).is_some_and(u8::is_ascii_digit)
    };
    if bytes
        .iter()
        .enumerate()
        .any(|(at, b)| *b == b'_' && !between_digits(at))
    {
        return None;
    }
    given.replace('_', "").parse().ok()
}

/// A bool from 0, 1 or one of pydantic's strings such as `yes`.
pub(super) fn bool(value: &Value, how: &mut How) -> Option<bool> {
    how.floor_unless(matches!(value, Value::Bool(_)));
    match value {
        Value::Bool(b) => Some(*b),
        Value::Int(0) => Some(false),
        Value::Int(1) => Some(true),
        Value::Float(f) if *f == 0.0 => Some(false),
        Value::Float(f) if *f == 1.0 => Some(true),
        Value::Str(given) => match given.to_ascii_lowercase().as_str() {
            "0" | "off" | "f" | "false" | "n" | "no" => Some(false),
            "1" | "on" | "t" | "true" | "y" | "yes" => Some(true),
            _ => None,
        },
        _ => None,
    }
}
