//! The annotations that a signature's fields can have.

use super::constraint::Constraint;
use bsft_pycompat::value::Value;
use indexmap::IndexMap;
use std::sync::Arc;

/// Named types of a job (`[program.types]`), in declaration order.
pub type NamedTypes = IndexMap<String, Type>;

/// A field's annotation.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// `Any`.
    Any,
    /// `None` or `NoneType`.
    None,
    /// `str`.
    Str,
    /// `int`.
    Int,
    /// `float`.
    Float,
    /// `bool`.
    Bool,
    /// `Literal[...]`, members in order.
    Literal(Vec<Value>),
    /// A named enum.
    Enum(Arc<EnumClass>),
    /// A named model.
    Model(Arc<ModelClass>),
    /// `list` (`None`) or `list[T]`.
    List(Option<Box<Type>>),
    /// `set` or `set[T]`.
    Set(Option<Box<Type>>),
    /// `dict` or `dict[K, V]`.
    Dict(Option<Box<(Type, Type)>>),
    /// `tuple`, `tuple[A, B]` or `tuple[T, ...]`.
    Tuple(TupleItems),
    /// `Union[...]`, `Optional[T]` or `A | B`: flattened, without duplicates, in declaration order.
    Union(Vec<Type>),
}

/// The parameters of a tuple type.
#[derive(Clone, Debug, PartialEq)]
pub enum TupleItems {
    /// `tuple`.
    Bare,
    /// `tuple[A, B]`.
    Fixed(Vec<Type>),
    /// `tuple[T, ...]`.
    Repeated(Box<Type>),
}

/// A named enum: `Color = { enum = ["red", "dark blue"] }`.
#[derive(Debug, PartialEq)]
pub struct EnumClass {
    /// The class name.
    pub name: Arc<str>,
    /// The docstring, which the JSON Schema carries as its description.
    pub doc: Option<String>,
    /// Member name (upper case, spaces and hyphens as `_`) and value, in order.
    pub members: Vec<(Arc<str>, Value)>,
}

/// A named model: `Person = { doc = "…", fields = [["name", "str"], ["age", "int", 7]] }`.
#[derive(Debug, PartialEq)]
pub struct ModelClass {
    /// The class name.
    pub name: Arc<str>,
    /// The docstring, which the JSON Schema carries as its description.
    pub doc: Option<String>,
    /// Fields in declaration order.
    pub fields: Vec<ModelField>,
}

/// One field of a model.
#[derive(Debug, PartialEq)]
pub struct ModelField {
    /// The field's name.
    pub name: Arc<str>,
    /// Its annotation.
    pub ty: Type,
    /// The default, `None` for a required field.
    pub default: Option<Value>,
    /// What `pydantic.Field` adds.
    pub info: FieldInfo,
}

/// What `pydantic.Field` adds to a field beside its default: parts of the JSON Schema, and constraints of its values.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldInfo {
    /// The title, if it is not the one that pydantic makes of the name.
    pub title: Option<String>,
    /// The description.
    pub desc: Option<String>,
    /// Examples of its values.
    pub examples: Option<Vec<Value>>,
    /// Each value that is given for the field satisfies all of them. The default need not.
    pub constraints: Vec<Constraint>,
}

impl Type {
    /// Whether the annotation is a union with `None` among its members, or `None` itself.
    pub fn admits_none(&self) -> bool {
        match self {
            Type::None => true,
            Type::Union(members) => members.contains(&Type::None),
            _ => false,
        }
    }
}
