//! The JSON of a chat completion, as far as it is read. Values that are seldom needed stay JSON.

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
pub(super) struct ChatCompletion<'a> {
    #[serde(borrow, default)]
    pub(super) choices: Option<Vec<CompletionChoice<'a>>>,
    #[serde(borrow, default)]
    pub(super) usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    /// `error` in vLLM's errors.
    #[serde(borrow, default)]
    pub(super) object: Option<&'a RawValue>,
    /// The text of an error, as FastAPI and others send it.
    #[serde(borrow, default)]
    pub(super) detail: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct CompletionChoice<'a> {
    #[serde(borrow, default)]
    pub(super) message: Option<ChoiceMessage<'a>>,
    #[serde(borrow, default)]
    pub(super) finish_reason: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
    /// The answer of the older completions API.
    #[serde(borrow, default)]
    pub(super) text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct ChoiceMessage<'a> {
    #[serde(borrow, default)]
    pub(super) content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) reasoning_content: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) reasoning: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) tool_calls: Option<&'a RawValue>,
    /// The older form of `tool_calls`.
    #[serde(borrow, default)]
    pub(super) function_call: Option<&'a RawValue>,
}
