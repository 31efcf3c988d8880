//! Parses the body of a chat completion into an answer, or into the reason why it has none.

use super::completion::{ChatCompletion, CompletionChoice};
use super::instead;
use super::usage::usage;
use crate::http::{ServerError, server_error};
use crate::lm::{LmResponse, Usage};
use crate::python::json;
use crate::value::Value;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Why the body of a successful response contains no answer.
#[derive(Debug, PartialEq)]
pub(super) enum BadBody {
    /// Not a chat completion: why, with the whole body. The usage counts all the same.
    Garbled(String, Usage),
    /// An error in place of a completion. The usage counts all the same.
    Error(ServerError, Usage),
}

#[derive(Deserialize)]
struct ContentPart {
    #[serde(default)]
    text: Option<String>,
}

/// Parses the body of a response with a 2xx status.
pub(super) fn read(body: &[u8]) -> Result<LmResponse, BadBody> {
    let why = match read_strictly(body) {
        Ok(read) => return read,
        Err(why) => why,
    };
    // JSON as Python reads and DSPy gets it: half surrogate pairs, NaN, keys that come twice.
    let repaired = as_python_reads(body).and_then(|body| read_strictly(&body).ok());
    repaired.unwrap_or_else(|| Err(BadBody::Garbled(unparsed(&why, body), Usage::default())))
}

/// Parses a body of strict JSON.
///
/// # Errors
///
/// The error of a body, or of its `content`, that is not JSON of this shape.
fn read_strictly(body: &[u8]) -> Result<Result<LmResponse, BadBody>, serde_json::Error> {
    let completion: ChatCompletion<'_> = serde_json::from_slice(body)?;
    let usage = usage(completion.usage);
    let garbled = |why: String| Ok(Err(BadBody::Garbled(why, usage)));
    let choices = completion.choices.as_deref().unwrap_or_default();
    if choices.len() > 1 {
        return garbled(format!("{} choices where one was requested", choices.len()));
    }
    let choice = choices.first();
    let content = choice.and_then(|choice| choice.message.as_ref()?.content);
    let text = match content.map_or(Ok(String::new()), text) {
        Ok(text) => text,
        Err(error) if is_valid(content) => {
            return garbled(format!("`content` is neither text nor a list of parts: {error}"));
        }
        Err(error) => return Err(error),
    };
    let finish_reason = choice.and_then(|choice| finish_reason(choice.finish_reason?));
    if !text.trim().is_empty() {
        return Ok(Ok(LmResponse {
            text,
            usage,
            finish_reason,
            instead: None,
        }));
    }
    if let Some(error) = completion.error(choice, body) {
        return Ok(Err(BadBody::Error(error, usage)));
    }
    if completion.choices.is_none() {
        return garbled(format!("no `choices`: {}", String::from_utf8_lossy(body)));
    }
    Ok(Ok(LmResponse {
        text,
        usage,
        finish_reason,
        instead: instead::of_text(choice).map(Box::new),
    }))
}

impl ChatCompletion<'_> {
    /// The error that a completion without text contains.
    fn error(&self, choice: Option<&CompletionChoice<'_>>, body: &[u8]) -> Option<ServerError> {
        if let Some(error) = choice.and_then(|choice| choice.error).filter(is_stated) {
            let body = format!("{{\"error\":{error}}}");
            return Some(server_error(body.as_bytes()));
        }
        let is_error = self.error.is_some_and(|error| is_stated(&error))
            || self.object.is_some_and(|object| object.get() == "\"error\"")
            || choice.is_none() && [self.detail, self.message].into_iter().flatten().any(is_text);
        is_error.then(|| server_error(body))
    }
}

/// Whether the value of `error` is one. Some gateways send an empty one with every answer.
fn is_stated(error: &&RawValue) -> bool {
    !matches!(error.get(), "null" | "false" | "\"\"" | "{}" | "[]" | "0")
}

/// Whether it is a string with content.
fn is_text(value: &RawValue) -> bool {
    value.get().starts_with('"') && value.get().len() > 2
}

/// `None` for `stop`, which is no news, and for anything but a string.
fn finish_reason(raw: &RawValue) -> Option<String> {
    if raw.get() == "\"stop\"" {
        return None;
    }
    serde_json::from_str(raw.get()).ok()
}

/// Whether a value is JSON in all its parts. [`RawValue`] does not check escapes.
fn is_valid(value: Option<&RawValue>) -> bool {
    value.is_none_or(|value| serde_json::from_str::<serde_json::Value>(value.get()).is_ok())
}

/// The body in strict JSON, if Python's `json` reads it. Comments before it, with which some gateways keep a connection alive, are skipped.
fn as_python_reads(body: &[u8]) -> Option<Vec<u8>> {
    let mut text = std::str::from_utf8(body).ok()?.trim_start();
    while let Some(comment) = text.strip_prefix(':') {
        let (_, rest) = comment.split_once('\n')?;
        text = rest.trim_start();
    }
    let mut value = json::parse(text).ok()?;
    // Google sends errors in a list.
    if let Value::List(items) = &value
        && items.len() == 1
        && let Some(only) = items.get(0)
    {
        value = only.into_owned();
    }
    let mut strict = String::with_capacity(body.len());
    json::write_compact(&value, &mut strict);
    Some(strict.into_bytes())
}

/// Why a body is no chat completion, with what it is where that can be seen.
fn unparsed(error: &serde_json::Error, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let start = text.trim_start();
    let beginning: String = start.chars().take(9).collect();
    let beginning = beginning.to_ascii_lowercase();
    let is_any = |starts: [&str; 2]| starts.iter().any(|start| beginning.starts_with(start));
    let what = match std::str::from_utf8(body) {
        _ if beginning.is_empty() => return "the body is empty".to_owned(),
        _ if is_any(["<!doctype", "<html"]) => "a page of HTML".to_owned(),
        _ if is_any(["data:", "event:"]) => {
            "a stream of events, although the request asks for none".to_owned()
        }
        Err(_) => "neither UTF-8 nor of a declared charset".to_owned(),
        Ok(_) => error.to_string(),
    };
    format!("{what}: {start}")
}

/// `content`: a string, null, or a list of parts whose texts are joined.
fn text(content: &RawValue) -> Result<String, serde_json::Error> {
    if content.get().starts_with('[') {
        let parts: Vec<ContentPart> = serde_json::from_str(content.get())?;
        return Ok(parts.into_iter().filter_map(|part| part.text).collect());
    }
    serde_json::from_str::<Option<String>>(content.get()).map(Option::unwrap_or_default)
}
