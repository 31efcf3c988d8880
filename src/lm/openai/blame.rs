//! Classifies an error response by the party at fault, from its status, error code and message.

use super::headers::stated_wait;
use crate::http::{ServerError, retry};
use crate::lm::{ClosedAccount, ClosedCause};
use std::time::Duration;

/// The shortest wait after which a rate limit counts as a used-up quota: that is too long to wait for one call.
const QUOTA_WAIT: Duration = Duration::from_secs(3600);

/// The longest wait up to which a daily limit counts as a rate limit: a sliding daily limit frees a little every minute.
const SHORT_WAIT: Duration = Duration::from_secs(600);

/// The party at fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Blame {
    /// The rate. The server may ask for a wait.
    Rate(Option<Duration>),
    /// The server. A retry may succeed.
    Server,
    /// The account.
    Account(ClosedAccount),
    /// The request.
    Request,
}

/// Error codes and types that concern the account, whatever the status.
const ACCOUNT_KINDS: [(&str, ClosedCause); 12] = [
    ("insufficient_quota", ClosedCause::Quota),
    ("billing_not_active", ClosedCause::Quota),
    ("billing_hard_limit_reached", ClosedCause::Quota),
    ("insufficient_balance", ClosedCause::Quota),
    ("invalid_api_key", ClosedCause::Key),
    ("authentication_error", ClosedCause::Key),
    ("account_deactivated", ClosedCause::Key),
    ("permission_error", ClosedCause::Key),
    ("model_not_found", ClosedCause::Model),
    ("model_not_available", ClosedCause::Model),
    ("unsupported_model", ClosedCause::Model),
    ("DeploymentNotFound", ClosedCause::Model),
];

/// Phrases of a 400 or 403 that concerns the account, for servers that send no error code for it.
const ACCOUNT_PHRASES: [(&str, ClosedCause); 4] = [
    ("api key not valid", ClosedCause::Key),
    ("invalid api key", ClosedCause::Key),
    ("incorrect api key", ClosedCause::Key),
    ("credit balance is too low", ClosedCause::Quota),
];

/// Phrases of a message about a daily limit.
const DAILY_PHRASES: [&str; 4] = ["per day", "(rpd)", "(tpd)", "daily"];

/// Parts of error codes and types, in lower case and without separators, with the status that a server sends with them. The first match
/// counts. An overloaded server behind a gateway is no request that took too long, so a timeout is not 504.
const KIND_STATUSES: [(&str, u16); 16] = [
    ("ratelimit", 429),
    ("toomanyrequests", 429),
    ("resourceexhausted", 429),
    ("overloaded", 503),
    ("unavailable", 503),
    ("timeout", 503),
    ("servererror", 500),
    ("internalerror", 500),
    ("apierror", 500),
    ("upstreamerror", 502),
    ("notfound", 404),
    ("authentication", 401),
    ("unauthorized", 401),
    ("badrequest", 400),
    ("invalidrequest", 400),
    ("invalidargument", 400),
];

/// Phrases of a message that has neither a code nor a type.
const PHRASE_STATUSES: [(&str, u16); 11] = [
    ("rate limit exceeded", 429),
    ("rate limit reached", 429),
    ("too many requests", 429),
    ("overloaded", 503),
    ("is loading", 503),
    ("loading model", 503),
    ("temporarily unavailable", 503),
    ("service unavailable", 503),
    ("at capacity", 503),
    ("bad gateway", 502),
    ("internal server error", 500),
];

/// The status of an error that a server sent with a 2xx status: from its code, its type or its message. `None` if they imply none.
pub(super) fn implied_status(error: &ServerError) -> Option<u16> {
    let of_kind = |kind: &String| {
        let kind: String = kind.chars().filter(char::is_ascii_alphabetic).collect();
        let kind = kind.to_ascii_lowercase();
        let matching = KIND_STATUSES.iter().find(|(part, _)| kind.contains(part));
        matching.map(|(_, status)| *status)
    };
    let text = error.message.to_lowercase();
    let of_phrase = || {
        let matching = PHRASE_STATUSES.iter().find(|(phrase, _)| text.contains(phrase));
        matching.map(|(_, status)| *status)
    };
    let implied = error.status.or_else(|| error.kinds.iter().find_map(of_kind));
    implied.or_else(of_phrase)
}

/// Classifies an error response. `message` is the server's, without the API key. `wait` is the wait that its headers ask for.
pub(super) fn judge(status: u16, error: &ServerError, message: &str, wait: Option<Duration>) -> Blame {
    let is = |kind: &str| error.kinds.iter().any(|k| k == kind);
    let text = message.to_lowercase();
    let closed = |cause: ClosedCause, reset: Option<Duration>| {
        Blame::Account(ClosedAccount {
            cause,
            status,
            message: message.to_owned(),
            reset_secs: reset.map(|reset| reset.as_secs()),
        })
    };
    let is_daily = DAILY_PHRASES.iter().any(|phrase| text.contains(phrase));
    if let Some((_, cause)) = ACCOUNT_KINDS.iter().find(|(kind, _)| is(kind)) {
        return match cause {
            ClosedCause::Quota if is_daily => closed(ClosedCause::DailyQuota, wait),
            cause => closed(*cause, None),
        };
    }
    let is_rate =
        matches!(status, 429 | 529) || (status == 503 && wait.is_some()) || is("rate_limit_exceeded");
    if is_rate {
        let wait = wait.or_else(|| stated_wait(message).filter(|wait| *wait > SHORT_WAIT));
        let is_long = wait.is_some_and(|wait| wait >= QUOTA_WAIT);
        return match wait {
            Some(short) if short <= SHORT_WAIT => Blame::Rate(wait),
            _ if is_long || is_daily => closed(ClosedCause::DailyQuota, wait),
            _ => Blame::Rate(wait),
        };
    }
    let by_phrase = ACCOUNT_PHRASES.iter().find(|(phrase, _)| text.contains(phrase));
    match (status, by_phrase) {
        (401, _) => closed(ClosedCause::Key, None),
        (402, _) => closed(ClosedCause::Quota, None),
        (400 | 403, Some((_, cause))) => closed(*cause, None),
        (403, None) => closed(ClosedCause::Key, None),
        (404, _) => closed(ClosedCause::Model, None),
        _ if retry::may_pass(status) => Blame::Server,
        _ => Blame::Request,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, kind: &str, message: &str, wait: Option<u64>) -> Blame {
        let error = ServerError {
            kinds: vec![kind.to_owned()],
            ..ServerError::default()
        };
        judge(status, &error, message, wait.map(Duration::from_secs))
    }

    fn cause(refusal: Blame) -> Option<ClosedCause> {
        match refusal {
            Blame::Account(account) => Some(account.cause),
            _ => None,
        }
    }

    #[test]
    fn implied_status_follows_code_then_kind_then_message() {
        let implied = |status: Option<u16>, kind: &str, message: &str| {
            implied_status(&ServerError {
                status,
                kinds: vec![kind.to_owned()],
                message: message.to_owned(),
            })
        };
        assert_eq!(implied(Some(404), "server_error", "overloaded"), Some(404));
        for (kind, status) in [
            ("rate_limit", 429),
            ("RateLimitError", 429),
            ("RESOURCE_EXHAUSTED", 429),
            ("overloaded_error", 503),
            ("ServiceUnavailable", 503),
            ("InternalServerError", 500),
            ("BadRequestError", 400),
            ("NotFoundError", 404),
        ] {
            assert_eq!(implied(None, kind, "overloaded"), Some(status), "{kind}");
        }
        assert_eq!(implied(None, "", "Overloaded, try again"), Some(503));
        assert_eq!(implied(None, "", "model is loading"), Some(503));
        assert_eq!(
            implied(None, "context_length_exceeded", "the prompt is too long"),
            None
        );
    }

    #[test]
    fn wait_of_minutes_is_a_rate_limit_and_one_of_hours_a_quota() {
        assert_eq!(
            judged(429, "", "slow", Some(2)),
            Blame::Rate(Some(Duration::from_secs(2)))
        );
        assert_eq!(judged(429, "", "slow", None), Blame::Rate(None));
        assert_eq!(
            judged(503, "", "busy", Some(5)),
            Blame::Rate(Some(Duration::from_secs(5)))
        );
        assert_eq!(judged(503, "", "busy", None), Blame::Server);
        assert_eq!(
            cause(judged(429, "", "slow", Some(7200))),
            Some(ClosedCause::DailyQuota)
        );
    }

    #[test]
    fn daily_limit_is_a_quota_unless_it_resets_within_minutes() {
        let message = "Limit reached on requests per day (RPD): Limit 200, Used 200.";
        assert_eq!(
            cause(judged(429, "rate_limit_exceeded", message, None)),
            Some(ClosedCause::DailyQuota)
        );
        let soon = Blame::Rate(Some(Duration::from_secs(40)));
        assert_eq!(judged(429, "rate_limit_exceeded", message, Some(40)), soon);
        let stated = format!("{message} Please try again in 7h12m0s.");
        let Blame::Account(account) = judged(429, "", &stated, None) else {
            panic!("a quota")
        };
        assert_eq!(
            (account.cause, account.reset_secs),
            (ClosedCause::DailyQuota, Some(25_920))
        );
    }

    #[test]
    fn errors_of_key_quota_and_model_concern_the_account() {
        for (status, kind, message, wanted) in [
            (401, "", "no", ClosedCause::Key),
            (403, "", "no", ClosedCause::Key),
            (402, "", "pay", ClosedCause::Quota),
            (404, "", "no such model", ClosedCause::Model),
            (429, "insufficient_quota", "pay", ClosedCause::Quota),
            (400, "model_not_found", "no", ClosedCause::Model),
            (400, "INVALID_ARGUMENT", "API key not valid.", ClosedCause::Key),
        ] {
            assert_eq!(
                cause(judged(status, kind, message, None)),
                Some(wanted),
                "{status} {kind}"
            );
        }
        for status in [400, 409, 413, 422] {
            assert_eq!(judged(status, "", "no", None), Blame::Request, "{status}");
        }
        for status in [408, 500, 502, 504] {
            assert_eq!(judged(status, "", "no", None), Blame::Server, "{status}");
        }
    }
}
