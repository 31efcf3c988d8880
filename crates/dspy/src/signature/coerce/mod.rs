//! Converts answers to typed values: DSPy's `parse_value`, and pydantic's lax validation behind it.

mod lax;
mod member;
mod scalar;
mod union;

use super::types::Type;
use bsft_pycompat::value::Value;
use bsft_pycompat::{literal, repair, repr, text};

pub use bsft_pycompat::equal::eq as equal;

/// A value that its type rejects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{shown} is not {expected}")]
pub struct CoerceError {
    /// The value, shortened.
    shown: String,
    /// What was expected.
    expected: String,
}

/// The maximum number of characters of a value in an error.
const SHOWN: usize = 80;

impl CoerceError {
    fn new(value: &Value, ty: &Type) -> CoerceError {
        let shown: String = repr::repr(value).chars().take(SHOWN).collect();
        CoerceError {
            shown,
            expected: format!("a valid {}", super::type_name(ty)),
        }
    }
}

/// Parses an answer's text into a value of the type.
pub fn from_text(answer: &str, ty: &Type) -> Result<Value, CoerceError> {
    match ty {
        Type::Str => Ok(Value::from(answer)),
        Type::Enum(class) => member::by_value_or_name(&Value::from(answer), class)
            .ok_or_else(|| CoerceError::new(&Value::from(answer), ty)),
        Type::Literal(members) => from_literal(answer, members, ty),
        // A union of text and None keeps the text: "null" stays "null".
        Type::Union(members) if members.contains(&Type::None) && members.contains(&Type::Str) => {
            validated(Value::from(answer), ty)
        }
        _ => validated(candidate(answer), ty),
    }
}

/// Converts a value parsed from JSON to the type.
pub fn from_value(value: Value, ty: &Type) -> Result<Value, CoerceError> {
    match (value, ty) {
        (text @ Value::Str(_), Type::Str) => Ok(text),
        (Value::Str(answer), _) => from_text(&answer, ty),
        (other, Type::Str) => Ok(Value::Str(repr::str(&other))),
        (other, Type::Enum(class)) => {
            member::by_value_or_name(&other, class).ok_or_else(|| CoerceError::new(&other, ty))
        }
        // DSPy returns the value itself: `true` stays `True` for the member 1.
        (other, Type::Literal(members)) => {
            if members.iter().any(|member| equal(member, &other)) {
                Ok(other)
            } else {
                Err(CoerceError::new(&other, ty))
            }
        }
        (other, _) => validated(other, ty),
    }
}

/// Like [`from_value`], with pydantic's validation of the raw value as the fallback, as in `dspy.XMLAdapter`. An
/// enum's member is looked up only once.
pub fn from_value_or_as_it_is(value: Value, ty: &Type) -> Result<Value, CoerceError> {
    match (&value, ty) {
        // These fall back to what failed, or cannot fail.
        (_, Type::Enum(_) | Type::Str) => from_value(value, ty),
        (Value::Str(_), _) | (_, Type::Literal(_)) => {
            from_value(value.clone(), ty).or_else(|_| validated(value, ty))
        }
        // That is pydantic's validation already.
        _ => from_value(value, ty),
    }
}

/// Parses the text as JSON, repaired if necessary, else as a Python literal. Returns the text itself if both fail.
fn candidate(answer: &str) -> Value {
    let repaired = repair::loads(answer);
    if repaired == Value::from("") && !answer.is_empty() {
        return literal::eval(answer).unwrap_or_else(|_| Value::from(answer));
    }
    repaired
}

/// Runs pydantic's validation of the whole value.
fn validated(value: Value, ty: &Type) -> Result<Value, CoerceError> {
    let refused = |refused: lax::Refused<'_>| CoerceError::new(&refused.value, refused.ty);
    lax::validate(value, ty, &mut union::How::exact()).map_err(refused)
}

/// Finds a literal in the text, first unchanged, then without the quotes and brackets that LMs often add.
fn from_literal(answer: &str, members: &[Value], ty: &Type) -> Result<Value, CoerceError> {
    let found = |text: &str| {
        members
            .iter()
            .find(|member| member.as_str() == Some(text))
            .cloned()
    };
    if let Some(member) = found(answer) {
        return Ok(member);
    }
    let mut bare = text::strip(answer);
    for wrapper in ["Literal[", "str["] {
        if let Some(inner) = bare.strip_prefix(wrapper).and_then(|rest| rest.strip_suffix(']')) {
            bare = inner;
            break;
        }
    }
    for quote in ['"', '\''] {
        let inner = bare.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            bare = inner;
            break;
        }
    }
    if let Some(member) = found(bare) {
        return Ok(member);
    }
    validated(candidate(bare), ty)
}
