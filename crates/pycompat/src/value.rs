//! Python values: the contents of examples, LM answers and predictions.
//!
//! Kept apart from `serde_json::Value` because Python distinguishes tuples from lists, `1` from `1.0` and `True` from `1`,
//! and its integers have no limit.

pub mod items;

use indexmap::IndexMap;
use items::Items;
use num_bigint::BigInt;
use std::sync::Arc;

/// Named values in insertion order: an example, a call's inputs or outputs, a demo, a prediction.
pub type Record = IndexMap<String, Value>;

/// A Python value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// An integer that does not fit 64 bits; smaller ones are always [`Value::Int`].
    BigInt(Box<BigInt>),
    /// A float, NaN and infinities included.
    Float(f64),
    /// A string.
    Str(String),
    /// A list.
    List(Items),
    /// A tuple.
    Tuple(Items),
    /// A set, in the order in which its members were first seen.
    Set(Items),
    /// A dict in insertion order; a key occurs once. JSON gives string keys only.
    Dict(Vec<(Value, Value)>),
    /// A member of a named enum.
    Enum(Box<EnumMember>),
    /// An instance of a named model, fields in declaration order.
    Model(Box<ModelInstance>),
}

/// One member of an enum class.
#[derive(Clone, Debug, PartialEq)]
pub struct EnumMember {
    /// The class, such as `Color`.
    pub class: Arc<str>,
    /// The member's Python name, such as `DARK_BLUE`.
    pub name: Arc<str>,
    /// The member's value, such as `"dark blue"`.
    pub value: Value,
}

/// An instance of a model class.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInstance {
    /// The class, such as `Person`.
    pub class: Arc<str>,
    /// Fields in declaration order.
    pub fields: Vec<(Arc<str>, Value)>,
}

impl Value {
    /// Python truthiness, by which DSPy keeps or drops a score: NaN and negative numbers are true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(s) => !s.is_empty(),
            Value::List(v) | Value::Tuple(v) | Value::Set(v) => !v.is_empty(),
            Value::Dict(d) => !d.is_empty(),
            Value::BigInt(_) | Value::Enum(_) | Value::Model(_) => true,
        }
    }

    /// The integer in its canonical variant.
    pub fn from_bigint(i: BigInt) -> Value {
        match i64::try_from(&i) {
            Ok(small) => Value::Int(small),
            Err(_) => Value::BigInt(Box::new(i)),
        }
    }

    /// A list of these items.
    pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
        Value::List(items.into_iter().collect())
    }

    /// A tuple of these items.
    pub fn tuple(items: impl IntoIterator<Item = Value>) -> Value {
        Value::Tuple(items.into_iter().collect())
    }

    /// The text of a string value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) => Some(s),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::Str(s.to_owned())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Value {
        Value::Str(s)
    }
}
