//! Python's `==` between values, and the lists of dict items and set members that hold each equal value once.

use crate::value::Value;
use crate::value::items::{Items, fitted};
use num_bigint::BigInt;
use num_traits::{FromPrimitive, Zero};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};

/// Python's `a == b`: `1 == 1.0 == True`, dicts and sets in any order, NaN unequal to itself.
pub fn eq(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| eq(&a, &b))
        }
        (Value::Set(a), Value::Set(b)) => {
            a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| eq(&x, &y)))
        }
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

/// A hash that equal values share: `1`, `1.0` and `True` have the same one.
fn hash(value: &Value, state: &mut impl Hasher) {
    match value {
        Value::None => 0_u8.hash(state),
        Value::Str(text) => (1_u8, text).hash(state),
        Value::Bool(b) => (2_u8, i64::from(*b)).hash(state),
        Value::Int(i) => (2_u8, i).hash(state),
        Value::BigInt(i) => (3_u8, i).hash(state),
        Value::Float(f) => match BigInt::from_f64(*f).filter(|_| f.fract().is_zero()) {
            Some(whole) => hash(&Value::from_bigint(whole), state),
            None => (4_u8, f.to_bits()).hash(state),
        },
        Value::List(items) | Value::Tuple(items) => {
            (5_u8, items.len()).hash(state);
            items.iter().for_each(|item| hash(&item, state));
        }
        // The order of these does not count.
        Value::Set(items) => (6_u8, items.len()).hash(state),
        Value::Dict(items) => (7_u8, items.len()).hash(state),
        Value::Enum(e) => (8_u8, &e.class, &e.name).hash(state),
        Value::Model(m) => (9_u8, &m.class, m.fields.len()).hash(state),
    }
}

/// Finds values that were seen before, by their hashes.
#[derive(Debug, Default)]
struct Places {
    hashes: RandomState,
    /// The latest value of each hash.
    latest: HashMap<u64, usize>,
    /// For each value, the one before it with the same hash, or itself if there is none.
    before: Vec<usize>,
}

impl Places {
    fn hash(&self, value: &Value) -> u64 {
        let mut state = self.hashes.build_hasher();
        hash(value, &mut state);
        state.finish()
    }

    /// The place of an equal value, as `is_equal` decides.
    fn find(&self, hash: u64, is_equal: impl Fn(usize) -> bool) -> Option<usize> {
        let mut at = *self.latest.get(&hash)?;
        loop {
            if is_equal(at) {
                return Some(at);
            }
            if self.before[at] == at {
                return None;
            }
            at = self.before[at];
        }
    }

    /// Adds the next value.
    fn push(&mut self, hash: u64) {
        let at = self.before.len();
        let before = self.latest.insert(hash, at);
        self.before.push(before.unwrap_or(at));
    }
}

/// A dict under construction: a repeated key keeps its first position and takes the last value.
#[derive(Debug, Default)]
pub struct DictBuilder {
    items: Vec<(Value, Value)>,
    /// The keys, once there are more than [`FEW`].
    places: Option<Box<Places>>,
}

/// Up to this many items, a linear search is faster than a table.
const FEW: usize = 16;

impl DictBuilder {
    /// Sets `key`.
    pub fn insert(&mut self, key: Value, value: Value) {
        let items = &mut self.items;
        if items.len() == FEW && self.places.is_none() {
            let mut places = Box::new(Places::default());
            for (key, _) in &*items {
                places.push(places.hash(key));
            }
            self.places = Some(places);
        }
        let found = match &mut self.places {
            None => items.iter().position(|(known, _)| eq(known, &key)),
            Some(places) => {
                let hash = places.hash(&key);
                let found = places.find(hash, |at| eq(&items[at].0, &key));
                if found.is_none() {
                    places.push(hash);
                }
                found
            }
        };
        match found {
            Some(at) => items[at].1 = value,
            None => items.push((key, value)),
        }
    }

    /// The items in order.
    pub fn finish(self) -> Vec<(Value, Value)> {
        fitted(self.items)
    }
}

/// The members of a set in the order in which each was first seen.
pub fn distinct(members: Items) -> Items {
    let mut places = Places::default();
    let mut seen: Vec<Value> = Vec::new();
    for member in members {
        let hash = places.hash(&member);
        if places.find(hash, |at| eq(&seen[at], &member)).is_none() {
            places.push(hash);
            seen.push(member);
        }
    }
    seen.into()
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
    fn equal_values_have_equal_hashes() {
        let big = Value::from_bigint(BigInt::from(1u64 << 63) * 2);
        let values = [
            Value::None,
            Value::Bool(true),
            Value::Int(1),
            Value::Float(1.0),
            Value::Int(0),
            Value::Float(-0.0),
            Value::Float(0.5),
            Value::Float(f64::INFINITY),
            big.clone(),
            Value::Float(18_446_744_073_709_551_616.0),
            Value::Int(i64::MIN),
            Value::Float(-9_223_372_036_854_775_808.0),
            Value::from("1"),
            Value::tuple([Value::Int(1), Value::Float(2.0)]),
            Value::tuple([Value::Bool(true), Value::Int(2)]),
            Value::Set([Value::Int(1), big].into()),
        ];
        let places = Places::default();
        for a in &values {
            for b in values.iter().filter(|b| eq(a, b)) {
                assert_eq!(places.hash(a), places.hash(b), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn distinct_keeps_the_first_of_equal_members() {
        let members = (0..60).map(|i| match i % 3 {
            0 => Value::Int(i % 7),
            1 => Value::Float((i % 7) as f64),
            _ => Value::tuple([Value::Int(i % 2), Value::from("x")]),
        });
        let mut expected: Vec<Value> = Vec::new();
        for member in members.clone() {
            if !expected.iter().any(|known| eq(known, &member)) {
                expected.push(member);
            }
        }
        assert_eq!(distinct(members.collect()).values(), expected);
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
