//! Members of literals and enums, as DSPy and as pydantic look them up.

use super::union::{Fit, How};
use crate::signature::types::EnumClass;
use bsft_pycompat::equal;
use bsft_pycompat::value::{EnumMember, Value};
use std::sync::Arc;

/// Finds a literal's member as pydantic does: first among members of the value's own kind, then by Python's equality,
/// where the last match wins. `True` finds the member `1`, and `1.0` finds `True` after a `1`.
pub(super) fn of_literal<'t>(members: &'t [Value], value: &Value) -> Option<&'t Value> {
    let same = |member: &&Value| {
        std::mem::discriminant(*member) == std::mem::discriminant(value) && *member == value
    };
    let equal = || members.iter().rfind(|member| equal::eq(member, value));
    members.iter().find(same).or_else(equal)
}

/// Finds an enum's member as pydantic does: the member itself, or by its value, which counts as a conversion.
pub(super) fn of_enum(value: &Value, class: &Arc<EnumClass>, how: &mut How) -> Option<Value> {
    if let Value::Enum(member) = value
        && member.class == class.name
    {
        return Some(value.clone());
    }
    how.floor(Fit::Lax);
    let found = class.members.iter().find(|(_, member)| equal::eq(member, value));
    found.map(|found| instance(class, found))
}

/// Finds an enum's member as DSPy does: by its value, or else by its name.
pub(super) fn by_value_or_name(value: &Value, class: &Arc<EnumClass>) -> Option<Value> {
    let by_value = class.members.iter().find(|(_, member)| equal::eq(member, value));
    let by_name = || {
        class
            .members
            .iter()
            .find(|(name, _)| value.as_str() == Some(name))
    };
    by_value.or_else(by_name).map(|found| instance(class, found))
}

fn instance(class: &Arc<EnumClass>, (name, value): &(Arc<str>, Value)) -> Value {
    Value::Enum(Box::new(EnumMember {
        class: Arc::clone(&class.name),
        name: Arc::clone(name),
        value: value.clone(),
    }))
}
