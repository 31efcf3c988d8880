//! What a completion without text has in its place: a refusal, reasoning, tool calls, or nothing.

use super::completion::{ChoiceMessage, CompletionChoice};
use crate::lm::{InsteadOfText, LmResponse, MissingPart};
use serde::Deserialize;
use serde_json::value::RawValue;

/// The most characters of a refusal or of reasoning that are kept. Reasoning can have a hundred times as many.
const MOST_KEPT: usize = 4_000;

/// The most names of functions that are kept.
const MOST_CALLS: usize = 16;

/// The most characters of a name or of a `finish_reason` that are kept. OpenAI's are no longer.
const LONGEST_WORD: usize = 64;

#[derive(Deserialize)]
struct ToolCall {
    #[serde(default)]
    function: Option<ToolFunction>,
}

#[derive(Deserialize)]
struct ToolFunction {
    #[serde(default)]
    name: Option<String>,
}

/// What the choice has in place of a text; `None` if its `content` is an empty text and it has nothing else.
pub(super) fn of_text(choice: Option<&CompletionChoice<'_>>) -> Option<InsteadOfText> {
    let missing = |part| {
        Some(InsteadOfText {
            missing: Some(part),
            ..InsteadOfText::default()
        })
    };
    let Some(choice) = choice else {
        return missing(MissingPart::Choices);
    };
    let Some(message) = &choice.message else {
        let is_older = choice.text.is_some();
        return missing(if is_older {
            MissingPart::ChatMessage
        } else {
            MissingPart::Message
        });
    };
    let mut instead = InsteadOfText {
        tool_calls: tool_calls(message),
        ..InsteadOfText::default()
    };
    instead.refusal = message.refusal.and_then(text);
    let reasoning = [message.reasoning_content, message.reasoning];
    instead.reasoning = reasoning.into_iter().flatten().find_map(text);
    instead.reasoning_chars = instead
        .reasoning
        .iter()
        .map(|text| text.chars().count() as u64)
        .sum();
    if message.content.is_none() && instead == InsteadOfText::default() {
        return missing(MissingPart::Content);
    }
    (instead != InsteadOfText::default()).then_some(instead)
}

/// Cuts everything beside the text of an answer to what is kept. Before this the API key has to be removed, because half of it cannot be
/// found.
pub(super) fn shorten(answer: &mut LmResponse) {
    let cut = |text: &mut String, most: usize| {
        if let Some((end, _)) = text.char_indices().nth(most) {
            text.truncate(end);
        }
    };
    answer
        .finish_reason
        .iter_mut()
        .for_each(|reason| cut(reason, LONGEST_WORD));
    if let Some(instead) = &mut answer.instead {
        let texts = instead.refusal.iter_mut().chain(&mut instead.reasoning);
        texts.for_each(|text| cut(text, MOST_KEPT));
        instead
            .tool_calls
            .iter_mut()
            .for_each(|name| cut(name, LONGEST_WORD));
    }
}

/// The string, unless it is blank or no string.
fn text(raw: &RawValue) -> Option<String> {
    let text: String = serde_json::from_str(raw.get()).ok()?;
    Some(text).filter(|text| !text.trim().is_empty())
}

fn tool_calls(message: &ChoiceMessage<'_>) -> Vec<String> {
    let calls = message.tool_calls.map(RawValue::get);
    let calls = calls.and_then(|calls| serde_json::from_str::<Vec<ToolCall>>(calls).ok());
    let older = message.function_call.map(RawValue::get);
    let older = older.and_then(|call| serde_json::from_str::<ToolFunction>(call).ok());
    let functions = calls.into_iter().flatten().filter_map(|call| call.function);
    let names = functions.chain(older).take(MOST_CALLS).map(|function| {
        let name = function.name;
        name.unwrap_or_else(|| "?".to_owned())
    });
    names.collect()
}
