//! pydantic's smart mode: the choice among the members of a union.

use super::lax::{Refused, validate};
use crate::signature::types::Type;
use bsft_pycompat::value::Value;

/// How much a value had to change to fit a type, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// Converted.
    Lax,
    /// Accepted by strict mode, such as an int for a float.
    Strict,
    /// Already of the type.
    Exact,
}

/// The result of a validation: the worst fit of all parts, and the number of model fields that were given.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    fit: Fit,
    fields: Option<usize>,
}

impl How {
    /// The state before validation.
    pub(super) fn exact() -> How {
        How {
            fit: Fit::Exact,
            fields: None,
        }
    }

    /// Lowers the fit to at most `fit`.
    pub(super) fn floor(&mut self, fit: Fit) {
        self.fit = self.fit.min(fit);
    }

    /// Records a conversion unless `is_exact`.
    pub(super) fn floor_unless(&mut self, is_exact: bool) {
        if !is_exact {
            self.floor(Fit::Lax);
        }
    }

    /// `Any` was asked to admit that many parts.
    pub(super) fn floor_if_any(&mut self, parts: usize) {
        if parts > 0 {
            self.floor(Fit::Strict);
        }
    }

    /// Adds the number of given fields of a model.
    pub(super) fn add_fields(&mut self, given: usize) {
        self.fields = Some(self.fields.unwrap_or(0) + given);
    }

    /// Compares the numbers of given fields if both are known and differ, and the fit otherwise.
    fn is_better_than(self, other: How) -> bool {
        match (self.fields, other.fields) {
            (Some(mine), Some(theirs)) if mine != theirs => mine > theirs,
            _ => self.fit > other.fit,
        }
    }
}

/// Finds the member that fits best, the first of equals. Like pydantic, it checks `None` before the others.
pub(super) fn union<'t>(
    value: Value,
    members: &'t [Type],
    ty: &'t Type,
    how: &mut How,
) -> Result<Value, Refused<'t>> {
    let is_optional = members.contains(&Type::None);
    if is_optional && value == Value::None {
        return Ok(value);
    }
    let mut others = members.iter().filter(|member| **member != Type::None);
    if let (Some(only), None, true) = (others.next(), others.next(), is_optional) {
        return validate(value, only, how);
    }
    let mut best: Option<(Value, How)> = None;
    for member in members.iter().filter(|member| **member != Type::None) {
        let mut taken = How::exact();
        let Ok(valid) = validate(value.clone(), member, &mut taken) else {
            continue;
        };
        if taken.fit == Fit::Exact && taken.fields.is_none() {
            return Ok(valid);
        }
        if best.as_ref().is_none_or(|(_, best)| taken.is_better_than(*best)) {
            best = Some((valid, taken));
        }
    }
    match best {
        Some((valid, taken)) => {
            how.floor(taken.fit);
            if let Some(fields) = taken.fields {
                how.add_fields(fields);
            }
            Ok(valid)
        }
        None => Err(Refused { value, ty }),
    }
}
