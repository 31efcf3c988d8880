//! The headers that carry API keys.

use crate::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};

/// Headers that mean something else to servers and proxies, in lower case.
const OTHERS: [&str; 20] = [
    "accept",
    "connection",
    "cookie",
    "date",
    "expect",
    "forwarded",
    "from",
    "host",
    "keep-alive",
    "origin",
    "range",
    "referer",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
];

/// Beginnings of such headers.
const OTHER_PREFIXES: [&str; 9] = [
    "accept-",
    "access-control-",
    "content-",
    "if-",
    "proxy-",
    "sec-",
    "x-amz-",
    "x-forwarded-",
    "x-real-",
];

/// Checks the name of a header for an API key, in lower case.
///
/// # Errors
///
/// Returns what is wrong with it, as the end of a sentence.
pub(crate) fn credential_header(name: &str) -> Result<(), &'static str> {
    let is_token = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if name.is_empty() || !is_token {
        return Err("is not the name of a header");
    }
    let is_prefixed = OTHER_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    if is_prefixed || OTHERS.contains(&name) {
        return Err("is a header with another meaning");
    }
    Ok(())
}

/// The header that sends the key: `Authorization: Bearer KEY`, or the bare key in `header`. `None` if the key or the header's name has
/// characters that cannot be sent.
pub(crate) fn key_header(key: &Secret, header: Option<&str>) -> Option<(HeaderName, HeaderValue)> {
    let (name, text) = match header {
        None => (AUTHORIZATION, format!("Bearer {}", key.reveal())),
        Some(header) => (
            HeaderName::from_bytes(header.as_bytes()).ok()?,
            key.reveal().to_owned(),
        ),
    };
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_with_another_meaning_carries_no_key() {
        for name in [
            "authorization",
            "api-key",
            "x-api-key",
            "x-goog-api-key",
            "ocp-apim-subscription-key",
        ] {
            assert_eq!(credential_header(name), Ok(()), "{name}");
        }
        for name in [
            "",
            "host",
            "content-length",
            "x-forwarded-for",
            "api key",
            "a:b",
            "cookie",
        ] {
            assert!(credential_header(name).is_err(), "{name}");
        }
    }
}
