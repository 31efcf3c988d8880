//! Python's `==` between values, and the lists of dict items and set members that hold each equal value once.

use crate::value::Value;
use num_bigint::BigInt;
use num_traits::{FromPrimitive, Zero};
use std::collections::HashMap;

/// Python's `a == b`: `1 == 1.0 == True`, dicts and sets in any order, NaN unequal to itself.
pub fn eq(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| eq(a, b))
        }
        (Value::Set(a), Value::Set(b)) => a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| eq(x, y))),
        (Value::Dict(a), Value::Dict(b)) => {
            let same = |(key, value): &(Value, Value)| b.iter().any(|(k, v)| eq(k, key) && eq(v, value));
            a.len() == b.len() && a.iter().all(same)
        }
        (Value::Enum(a), Value::Enum(b)) => a.class == b.class && a.name == b.name,
        (Value::Model(a), Value::Model(b)) => {
            let same = |((n, a), (m, b)): (&(_, Value), &(_, Value))| n == m && eq(a, b);
            a.class == b.class && a.fields.len() == b.fields.len() && a.fields.iter().zip(&b.fields).all(same)
        }
        _ => number_eq(a, b),
    }
}

fn number_eq(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a == b,
        (Value::Float(f), other) | (other, Value::Float(f)) => {
            f.fract().is_zero()
                && BigInt::from_f64(*f).is_some_and(|f| integer(other).is_some_and(|i| i == f))
        }
        _ => match (small(a), small(b)) {
            (Some(a), Some(b)) => a == b,
            (None, None) => integer(a).is_some_and(|a| integer(b).is_some_and(|b| a == b)),
            _ => false,
        },
    }
}

fn small(v: &Value) -> Option<i64> {
    match v {
        Value::Bool(b) => Some(i64::from(*b)),
        Value::Int(i) => Some(*i),
        _ => None,
    }
}

fn integer(v: &Value) -> Option<BigInt> {
    match v {
        Value::BigInt(i) => Some((**i).clone()),
        _ => small(v).map(BigInt::from),
    }
}

/// A dict under construction: a repeated key keeps its first position and takes the last value.
#[derive(Debug, Default)]
pub struct DictBuilder {
    items: Vec<(Value, Value)>,
    /// The positions of the string keys, filled once there are more than [`FEW`] items.
    places: HashMap<String, usize>,
}

/// Up to this many items, a linear search is faster than a table.
const FEW: usize = 16;

impl DictBuilder {
    /// Sets `key`. Returns the item's position and whether the key is new.
    pub fn insert(&mut self, key: Value, value: Value) {
        match self.find(&key) {
            Some(at) => self.items[at].1 = value,
            None => {
                self.push_place(&key);
                self.items.push((key, value));
            }
        }
    }

    /// The items in order.
    pub fn finish(self) -> Vec<(Value, Value)> {
        self.items
    }

    fn find(&self, key: &Value) -> Option<usize> {
        match key {
            Value::Str(key) if self.items.len() > FEW => self.places.get(key).copied(),
            Value::Str(key) => self.items.iter().position(|(k, _)| k.as_str() == Some(key)),
            _ => self.items.iter().position(|(k, _)| eq(k, key)),
        }
    }

    fn push_place(&mut self, key: &Value) {
        let n = self.items.len();
        if n == FEW {
            let known = self.items.iter().enumerate();
            self.places = known
                .filter_map(|(i, (k, _))| Some((k.as_str()?.to_owned(), i)))
                .collect();
        }
        if let (true, Value::Str(key)) = (n >= FEW, key) {
            self.places.insert(key.clone(), n);
        }
    }
}

/// The members of a set in the order in which each was first seen.
pub fn distinct(members: Vec<Value>) -> Vec<Value> {
    let mut seen = DictBuilder::default();
    for member in members {
        if seen.find(&member).is_none() {
            seen.insert(member, Value::None);
        }
    }
    seen.finish().into_iter().map(|(member, _)| member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_across_types() {
        let big = Value::from_bigint(BigInt::from(1u64 << 63) * 2);
        assert!(eq(&Value::Int(1), &Value::Float(1.0)) && eq(&Value::Bool(true), &Value::Int(1)));
        assert!(eq(&big, &Value::Float(18_446_744_073_709_551_616.0)) && eq(&big, &big.clone()));
        assert!(
            !eq(&Value::Float(f64::NAN), &Value::Float(f64::NAN)) && !eq(&Value::None, &Value::Bool(false))
        );
        assert!(!eq(
            &Value::Int(9_007_199_254_740_993),
            &Value::Float(9_007_199_254_740_992.0)
        ));
    }

    #[test]
    fn repeated_key_keeps_its_place_and_takes_the_last_value() {
        for n in [3usize, 40] {
            let mut dict = DictBuilder::default();
            (0..n)
                .chain(0..n)
                .for_each(|i| dict.insert(Value::Str(format!("k{i}")), Value::Int(i as i64)));
            dict.insert(Value::from("k1"), Value::None);
            let items = dict.finish();
            assert_eq!(items.len(), n);
            assert_eq!(items[1], (Value::from("k1"), Value::None));
        }
    }
}
