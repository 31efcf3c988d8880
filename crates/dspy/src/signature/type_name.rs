//! The name of a type in a prompt, and the note after an output's placeholder.

use super::schema::json_schema;
use super::types::{TupleItems, Type};
use bsft_pycompat::repr;
use bsft_pycompat::value::Value;

/// The name after a field, such as `list[str]` or `Union[int, NoneType]`.
pub fn type_name(ty: &Type) -> String {
    let list = |types: &[Type]| types.iter().map(type_name).collect::<Vec<_>>().join(", ");
    match ty {
        Type::Any => "Any".to_owned(),
        Type::None => "NoneType".to_owned(),
        Type::Str => "str".to_owned(),
        Type::Int => "int".to_owned(),
        Type::Float => "float".to_owned(),
        Type::Bool => "bool".to_owned(),
        Type::Literal(members) => {
            format!(
                "Literal[{}]",
                members.iter().map(literal).collect::<Vec<_>>().join(", ")
            )
        }
        Type::Enum(class) => class.name.to_string(),
        Type::Model(class) => class.name.to_string(),
        Type::List(None) => "list".to_owned(),
        Type::List(Some(item)) => format!("list[{}]", type_name(item)),
        Type::Set(None) => "set".to_owned(),
        Type::Set(Some(item)) => format!("set[{}]", type_name(item)),
        Type::Dict(None) => "dict".to_owned(),
        Type::Dict(Some(items)) => format!("dict[{}, {}]", type_name(&items.0), type_name(&items.1)),
        Type::Tuple(TupleItems::Bare) => "tuple".to_owned(),
        Type::Tuple(TupleItems::Fixed(items)) => format!("tuple[{}]", list(items)),
        Type::Tuple(TupleItems::Repeated(item)) => format!("tuple[{}, Ellipsis]", type_name(item)),
        Type::Union(members) => format!("Union[{}]", list(members)),
    }
}

/// The rule that follows `# note: the value you produce `, `None` for text.
pub fn note(ty: &Type) -> Option<String> {
    let one_of = |values: Vec<String>| values.join("; ");
    match ty {
        Type::Str => None,
        Type::Int => Some("must be a single int value".to_owned()),
        Type::Float => Some("must be a single float value".to_owned()),
        Type::Bool => Some("must be True or False".to_owned()),
        Type::Literal(members) => Some(format!(
            "must exactly match (no extra characters) one of: {}",
            one_of(members.iter().map(repr::str).collect())
        )),
        Type::Enum(class) => Some(format!(
            "must be one of: {}",
            one_of(class.members.iter().map(|(_, value)| repr::str(value)).collect())
        )),
        other => Some(format!("must adhere to the JSON schema: {}", json_schema(other))),
    }
}

/// Quotes a member as DSPy does.
fn literal(member: &Value) -> String {
    match member {
        Value::Str(text) if text.contains('\'') && text.contains('"') => {
            format!("'{}'", text.replace('\'', "\\'"))
        }
        Value::Str(text) if text.contains('\'') => format!("\"{text}\""),
        Value::Str(text) => format!("'{text}'"),
        other => repr::str(other),
    }
}
