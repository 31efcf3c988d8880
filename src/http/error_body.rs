//! Parses the body of a failed request, in the formats of the common servers.

use crate::python::text::shortened;
use serde_json::Value as Json;

/// The most characters of a server's message that an error shows.
const SHOWN: usize = 300;

/// A server's `{"error": …}`, or whatever it sent instead.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct ServerError {
    /// The HTTP status in `error.code` or `error.status`, as a number or as text.
    pub(crate) status: Option<u16>,
    /// `error.code`, `error.type` and `error.status`, where they are words.
    pub(crate) kinds: Vec<String>,
    /// The message, or the body's text.
    pub(crate) message: String,
}

/// Reads the body of an error: OpenAI's `{"error": {"message", "type", "code"}}`, also as the one element of a list, vLLM's
/// `{"message", "code"}`, FastAPI's `{"detail"}`, or plain text.
pub(crate) fn server_error(body: &[u8]) -> ServerError {
    let raw = || String::from_utf8_lossy(body).into_owned();
    let top = match serde_json::from_slice::<Json>(body) {
        Ok(Json::Object(top)) => Some(top),
        Ok(Json::Array(mut list)) if list.len() == 1 => match list.pop() {
            Some(Json::Object(top)) => Some(top),
            _ => None,
        },
        _ => None,
    };
    let Some(top) = top else {
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
    let message = [at("message"), top.get("error"), top.get("detail")]
        .into_iter()
        .flatten()
        .find_map(word)
        .unwrap_or_else(raw);
    // A router's own message hides that of the server behind it.
    let cause = at("metadata").and_then(|metadata| metadata.get("raw")?.as_str());
    ServerError {
        status: ["code", "status", "status_code"]
            .into_iter()
            .filter_map(at)
            .find_map(http_status),
        kinds: ["code", "type", "status"]
            .into_iter()
            .filter_map(at)
            .filter_map(word)
            .collect(),
        message: match cause {
            Some(cause) => format!("{message}: {cause}"),
            None => message,
        },
    }
}

/// An error status of HTTP, as a number or as text. Services have codes of their own beside those.
fn http_status(code: &Json) -> Option<u16> {
    let status = match code {
        Json::String(text) => text.trim().parse().ok()?,
        code => code.as_u64()?,
    };
    u16::try_from(status)
        .ok()
        .filter(|status| (400..600).contains(status))
}

/// The first [`SHOWN`] characters, on one line.
pub(crate) fn shorten(message: &str) -> String {
    shortened(message, SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_error_reads_status_kinds_and_message_of_every_format() {
        for (body, status, kinds, message) in [
            (
                r#"{"error":{"message":"no","type":"rate_limit","code":"429"}}"#,
                Some(429),
                vec!["429", "rate_limit"],
                "no",
            ),
            (r#"{"error":{"message":"no","code":40001}}"#, None, vec![], "no"),
            (
                r#"[{"error":{"code":429,"message":"no","status":"RESOURCE_EXHAUSTED"}}]"#,
                Some(429),
                vec!["RESOURCE_EXHAUSTED"],
                "no",
            ),
            (
                r#"{"object":"error","message":"no","type":"NotFoundError","code":404}"#,
                Some(404),
                vec!["NotFoundError"],
                "no",
            ),
            (r#"{"detail":"no"}"#, None, vec![], "no"),
            (r#"{"error":"no","status":503}"#, Some(503), vec![], "no"),
            (
                r#"{"error":{"message":"Provider returned error","code":502,"metadata":{"raw":"no"}}}"#,
                Some(502),
                vec![],
                "Provider returned error: no",
            ),
            ("no", None, vec![], "no"),
        ] {
            let error = server_error(body.as_bytes());
            assert_eq!(
                (error.status, error.message.as_str()),
                (status, message),
                "{body}"
            );
            assert_eq!(error.kinds, kinds, "{body}");
        }
    }
}
