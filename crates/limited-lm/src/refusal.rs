//! Error responses in OpenAI's format.

use crate::http::HttpReply;
use serde_json::json;

/// The `Retry-After` of an overloaded server in seconds, if it sends one.
const OVERLOADED_WAIT_S: u64 = 5;

fn error(status: u16, message: &str, kind: &str, code: &str) -> HttpReply {
    HttpReply {
        status,
        headers: String::new(),
        body: json!({"error": {"message": message, "type": kind, "param": null, "code": code}}).to_string(),
    }
}

pub(crate) fn no_such_path() -> HttpReply {
    error(404, "Invalid URL", "invalid_request_error", "unknown_url")
}

pub(crate) fn unknown_model() -> HttpReply {
    let message = "The model `limited` does not exist or you do not have access to it.";
    error(404, message, "invalid_request_error", "model_not_found")
}

pub(crate) fn revoked_key() -> HttpReply {
    let message = "Incorrect API key provided. You can find your API key in your settings.";
    error(401, message, "invalid_request_error", "invalid_api_key")
}

pub(crate) fn forbidden() -> HttpReply {
    error(
        403,
        "You are not allowed to ask this.",
        "invalid_request_error",
        "forbidden",
    )
}

pub(crate) fn no_quota() -> HttpReply {
    let message = "You exceeded your current quota, please check your plan and billing details.";
    error(429, message, "insufficient_quota", "insufficient_quota")
}

/// The daily quota is used up. It is reset in `reset_s` seconds of real time.
pub(crate) fn no_daily_quota(limit: u64, reset_s: u64) -> HttpReply {
    let message = format!(
        "Rate limit reached for limited on requests per day (RPD): Limit {limit}, Used {limit}, Requested 1. \
         Please try again in {reset_s}s."
    );
    HttpReply {
        headers: format!("retry-after: {reset_s}\r\n"),
        ..error(429, &message, "requests", "rate_limit_exceeded")
    }
}

pub(crate) fn overloaded(with_wait: bool) -> HttpReply {
    let message = "The engine is currently overloaded, please try again later";
    let wait = with_wait.then(|| format!("retry-after: {OVERLOADED_WAIT_S}\r\n"));
    HttpReply {
        headers: wait.unwrap_or_default(),
        ..error(503, message, "overloaded_error", "overloaded")
    }
}

pub(crate) fn crashed() -> HttpReply {
    error(
        500,
        "The server had an error while processing your request",
        "server_error",
        "server_error",
    )
}

/// A rate limit is reached. A request is admitted again in `wait_s` seconds of real time.
pub(crate) fn rate_limited(wait_s: f64, headers: String) -> HttpReply {
    let message = format!("Rate limit reached for limited. Please try again in {wait_s:.3}s.");
    HttpReply {
        headers,
        ..error(429, &message, "requests", "rate_limit_exceeded")
    }
}
