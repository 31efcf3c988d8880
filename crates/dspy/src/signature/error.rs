//! What can be wrong with a signature or a type.

/// A signature that DSPy would refuse, or that this version does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not exactly one arrow.
    #[error("a signature has exactly one `->` between inputs and outputs; this one has {found}")]
    Arrow {
        /// How many there are.
        found: usize,
    },
    /// The text is not what Python's grammar wants.
    #[error("{what} {}", place(.found))]
    Syntax {
        /// What was expected.
        what: String,
        /// The text from there on, shortened; nothing at the end.
        found: String,
    },
    /// What is wrong with the type of a field.
    #[error("field `{field}`: {source}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong.
        source: Box<SignatureError>,
    },
    /// A field on both sides.
    #[error("the field `{0}` is both an input and an output; rename one of them")]
    BothSides(String),
    /// A name that Python or DSPy takes for something else.
    #[error("a field cannot be called `{name}`: {reason}; choose another name")]
    Reserved {
        /// The name.
        name: String,
        /// Whose it is.
        reason: &'static str,
    },
    /// A type that nobody has defined.
    #[error("the type `{name}` is not known; {remedy}")]
    UnknownType {
        /// The name.
        name: String,
        /// What to write instead.
        remedy: String,
    },
    /// A type that makes no sense as it is written.
    #[error("the type `{name}`: {reason}")]
    BadType {
        /// The name.
        name: String,
        /// Why.
        reason: String,
    },
}

fn place(found: &str) -> String {
    if found.is_empty() {
        "at the end".to_owned()
    } else {
        format!("at {found:?}")
    }
}
