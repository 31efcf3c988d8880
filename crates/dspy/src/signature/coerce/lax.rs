//! pydantic's lax mode for the types of a signature.

use super::member;
use super::scalar;
use super::union::{Fit, How, union};
use crate::signature::constraint::Constraint;
use crate::signature::types::{ModelClass, ModelField, TupleItems, Type};
use bsft_pycompat::equal;
use bsft_pycompat::value::{ModelInstance, Value};
use std::sync::Arc;

/// A value that its type rejects; for nested values, the innermost pair.
pub(super) struct Refused<'t> {
    pub(super) value: Value,
    pub(super) ty: &'t Type,
    /// The constraint of its field that it does not satisfy; `None` if it is not of the type.
    pub(super) constraint: Option<&'t Constraint>,
}

impl<'t> Refused<'t> {
    /// A value that is not of the type.
    pub(super) fn new(value: Value, ty: &'t Type) -> Refused<'t> {
        Refused {
            value,
            ty,
            constraint: None,
        }
    }
}

/// Validates a value, and records in `how` which conversions it needed.
pub(super) fn validate<'t>(value: Value, ty: &'t Type, how: &mut How) -> Result<Value, Refused<'t>> {
    let refused = |value: Value| Err(Refused::new(value, ty));
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
            match members.iter().position(|member| !is_hashable(member)) {
                Some(at) => refused(members.into_iter().nth(at).unwrap_or(Value::None)),
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

fn items(value: Value, ty: &Type) -> Result<(Vec<Value>, ArrayKind), Refused<'_>> {
    match value {
        Value::List(items) => Ok((items, ArrayKind::List)),
        Value::Tuple(items) => Ok((items, ArrayKind::Tuple)),
        Value::Set(items) => Ok((items, ArrayKind::Set)),
        value => Err(Refused::new(value, ty)),
    }
}

/// Does not inspect lists and sets of `Any`, so they stay exact.
fn each<'t>(items: Vec<Value>, ty: Option<&'t Type>, how: &mut How) -> Result<Vec<Value>, Refused<'t>> {
    match ty {
        None | Some(Type::Any) => Ok(items),
        Some(ty) => items.into_iter().map(|item| validate(item, ty, how)).collect(),
    }
}

fn tuple<'t>(
    items: Vec<Value>,
    shape: &'t TupleItems,
    ty: &'t Type,
    how: &mut How,
) -> Result<Value, Refused<'t>> {
    match shape {
        TupleItems::Bare => {
            how.floor_if_any(&items);
            Ok(Value::Tuple(items))
        }
        TupleItems::Repeated(item) => {
            let items = items.into_iter().map(|value| validate(value, item, how));
            Ok(Value::Tuple(items.collect::<Result<_, _>>()?))
        }
        TupleItems::Fixed(types) if types.len() == items.len() => {
            let items = items.into_iter().zip(types);
            let items = items.map(|(value, ty)| validate(value, ty, how));
            Ok(Value::Tuple(items.collect::<Result<_, _>>()?))
        }
        TupleItems::Fixed(_) => Err(Refused::new(Value::List(items), ty)),
    }
}

fn dict<'t>(
    items: Vec<(Value, Value)>,
    shape: Option<&'t (Type, Type)>,
    how: &mut How,
) -> Result<Value, Refused<'t>> {
    let Some((key, value)) = shape else {
        how.floor_if_any(&items);
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
        value => return Err(Refused::new(value, ty)),
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
                let value = std::mem::replace(&mut items[at].1, Value::None);
                satisfying(validate(value, &field.ty, how)?, field)?
            }
            (None, Some(default)) => default.clone(),
            (None, None) => {
                return Err(Refused::new(Value::Dict(items), ty));
            }
        };
        fields.push((Arc::clone(&field.name), value));
    }
    how.add_fields(given);
    Ok(Value::Model(ModelInstance {
        class: Arc::clone(&class.name),
        fields,
    }))
}

/// The value, if it satisfies the constraints of its field.
fn satisfying(value: Value, field: &ModelField) -> Result<Value, Refused<'_>> {
    let mut constraints = field.info.constraints.iter();
    match constraints.find(|constraint| !constraint.allows(&value)) {
        Some(constraint) => Err(Refused {
            value,
            ty: &field.ty,
            constraint: Some(constraint),
        }),
        None => Ok(value),
    }
}

/// Whether Python can hash the value, as a set requires.
fn is_hashable(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Set(_) | Value::Dict(_) | Value::Model(_) => false,
        Value::Tuple(items) => items.iter().all(is_hashable),
        _ => true,
    }
}
