//! Reads `usage` of a chat completion. Numbers that cannot be are unknown, not zero.

use crate::lm::Usage;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The most tokens that an answer can have. A larger number is an error of the server.
const MOST_TOKENS: u64 = 1_000_000_000;

#[derive(Deserialize)]
struct UsageFields<'a> {
    #[serde(borrow, default)]
    prompt_tokens: Option<&'a RawValue>,
    #[serde(borrow, default)]
    completion_tokens: Option<&'a RawValue>,
}

/// The tokens of an answer, from the value of `usage`.
pub(super) fn usage(raw: Option<&RawValue>) -> Usage {
    let fields = raw.and_then(|raw| serde_json::from_str::<UsageFields<'_>>(raw.get()).ok());
    let Some(fields) = fields else {
        return Usage::UNKNOWN;
    };
    let counts = [fields.prompt_tokens, fields.completion_tokens].map(|raw| count(raw?.get()));
    Usage {
        prompt_tokens: counts[0].unwrap_or(0),
        completion_tokens: counts[1].unwrap_or(0),
        unknown: u64::from(counts.contains(&None)),
    }
}

/// A number of tokens: an integer, a float, or one of them as text.
fn count(raw: &str) -> Option<u64> {
    let number = raw.trim_matches('"').trim();
    let count = number.parse().ok().or_else(|| {
        let float: f64 = number.parse().ok()?;
        (0.0..=MOST_TOKENS as f64)
            .contains(&float)
            .then_some(float as u64)
    })?;
    (count <= MOST_TOKENS).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Usage {
        let raw: &RawValue = serde_json::from_str(json).expect("JSON");
        usage(Some(raw))
    }

    #[test]
    fn usage_takes_integers_floats_and_numeric_strings() {
        for json in [
            r#"{"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}"#,
            r#"{"prompt_tokens": "7", "completion_tokens": " 3 "}"#,
            r#"{"prompt_tokens": 7.0, "completion_tokens": "3.0"}"#,
        ] {
            assert_eq!(read(json), Usage::known(7, 3), "{json}");
        }
    }

    #[test]
    fn usage_that_cannot_be_is_unknown() {
        assert_eq!(usage(None), Usage::UNKNOWN);
        for json in [
            "null",
            "[]",
            "5",
            "{}",
            r#"{"prompt_tokens": null, "completion_tokens": {}}"#,
        ] {
            assert_eq!(read(json), Usage::UNKNOWN, "{json}");
        }
        for odd in [
            "-1",
            "1000000001",
            "18446744073709551615",
            "1e300",
            "\"many\"",
            "\"NaN\"",
        ] {
            let json = format!(r#"{{"prompt_tokens": {odd}, "completion_tokens": 3}}"#);
            let wanted = Usage {
                completion_tokens: 3,
                ..Usage::UNKNOWN
            };
            assert_eq!(read(&json), wanted, "{json}");
        }
    }
}
