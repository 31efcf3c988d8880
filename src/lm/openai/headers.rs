//! Reads the rate limits in the headers of a response.

use crate::lm::{Hints, LimitHint};
use reqwest::header::HeaderMap;
use std::time::Duration;

/// The limits that the headers report.
pub(super) fn hints(headers: &HeaderMap) -> Hints {
    Hints {
        requests: limit(
            headers,
            [
                "x-ratelimit-limit-requests",
                "x-ratelimit-remaining-requests",
                "x-ratelimit-reset-requests",
            ],
        ),
        tokens: limit(
            headers,
            [
                "x-ratelimit-limit-tokens",
                "x-ratelimit-remaining-tokens",
                "x-ratelimit-reset-tokens",
            ],
        ),
    }
}

fn limit(headers: &HeaderMap, [limit, remaining, reset]: [&str; 3]) -> Option<LimitHint> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let limit = text(limit)?.parse().ok().filter(|limit| *limit > 0)?;
    Some(LimitHint {
        limit,
        remaining: text(remaining)?.parse::<u64>().ok()?,
        reset: text(reset).and_then(duration),
    })
}

/// Parses a duration in OpenAI's notation: `6m0s`, `1.5s`, `20ms`, `1h2m3s`. A bare number is seconds.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let mut secs = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        secs += number
            * match &rest[..letters] {
                "d" => 86_400.0,
                "h" => 3_600.0,
                "m" => 60.0,
                "s" | "" => 1.0,
                "ms" => 1e-3,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    Duration::try_from_secs_f64(secs).ok()
}

/// The wait that an error message contains, as in `… try again in 7m12.5s.`
pub(super) fn stated_wait(message: &str) -> Option<Duration> {
    let (_, rest) = message.split_once("try again in ")?;
    let word = rest.split_whitespace().next()?;
    duration(word.trim_end_matches(['.', ',']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, secs) in [
            ("6m0s", 360.0),
            ("1.5s", 1.5),
            ("20ms", 0.02),
            ("1h2m3s", 3723.0),
            ("2d", 172_800.0),
            ("7", 7.0),
        ] {
            assert_eq!(duration(text), Some(Duration::from_secs_f64(secs)), "{text}");
        }
        for text in ["", "soon", "1w", "-1s", "1.2.3s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn hints_read_limit_remaining_and_reset() {
        let read = hints(&headers(&[
            ("x-ratelimit-limit-requests", "6000"),
            ("x-ratelimit-remaining-requests", "5999"),
            ("x-ratelimit-reset-requests", "10ms"),
            ("x-ratelimit-limit-tokens", "0"),
            ("x-ratelimit-remaining-tokens", "0"),
        ]));
        let requests = LimitHint {
            limit: 6000,
            remaining: 5999,
            reset: Some(Duration::from_millis(10)),
        };
        assert_eq!(read.requests, Some(requests));
        assert_eq!(read.tokens, None);
        assert_eq!(hints(&headers(&[])), Hints::default());
    }

    #[test]
    fn stated_wait_reads_the_wait_in_a_message() {
        let wait = |text| stated_wait(text).map(|wait| wait.as_secs_f64());
        assert_eq!(
            wait("Rate limit reached. Please try again in 36m2.5s."),
            Some(2162.5)
        );
        assert_eq!(wait("Please try again in a minute"), None);
        assert_eq!(wait("slow down"), None);
    }
}
