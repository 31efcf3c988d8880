//! The texts about an LM on the screen and in the log.

use super::overall_state::OverallLmState;
use crate::lm::{ClosedAccount, ClosedCause};
use crate::report::{count, time};
use std::time::Duration;

/// The rate per minute from which rates are shown per second.
const SHOWN_PER_SECOND: u64 = 600;

/// The prefixes that the HTTP client puts before the cause of an error.
const CLIENT_PREFIXES: [&str; 4] = [
    "error sending request: ",
    "client error (Connect): ",
    "client error (SendRequest): ",
    "tcp connect error: ",
];

/// A short text about the limit of this LM; `None` if it has none. `refused` of `all` requests of the last minute were refused.
pub(super) fn limit(
    name: &str,
    account: Option<&str>,
    address: &str,
    state: &OverallLmState,
    refused: u64,
    all: u64,
) -> Option<String> {
    match state {
        OverallLmState::Uncalled => None,
        OverallLmState::Away { secs, error, .. } => {
            Some(format!("{name}: waiting for {}", outage(address, *secs, error)))
        }
        OverallLmState::Closed(account) => Some(format!("{name}: {}", closed(account))),
        OverallLmState::Open {
            closed: Some((workers, account)),
            ..
        } => {
            let workers = match workers {
                1 => "1 worker".to_owned(),
                workers => format!("{workers} workers"),
            };
            Some(format!("{name}: {} on {workers}", closed(account)))
        }
        OverallLmState::Open {
            limit_per_min: None,
            in_flight_limit,
            ..
        } => in_flight_limit.map(|limit| {
            let requests = if limit == 1 { "request" } else { "requests" };
            format!(
                "{name}: server is saturated at {} {requests} in flight",
                count(limit)
            )
        }),
        OverallLmState::Open {
            limit_per_min: Some(per_min),
            ..
        } => {
            let rate = rate(*per_min);
            Some(match (refused, account) {
                (0, Some(account)) => format!("{name}: limited to {rate} by [account.{account}]"),
                (0, None) => format!("{name}: limited to {rate} by the server"),
                (refused, _) => {
                    let share = 100.0 * refused as f64 / all as f64;
                    format!("{name}: limited to {rate} by the server (429), {share:.0} % refused")
                }
            })
        }
    }
}

/// A short text about an endpoint that is left out; `None` if it is in use.
pub(super) fn endpoint_out(name: &str, label: &str, address: &str, state: &OverallLmState) -> Option<String> {
    let why = match state {
        OverallLmState::Uncalled | OverallLmState::Open { .. } => return None,
        OverallLmState::Away { secs, error, .. } => {
            let took = time(Duration::from_secs(*secs));
            format!("{}, {took}", cause(address, error))
        }
        OverallLmState::Closed(account) => closed(account).to_owned(),
    };
    Some(format!("{name}: {label} is left out ({why})"))
}

/// The log line about a change of one of several endpoints; `None` without a relevant change.
pub(super) fn endpoint_change(
    name: &str,
    label: &str,
    address: &str,
    before: &OverallLmState,
    now: &OverallLmState,
) -> Option<String> {
    match (before.is_out(), now) {
        (false, OverallLmState::Away { error, .. }) => {
            let error = cause(address, error);
            Some(format!("lm {name}: endpoint {label} is left out ({error})"))
        }
        (false, OverallLmState::Closed(account)) => {
            Some(format!("lm {name}: endpoint {}", left_out(label, account)))
        }
        (true, OverallLmState::Open { .. }) => {
            let after = match before {
                OverallLmState::Away { secs, .. } => format!(" after {}", time(Duration::from_secs(*secs))),
                _ => String::new(),
            };
            Some(format!("lm {name}: endpoint {label} is back{after}"))
        }
        _ => None,
    }
}

/// The text about an endpoint whose account is closed, with the server's message.
pub(super) fn left_out(label: &str, account: &ClosedAccount) -> String {
    let ClosedAccount { status, message, .. } = account;
    format!(
        "{label} is left out: {} (HTTP {status}: {message})",
        closed(account)
    )
}

/// The log line when no endpoint of an LM is in use any more.
pub(super) fn all_out(name: &str) -> String {
    format!("lm {name} has no endpoint left; waiting until one is back")
}

/// The log line about a change of an LM with one endpoint; `None` without a relevant change.
pub(super) fn change(
    name: &str,
    address: &str,
    before: &OverallLmState,
    now: &OverallLmState,
) -> Option<String> {
    match (before, now) {
        (OverallLmState::Away { .. }, OverallLmState::Away { .. }) => None,
        (_, OverallLmState::Away { secs, error, .. }) => {
            let outage = outage(address, *secs, error);
            Some(format!("lm {name} does not answer; waiting for {outage}"))
        }
        (OverallLmState::Away { secs, .. }, OverallLmState::Open { .. }) => {
            let took = time(Duration::from_secs(*secs));
            Some(format!("lm {name} answers again after {took}"))
        }
        (
            OverallLmState::Open { closed: None, .. } | OverallLmState::Uncalled,
            OverallLmState::Open {
                closed: Some((_, account)),
                ..
            },
        ) => Some(format!(
            "lm {name}: {} on a worker, others go on (HTTP {}: {})",
            closed(account),
            account.status,
            account.message
        )),
        _ => None,
    }
}

fn outage(address: &str, secs: u64, error: &str) -> String {
    let error = cause(address, error);
    format!("{address} ({error}, {})", time(Duration::from_secs(secs)))
}

/// The innermost cause in an error of the HTTP client.
pub(super) fn cause<'a>(address: &str, error: &'a str) -> &'a str {
    // The client's error is the URL, then the chain of causes.
    let error = match error.strip_prefix(address).and_then(|rest| rest.split_once(": ")) {
        Some((_path, error)) => error,
        None => error,
    };
    CLIENT_PREFIXES.iter().fold(error, |error, prefix| {
        error
            .rfind(prefix)
            .map_or(error, |at| &error[at + prefix.len()..])
    })
}

fn closed(account: &ClosedAccount) -> &'static str {
    match account.cause {
        ClosedCause::Key => "key refused",
        ClosedCause::Quota => "quota used up",
        ClosedCause::DailyQuota => "daily quota used up",
        ClosedCause::Model => "model unknown",
        ClosedCause::Request => "every request refused",
    }
}

fn rate(per_min: u64) -> String {
    if per_min >= SHOWN_PER_SECOND {
        format!("{}/s", per_min / 60)
    } else {
        format!("{per_min}/min")
    }
}
