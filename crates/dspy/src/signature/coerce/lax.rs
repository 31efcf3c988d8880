//! pydantic's lax mode for the types of a signature.

use super::member;
use super::scalar;
use super::union::{Fit, How, union};
use crate::signature::types::{ModelClass, TupleItems, Type};
use bsft_pycompat::equal;
use bsft_pycompat::value::items::Items;
use bsft_pycompat::value::{ModelInstance, Value};
use std::borrow::Cow;
use std::sync::Arc;

/// A value that its type rejects; for nested values, the innermost pair.
pub(super) struct Refused<'t> {
    pub(super) value: Value,
    pub(super) ty: &'t Type,
}

/// Validates a value, and records in `how` which conversions it needed.
pub(super) fn validate<'t>(value: Value, ty: &'t Type, how: &mut How) -> Result<Value, Refused<'t>> {
    let refused = |value: Value| Err(Refused { value, ty });
    match ty {
        Type::Any => {
            how.floor(Fit::Strict);
            Ok(value)
        }
        Type::None if value == Value::None => Ok(value),
        Type::Str if matches!(value, Value::Str(_)) => Ok(value),
        Type::None | Type::Str => refused(value),
        Type::Int => scalar::int(&value, how).map_or_else(|| refused(value), Ok),
        Type::Float => scalar::float(&value, how).map_or_else(|| refused(value), |f| Ok(Value::Float(f))),
        Type::Bool => scalar::bool(&value, how).map_or_else(|| refused(value), |b| Ok(Value::Bool(b))),
        Type::Literal(members) => match member::of_literal(members, &value) {
            Some(member) => Ok(member.clone()),
            None => refused(value),
        },
        Type::Enum(class) => member::of_enum(&value, class, how).map_or_else(|| refused(value), Ok),
        Type::Model(class) => model(value, class, ty, how),
        Type::List(item) => {
            let (items, kind) = items(value, ty)?;
            how.floor_unless(kind == ArrayKind::List);
            Ok(Value::List(each(items, item.as_deref(), how)?))
        }
        Type::Set(item) => {
            let (items, kind) = items(value, ty)?;
            how.floor_unless(kind == ArrayKind::Set);
            let members = each(items, item.as_deref(), how)?;
            let unhashable = members.iter().find(|member| !is_hashable(member));
            match unhashable.map(Cow::into_owned) {
                Some(member) => refused(member),
                None => Ok(Value::Set(equal::distinct(members))),
            }
        }
        Type::Tuple(shape) => {
            let (items, kind) = items(value, ty)?;
            how.floor_unless(kind == ArrayKind::Tuple);
            tuple(items, shape, ty, how)
        }
        Type::Dict(shape) => match value {
            Value::Dict(items) => dict(items, shape.as_deref(), how),
            other => refused(other),
        },
        Type::Union(members) => union(value, members, ty, how),
    }
}

/// The kind of the value from which an array was converted.
#[derive(PartialEq)]
enum ArrayKind {
    List,
    Tuple,
    Set,
}

fn items(value: Value, ty: &Type) -> Result<(Items, ArrayKind), Refused<'_>> {
    match value {
        Value::List(items) => Ok((items, ArrayKind::List)),
        Value::Tuple(items) => Ok((items, ArrayKind::Tuple)),
        Value::Set(items) => Ok((items, ArrayKind::Set)),
        value => Err(Refused { value, ty }),
    }
}

/// Does not inspect lists and sets of `Any`, so they stay exact.
fn each<'t>(items: Items, ty: Option<&'t Type>, how: &mut How) -> Result<Items, Refused<'t>> {
    match ty {
        None | Some(Type::Any) => Ok(items),
        Some(Type::Int) if items.are_ints() => Ok(items),
        Some(Type::Float) if items.are_floats() => Ok(items),
        Some(ty) => items.try_map(|item| validate(item, ty, how)),
    }
}

fn tuple<'t>(items: Items, shape: &'t TupleItems, ty: &'t Type, how: &mut How) -> Result<Value, Refused<'t>> {
    match shape {
        TupleItems::Bare => {
            how.floor_if_any(items.len());
            Ok(Value::Tuple(items))
        }
        TupleItems::Repeated(item) => {
            let items = items.try_map(|value| validate(value, item, how));
            Ok(Value::Tuple(items?))
        }
        TupleItems::Fixed(types) if types.len() == items.len() => {
            let items = items.into_iter().zip(types);
            let items = items.map(|(value, ty)| validate(value, ty, how));
            Ok(Value::Tuple(items.collect::<Result<_, _>>()?))
        }
        TupleItems::Fixed(_) => Err(Refused {
            value: Value::List(items),
            ty,
        }),
    }
}

fn dict<'t>(
    items: Vec<(Value, Value)>,
    shape: Option<&'t (Type, Type)>,
    how: &mut How,
) -> Result<Value, Refused<'t>> {
    let Some((key, value)) = shape else {
        how.floor_if_any(items.len());
        return Ok(Value::Dict(items));
    };
    let mut out = equal::DictBuilder::default();
    for (name, item) in items {
        out.insert(validate(name, key, how)?, validate(item, value, how)?);
    }
    Ok(Value::Dict(out.finish()))
}

fn model<'t>(
    value: Value,
    class: &'t Arc<ModelClass>,
    ty: &'t Type,
    how: &mut How,
) -> Result<Value, Refused<'t>> {
    let mut items = match value {
        Value::Dict(items) => items,
        Value::Model(instance) if instance.class == class.name => return Ok(Value::Model(instance)),
        value => return Err(Refused { value, ty }),
    };
    how.floor(Fit::Strict);
    let (mut fields, mut given) = (Vec::with_capacity(class.fields.len()), 0);
    for field in &class.fields {
        let at = items
            .iter()
            .position(|(name, _)| name.as_str() == Some(&*field.name));
        let value = match (at, &field.default) {
            (Some(at), _) => {
                given += 1;
                validate(std::mem::replace(&mut items[at].1, Value::None), &field.ty, how)?
            }
            (None, Some(default)) => default.clone(),
            (None, None) => {
                return Err(Refused {
                    value: Value::Dict(items),
                    ty,
                });
            }
        };
        fields.push((Arc::clone(&field.name), value));
    }
    how.add_fields(given);
    Ok(Value::Model(Box::new(ModelInstance {
        class: Arc::clone(&class.name),
        fields,
    })))
}

/// Whether Python can hash the value, as a set requires.
fn is_hashable(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Set(_) | Value::Dict(_) | Value::Model(_) => false,
        Value::Tuple(items) => items.iter().all(|item| is_hashable(&item)),
        _ => true,
    }
}
