//! The errors of signatures and types.

/// A signature that DSPy or this version rejects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The signature does not contain exactly one arrow.
    #[error("a signature has exactly one `->` between inputs and outputs; this one has {found}")]
    Arrow {
        /// The number of arrows.
        found: usize,
    },
    /// The text does not follow Python's grammar.
    #[error("{what} {}", place(.found))]
    Syntax {
        /// What was expected.
        what: String,
        /// The shortened text from there on, empty at the end.
        found: String,
    },
    /// The type of a field is invalid.
    #[error("field `{field}`: {source}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong.
        source: Box<SignatureError>,
    },
    /// A field is both an input and an output.
    #[error("the field `{0}` is both an input and an output; rename one of them")]
    BothSides(String),
    /// Python or DSPy reserves the name.
    #[error("a field cannot be called `{name}`: {reason}; choose another name")]
    Reserved {
        /// The name.
        name: String,
        /// Why the name is reserved.
        reason: &'static str,
    },
    /// A type that is neither built in nor defined by the job.
    #[error("the type `{name}` is not known; {remedy}")]
    UnknownType {
        /// The name.
        name: String,
        /// What to write instead.
        remedy: String,
    },
    /// A type with wrong or missing parameters.
    #[error("the type `{name}`: {reason}")]
    BadType {
        /// The name.
        name: String,
        /// The cause.
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
