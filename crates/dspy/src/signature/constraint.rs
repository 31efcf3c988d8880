//! Constraints of a model's field, as `pydantic.Field` takes them, and which values they allow.

use bsft_pycompat::json;
use bsft_pycompat::value::Value;
use num_bigint::BigInt;
use regex::Regex;
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::fmt;

/// How much a float may differ from a multiple, as in pydantic.
const MULTIPLE_TOLERANCE: f64 = 1e-9;

/// A constraint of a field's value.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    /// Its name, such as `ge`.
    pub(super) name: &'static str,
    pub(super) bound: Bound,
}

/// The bound of a constraint.
#[derive(Clone, Debug)]
pub(super) enum Bound {
    /// An integer for an `int`, any number for a `float`.
    Number(Value),
    Length(u64),
    Pattern(Regex),
}

impl PartialEq for Bound {
    fn eq(&self, other: &Bound) -> bool {
        match (self, other) {
            (Bound::Number(one), Bound::Number(other)) => one == other,
            (Bound::Length(one), Bound::Length(other)) => one == other,
            (Bound::Pattern(one), Bound::Pattern(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}

impl Constraint {
    /// Its name, such as `ge`.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The bound as a JSON Schema has it: a number, or the text of a pattern.
    pub fn bound(&self) -> Json {
        match &self.bound {
            Bound::Number(number) => json::to_serde(number),
            Bound::Length(length) => Json::from(*length),
            Bound::Pattern(pattern) => Json::from(pattern.as_str()),
        }
    }

    /// Whether a value of the field's type is allowed. `None` is, where the type has it.
    pub fn allows(&self, value: &Value) -> bool {
        match (&self.bound, value) {
            (_, Value::None) => true,
            (Bound::Pattern(pattern), Value::Str(text)) => pattern.is_match(text),
            (Bound::Length(bound), value) => {
                let length = length(value);
                length.is_some_and(|length| match self.name {
                    "min_length" => length >= *bound,
                    _ => length <= *bound,
                })
            }
            (Bound::Number(bound), Value::Float(float)) => self.allows_float(*float, as_float(bound)),
            (Bound::Number(bound), value) => match (as_int(value), as_int(bound)) {
                (Some(value), Some(bound)) => self.allows_int(&value, &bound),
                _ => false,
            },
            (Bound::Pattern(_), _) => false,
        }
    }

    fn allows_int(&self, value: &BigInt, bound: &BigInt) -> bool {
        let order = value.cmp(bound);
        match self.name {
            "gt" => order == Ordering::Greater,
            "ge" => order != Ordering::Less,
            "lt" => order == Ordering::Less,
            "le" => order != Ordering::Greater,
            _ => value % bound == BigInt::ZERO,
        }
    }

    fn allows_float(&self, value: f64, bound: f64) -> bool {
        match self.name {
            "gt" => value > bound,
            "ge" => value >= bound,
            "lt" => value < bound,
            "le" => value <= bound,
            _ => {
                let rest = value - (value / bound).round() * bound;
                // As in pydantic, `nan` and the infinities are multiples.
                let is_between = rest.abs() > MULTIPLE_TOLERANCE;
                !is_between
            }
        }
    }
}

/// As in Python: `ge=0`.
impl fmt::Display for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.bound())
    }
}

/// Python's `len`; `None` if the value has none.
fn length(value: &Value) -> Option<u64> {
    let length = match value {
        Value::Str(text) => text.chars().count(),
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => items.len(),
        Value::Dict(items) => items.len(),
        _ => return None,
    };
    u64::try_from(length).ok()
}

pub(super) fn as_int(value: &Value) -> Option<BigInt> {
    match value {
        Value::Int(int) => Some(BigInt::from(*int)),
        Value::BigInt(int) => Some((**int).clone()),
        _ => None,
    }
}

pub(super) fn as_float(value: &Value) -> f64 {
    match value {
        Value::Int(int) => *int as f64,
        Value::BigInt(int) => int.to_string().parse().unwrap_or(f64::NAN),
        Value::Float(float) => *float,
        _ => f64::NAN,
    }
}
