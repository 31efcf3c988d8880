//! Random values of a type, as an LM might answer them: any value, or one that differs from the label.

use super::constrained::{LONGEST, adapted, bound};
use super::draw::Draw;
use crate::signature::{EnumClass, ModelField, TupleItems, Type};
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
            let fields = class.fields.iter();
            let fields = fields.map(|field| (field.name.clone(), field_value(field, draw)));
            Value::Model(ModelInstance {
                class: class.name.clone(),
                fields: fields.collect(),
            })
        }
        Type::List(item) => Value::List(random_items(item.as_deref(), draw)),
        Type::Set(item) => {
            let mut members = random_items(item.as_deref(), draw);
            dedup(&mut members, |value| value);
            Value::Set(members)
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
        Type::Tuple(TupleItems::Bare) => Value::Tuple(random_items(None, draw)),
        Type::Tuple(TupleItems::Repeated(item)) => Value::Tuple(random_items(Some(item), draw)),
        Type::Tuple(TupleItems::Fixed(items)) => {
            Value::Tuple(items.iter().map(|item| plausible_value(item, draw)).collect())
        }
        Type::Union(members) => {
            let index = draw.below(members.len().max(1));
            members
                .get(index)
                .map_or(Value::None, |member| plausible_value(member, draw))
        }
    }
}

/// Returns a value of the field that satisfies its constraints, if a few draws find one.
fn field_value(field: &ModelField, draw: &mut Draw) -> Value {
    let constraints = &field.info.constraints;
    let mut value = plausible_value(&field.ty, draw);
    if constraints.is_empty() {
        return value;
    }
    for _ in 0..DRAWS {
        value = adapted(resized(value, field, draw), constraints, draw);
        if constraints.iter().all(|constraint| constraint.allows(&value)) {
            return value;
        }
        value = plausible_value(&field.ty, draw);
    }
    let examples = field.info.examples.as_deref().unwrap_or_default();
    draw.pick(examples)
        .or(field.default.as_ref())
        .cloned()
        .unwrap_or(value)
}

/// Returns the container with as many items as its field allows.
fn resized(value: Value, field: &ModelField, draw: &mut Draw) -> Value {
    let length = |name: &str, default: usize| {
        let length = bound(&field.info.constraints, name).map(|length| length as usize);
        length.unwrap_or(default)
    };
    let (least, most) = (
        length("min_length", 0).min(LONGEST),
        length("max_length", usize::MAX),
    );
    let mut more = || plausible_value(&field.ty, draw);
    match value {
        Value::List(mut items) => {
            fill(&mut items, least, || match more() {
                Value::List(items) => items,
                _ => Vec::new(),
            });
            items.truncate(most);
            Value::List(items)
        }
        Value::Tuple(mut items) => {
            fill(&mut items, least, || match more() {
                Value::Tuple(items) => items,
                _ => Vec::new(),
            });
            items.truncate(most);
            Value::Tuple(items)
        }
        Value::Set(mut items) => {
            fill(&mut items, least, || match more() {
                Value::Set(items) => items,
                _ => Vec::new(),
            });
            dedup(&mut items, |item| item);
            items.truncate(most);
            Value::Set(items)
        }
        Value::Dict(mut entries) => {
            fill(&mut entries, least, || match more() {
                Value::Dict(entries) => entries,
                _ => Vec::new(),
            });
            dedup(&mut entries, |(key, _)| key);
            entries.truncate(most);
            Value::Dict(entries)
        }
        other => other,
    }
}

/// Adds drawn items until there are enough. Some draws give none.
fn fill<T>(items: &mut Vec<T>, least: usize, mut more: impl FnMut() -> Vec<T>) {
    let most_draws = DRAWS * (1 + least);
    for _ in 0..most_draws {
        if items.len() >= least {
            break;
        }
        items.extend(more());
    }
}

fn member(class: &EnumClass, name: &Arc<str>, value: &Value) -> Value {
    Value::Enum(EnumMember {
        class: class.name.clone(),
        name: name.clone(),
        value: Box::new(value.clone()),
    })
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

/// Removes repeated items; there are few.
fn dedup<T>(of: &mut Vec<T>, key: impl Fn(&T) -> &Value) {
    let mut kept: Vec<T> = Vec::with_capacity(of.len());
    for one in of.drain(..) {
        if !kept.iter().any(|other| key(other) == key(&one)) {
            kept.push(one);
        }
    }
    *of = kept;
}
