//! Delays between the attempts of a request.

use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::{Duration, SystemTime};

/// The longest wait that a server can impose on a request.
pub(crate) const LONGEST_IMPOSED: Duration = Duration::from_secs(600);

/// The longest wait that a server can ask for.
const LONGEST_REQUESTED: Duration = Duration::from_secs(7 * 86_400);

/// The longest backoff, as in DSPy.
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);

/// Whether a status is a transient error of the server.
pub(crate) fn may_pass(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// The wait that the server asks for, up to [`LONGEST_IMPOSED`].
pub(crate) fn imposed(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    requested(headers, now).map(|wait| wait.min(LONGEST_IMPOSED))
}

/// `retry-after-ms`, or `retry-after` in seconds or as an HTTP date; 0 is a wait of nothing.
pub(crate) fn requested(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |name: &str| {
        text(name)?
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite() && *n >= 0.0)
    };
    let capped = |secs: f64| Duration::from_secs_f64(secs.min(LONGEST_REQUESTED.as_secs_f64()));
    if let Some(ms) = number("retry-after-ms") {
        return Some(capped(ms / 1e3));
    }
    if let Some(secs) = number(RETRY_AFTER.as_str()) {
        return Some(capped(secs));
    }
    let date = httpdate::parse_http_date(text(RETRY_AFTER.as_str())?).ok()?;
    Some(
        date.duration_since(now)
            .unwrap_or_default()
            .min(LONGEST_REQUESTED),
    )
}

/// The wait after try number `attempt` (from 1): anything up to `base`, doubled for every try before it. The whole
/// range is drawn from, so that thousands of callers that were throttled together do not come back together.
pub(crate) fn backoff(base: Duration, attempt: u32) -> Duration {
    let longest = base
        .saturating_mul(1 << (attempt - 1).min(6))
        .min(LONGEST_BACKOFF);
    longest.mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn wait(pairs: &[(&'static str, &str)]) -> Option<Duration> {
        let pairs = pairs.iter().map(|(k, v)| {
            (
                reqwest::header::HeaderName::from_static(k),
                HeaderValue::from_str(v).expect("plain ASCII"),
            )
        });
        imposed(
            &pairs.collect(),
            SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770),
        )
    }

    #[test]
    fn retry_after_is_followed_up_to_the_cap() {
        assert_eq!(wait(&[("retry-after", "0")]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "2.5")]), Some(Duration::from_millis(2500)));
        assert_eq!(
            wait(&[("retry-after", "9"), ("retry-after-ms", "20")]),
            Some(Duration::from_millis(20))
        );
        assert_eq!(
            wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]),
            Some(Duration::from_secs(7))
        );
        assert_eq!(
            wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:01 GMT")]),
            Some(Duration::ZERO)
        );
        assert_eq!(wait(&[("retry-after", "1e99")]), Some(LONGEST_IMPOSED));
        for nonsense in ["", "-1", "soon", "NaN", "inf"] {
            assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
        }
    }

    #[test]
    fn backoff_doubles_up_to_the_cap() {
        for attempt in 1..100 {
            let longest = Duration::from_secs(1 << (attempt - 1).min(6)).min(LONGEST_BACKOFF);
            assert!(backoff(Duration::from_secs(1), attempt) <= longest);
        }
    }
}
