//! Parses the body of a chat completion into an answer, or into the reason why it has none.

use super::super::{LmResponse, Usage};
use crate::http::{ServerError, server_error, shorten};
use serde::Deserialize;
use serde_json::value::RawValue;

/// Why a body with status 200 contains no answer.
#[derive(Debug, PartialEq)]
pub(super) enum BadBody {
    /// Not a chat completion. The usage counts all the same.
    Garbled(String, Usage),
    /// An error object in place of a completion.
    Error(ServerError),
}

#[derive(Deserialize)]
struct ChatCompletion<'a> {
    #[serde(borrow, default)]
    choices: Option<Vec<CompletionChoice<'a>>>,
    #[serde(borrow, default)]
    usage: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct CompletionChoice<'a> {
    #[serde(borrow, default)]
    message: Option<ChoiceMessage<'a>>,
}

#[derive(Deserialize)]
struct ChoiceMessage<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ContentPart {
    #[serde(default)]
    text: Option<String>,
}

#[derive(Deserialize)]
struct UsageFields {
    #[serde(default)]
    prompt_tokens: Option<u64>,
    #[serde(default)]
    completion_tokens: Option<u64>,
}

/// Parses the body of a response with status 200.
pub(super) fn read(body: &[u8]) -> Result<LmResponse, BadBody> {
    let completion: ChatCompletion = match serde_json::from_slice(body) {
        Ok(completion) => completion,
        Err(error) => {
            let shown = shorten(&String::from_utf8_lossy(body));
            return Err(BadBody::Garbled(format!("{error}: {shown}"), Usage::default()));
        }
    };
    let usage = completion.usage.map(usage).unwrap_or_default();
    let garbled = |why: String| Err(BadBody::Garbled(why, usage));
    let choices = match (completion.choices, completion.error) {
        (Some(choices), _) => choices,
        (None, Some(_)) => return Err(BadBody::Error(server_error(body))),
        (None, None) => {
            return garbled(format!(
                "no `choices`: {}",
                shorten(&String::from_utf8_lossy(body))
            ));
        }
    };
    if choices.len() > 1 {
        return garbled(format!("{} choices where one was requested", choices.len()));
    }
    let content = choices
        .first()
        .and_then(|choice| choice.message.as_ref()?.content);
    match content.map_or(Ok(String::new()), text) {
        Ok(text) => Ok(LmResponse { text, usage }),
        Err(error) => garbled(format!("`content` is neither text nor a list of parts: {error}")),
    }
}

/// `content`: a string, null, or a list of parts whose texts are joined.
fn text(content: &RawValue) -> Result<String, serde_json::Error> {
    if content.get().starts_with('[') {
        let parts: Vec<ContentPart> = serde_json::from_str(content.get())?;
        return Ok(parts.into_iter().filter_map(|part| part.text).collect());
    }
    serde_json::from_str::<Option<String>>(content.get()).map(Option::unwrap_or_default)
}

/// Usage that cannot be parsed counts as 0: the answer is still used.
fn usage(raw: &RawValue) -> Usage {
    let counts = serde_json::from_str::<UsageFields>(raw.get());
    counts.map_or(Usage::default(), |counts| Usage {
        prompt_tokens: counts.prompt_tokens.unwrap_or(0),
        completion_tokens: counts.completion_tokens.unwrap_or(0),
    })
}
