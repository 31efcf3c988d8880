//! Adapters: how a signature and values become chat messages and how an LM's answer becomes values again.

mod answer;
mod chat;
mod json;
mod prompt;
pub mod structured;
pub mod value;
mod xml;

pub use chat::ChatAdapter;
pub use json::JsonAdapter;
pub use xml::XmlAdapter;

use crate::signature::Signature;
use bsft_pycompat::value::Record;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// The author of a chat message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The task description.
    System,
    /// A user turn.
    User,
    /// An assistant turn: the LM's own answer or a demo's.
    Assistant,
}

/// One chat message; serialises with DSPy's key order, `role` before `content`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The text.
    pub content: String,
}

/// A way to write prompts and to read answers: `dspy.ChatAdapter` and its kin.
///
/// ```
/// use bsft_dspy::adapter::{Adapter, ChatAdapter, Role};
/// use bsft_dspy::signature::{Signature, NamedTypes};
/// use bsft_pycompat::value::{Record, Value};
///
/// let signature = Signature::parse("text -> score: float", None, &NamedTypes::default())?;
///
/// // Write the prompt: the system message and the demos, then the current turn.
/// let messages = ChatAdapter.prelude(&signature, &[])?;
/// assert_eq!(messages.len(), 1);
/// assert_eq!(messages[0].role, Role::System);
/// let inputs = Record::from([("text".to_owned(), Value::from("Win a prize!"))]);
/// assert_eq!(
///     ChatAdapter.user(&signature, &inputs)?,
///     "[[ ## text ## ]]\nWin a prize!\n\n\
///      Respond with the corresponding output fields, starting with the field `[[ ## score ## ]]` \
///      (must be formatted as a valid Python float), \
///      and then ending with the marker for `[[ ## completed ## ]]`."
/// );
///
/// // Parse the answer: each output gets the type of its field.
/// let outputs = ChatAdapter.parse(&signature, "[[ ## score ## ]]\n1\n\n[[ ## completed ## ]]")?;
/// assert_eq!(outputs["score"], Value::Float(1.0));
///
/// // An answer without a field is an error that names the field.
/// let failure = ChatAdapter.parse(&signature, "about 1").unwrap_err();
/// assert_eq!(failure.reason, "the answer lacks the output field `score`");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Adapter: Send + Sync + Debug {
    /// The system message and the demo turns: everything before the current turn, the same for every call.
    fn prelude(&self, signature: &Signature, demos: &[Record]) -> Result<Vec<Message>, FormatError>;

    /// The current user turn; empty text means that DSPy sends no such message.
    fn user(&self, signature: &Signature, inputs: &Record) -> Result<String, FormatError>;

    /// The assistant turn of a training row, from parsed outputs.
    fn assistant(&self, signature: &Signature, outputs: &Record) -> Result<String, FormatError>;

    /// Reads an LM's answer: every output field, in signature order.
    fn parse(&self, signature: &Signature, answer: &str) -> Result<Record, ParseFailure>;
}

/// `compile.adapter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdapterKind {
    /// `dspy.ChatAdapter`.
    Chat,
    /// `dspy.JSONAdapter`.
    Json,
    /// `dspy.XMLAdapter`.
    Xml,
}

impl AdapterKind {
    /// The adapter of this kind.
    pub fn adapter(self) -> &'static dyn Adapter {
        match self {
            AdapterKind::Chat => &ChatAdapter,
            AdapterKind::Json => &JsonAdapter,
            AdapterKind::Xml => &XmlAdapter,
        }
    }

    /// The name in the job file.
    pub fn name(self) -> &'static str {
        match self {
            AdapterKind::Chat => "chat",
            AdapterKind::Json => "json",
            AdapterKind::Xml => "xml",
        }
    }
}

/// A value that DSPy cannot write into a prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}` cannot be written into a prompt: {reason}")]
pub struct FormatError {
    /// The field's name.
    pub field: String,
    /// The cause.
    pub reason: String,
}

/// An answer without all output fields (DSPy's `AdapterParseError`).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct ParseFailure {
    /// What was missing or wrong.
    pub reason: String,
    /// The fields that were parsed, as in DSPy's `parsed_result`.
    pub partial: Option<Record>,
}

#[cfg(test)]
mod tests;
