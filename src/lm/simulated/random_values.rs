//! Random values of a type, as an LM might answer them: any value, or one that differs from the label.

use super::draw::Draw;
use crate::signature::{EnumClass, TupleItems, Type};
use crate::value::{EnumMember, ModelInstance, Value};
use std::sync::Arc;

const WORDS: [&str; 16] = [
    "amber", "birch", "copper", "delta", "ember", "fjord", "granite", "harbor", "indigo", "juniper", "kelp",
    "lumen", "maple", "nimbus", "onyx", "prairie",
];

/// How often a value is drawn until it differs from the label. A type with only one value has no other.
const DRAWS: usize = 8;

/// Returns a value of the type that differs from the label, if the type has one.
pub(super) fn wrong_value(ty: &Type, label: &Value, draw: &mut Draw) -> Value {
    match (ty, label) {
        (Type::Bool, Value::Bool(label)) => return Value::Bool(!label),
        (Type::Literal(members), _) => {
            let others: Vec<&Value> = members.iter().filter(|member| *member != label).collect();
            return draw
                .pick(&others)
                .map_or_else(|| label.clone(), |other| (*other).clone());
        }
        (Type::Enum(class), _) => {
            // The label may be the member or, as in data files, the member's value.
            let is_label = |name: &Arc<str>, value: &Value| match label {
                Value::Enum(label) => label.name == *name,
                label => value == label,
            };
            let others: Vec<_> = class
                .members
                .iter()
                .filter(|(name, value)| !is_label(name, value))
                .collect();
            let other = draw.pick(&others).map(|(name, value)| member(class, name, value));
            return other.unwrap_or_else(|| label.clone());
        }
        _ => {}
    }
    for _ in 0..DRAWS {
        let value = plausible_value(ty, draw);
        if value != *label {
            return value;
        }
    }
    plausible_value(ty, draw)
}

/// Returns a valid value of the type.
pub(super) fn plausible_value(ty: &Type, draw: &mut Draw) -> Value {
    match ty {
        Type::Any | Type::Str => Value::Str(random_text(draw)),
        Type::None => Value::None,
        Type::Int => Value::Int(random_number(draw)),
        Type::Float => Value::Float(random_number(draw) as f64 / 4.0),
        Type::Bool => Value::Bool(draw.chance(0.5)),
        Type::Literal(members) => draw.pick(members).cloned().unwrap_or(Value::None),
        Type::Enum(class) => draw
            .pick(&class.members)
            .map_or(Value::None, |(name, value)| member(class, name, value)),
        Type::Model(class) => {
            let fields = class
                .fields
                .iter()
                .map(|field| (field.name.clone(), plausible_value(&field.ty, draw)));
            Value::Model(Box::new(ModelInstance {
                class: class.name.clone(),
                fields: fields.collect(),
            }))
        }
        Type::List(item) => Value::list(random_items(item.as_deref(), draw)),
        Type::Set(item) => {
            let mut members = random_items(item.as_deref(), draw);
            dedup(&mut members, |value| value);
            Value::Set(members.into())
        }
        Type::Dict(types) => {
            let (key, value) = types
                .as_deref()
                .map_or((&Type::Str, &Type::Str), |(key, value)| (key, value));
            let mut entries: Vec<_> = (0..=draw.below(2))
                .map(|_| (plausible_value(key, draw), plausible_value(value, draw)))
                .collect();
            dedup(&mut entries, |(key, _)| key);
            Value::Dict(entries)
        }
        Type::Tuple(TupleItems::Bare) => Value::tuple(random_items(None, draw)),
        Type::Tuple(TupleItems::Repeated(item)) => Value::tuple(random_items(Some(item), draw)),
        Type::Tuple(TupleItems::Fixed(items)) => {
            Value::tuple(items.iter().map(|item| plausible_value(item, draw)))
        }
        Type::Union(members) => {
            let index = draw.below(members.len().max(1));
            members
                .get(index)
                .map_or(Value::None, |member| plausible_value(member, draw))
        }
    }
}

fn member(class: &EnumClass, name: &Arc<str>, value: &Value) -> Value {
    Value::Enum(Box::new(EnumMember {
        class: class.name.clone(),
        name: name.clone(),
        value: value.clone(),
    }))
}

fn random_text(draw: &mut Draw) -> String {
    let words: Vec<&str> = (0..=draw.below(3))
        .map(|_| WORDS[draw.below(WORDS.len())])
        .collect();
    words.join(" ")
}

fn random_number(draw: &mut Draw) -> i64 {
    i64::try_from(draw.below(1000)).expect("below 1000")
}

fn random_items(item: Option<&Type>, draw: &mut Draw) -> Vec<Value> {
    (0..=draw.below(3))
        .map(|_| plausible_value(item.unwrap_or(&Type::Str), draw))
        .collect()
}

/// Removes repeated items; there are at most three.
fn dedup<T>(of: &mut Vec<T>, key: impl Fn(&T) -> &Value) {
    let mut kept: Vec<T> = Vec::with_capacity(of.len());
    for one in of.drain(..) {
        if !kept.iter().any(|other| key(other) == key(&one)) {
            kept.push(one);
        }
    }
    *of = kept;
}
