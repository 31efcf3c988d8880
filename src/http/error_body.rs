//! Parses the body of a failed request, in the formats of the common servers.

use serde_json::Value as Json;

/// The most characters of a server's message that an error shows.
const SHOWN: usize = 300;

/// A server's `{"error": …}`, or whatever it sent instead.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ServerError {
    /// The HTTP status in `error.code`, where it is a number.
    pub(crate) status: Option<u16>,
    /// `error.code` and `error.type`, where they are message.
    pub(crate) kinds: Vec<String>,
    /// The message, or the body's text.
    pub(crate) message: String,
}

/// Reads the body of an error: OpenAI's `{"error": {"message", "type", "code"}}`, vLLM's `{"message"}`, FastAPI's
/// `{"detail"}`, or plain text.
pub(crate) fn server_error(body: &[u8]) -> ServerError {
    let raw = || String::from_utf8_lossy(body).into_owned();
    let Ok(Json::Object(top)) = serde_json::from_slice::<Json>(body) else {
        return ServerError {
            message: raw(),
            ..ServerError::default()
        };
    };
    let at = |key: &str| match top.get("error") {
        Some(Json::Object(error)) => error.get(key),
        _ => top.get(key),
    };
    let word = |value: &Json| value.as_str().map(str::to_owned);
    ServerError {
        status: at("code")
            .and_then(Json::as_u64)
            .and_then(|code| u16::try_from(code).ok()),
        kinds: [at("code"), at("type")]
            .into_iter()
            .flatten()
            .filter_map(word)
            .collect(),
        message: [at("message"), top.get("error"), top.get("detail")]
            .into_iter()
            .flatten()
            .find_map(word)
            .unwrap_or_else(raw),
    }
}

/// The first [`SHOWN`] characters, on one line.
pub(crate) fn shorten(message: &str) -> String {
    let line: Vec<&str> = message.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
