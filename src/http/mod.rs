//! What the HTTP clients share: client settings, bounded bodies and their wrapping, error messages of servers, retry delays, secrets.

mod error_body;
pub(crate) mod retry;
mod secret;
mod wrapping;

pub(crate) use error_body::{ServerError, server_error, shorten};
pub use secret::Secret;
pub(crate) use wrapping::Wrapping;

use crate::memory::{LONG, MemoryShare, PER_ANSWER_BYTE};
use reqwest::{Client, ClientBuilder, Response, Url};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// The most bytes that are read of an error body.
pub(crate) const LARGEST_ERROR: usize = 64 << 10;

/// Timeout of opening a connection. Thousands of simultaneous TLS handshakes take this long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a text is no server address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadAddress {
    /// It contains a user name or a password, which would appear wherever the address does.
    Credentials,
    /// It is no address of an HTTP server; the reason.
    Unusable(String),
}

/// Why an attempt of a request failed.
pub(crate) enum AttemptError<E> {
    /// Another attempt would not help, or must not be made.
    Permanent(E),
    /// Another attempt may help: what happened, and how long the server asks to wait.
    Retryable(String, Option<Duration>),
}

/// A server's text as a message may show it: without the key, then on one line and shortened, so that no part of the key is left.
pub(crate) fn redact(key: Option<&Secret>, text: &str) -> String {
    match key {
        Some(key) => shorten(&key.scrub(text)),
        None => shorten(text),
    }
}

/// Builds a client for the server at that address; opens no connection.
pub(crate) fn client(base: &Url) -> ClientBuilder {
    // Fails if the process has a provider already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("bsft/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        // A redirect would send the request to a server that no setting names.
        .redirect(reqwest::redirect::Policy::none());
    match base.scheme() {
        // Plain HTTP works on machines without certificates, too.
        "http" => builder.tls_certs_only([]),
        _ => builder,
    }
}

/// Parses the address of an HTTP server, which must not contain credentials.
pub(crate) fn address(text: &str) -> Result<Url, BadAddress> {
    let url = Url::parse(text).map_err(|error| BadAddress::Unusable(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadAddress::Credentials);
    }
    if !matches!(url.scheme(), "http" | "https") {
        let reason = format!("`{}` is neither http nor https", url.scheme());
        return Err(BadAddress::Unusable(reason));
    }
    Ok(url)
}

/// Formats a time as HTTP does: `Fri, 27 Nov 2026 13:00:00 GMT`.
pub(crate) fn http_date(moment: SystemTime) -> String {
    httpdate::fmt_http_date(moment)
}

/// Reads a body up to a limit in bytes; also returns whether that was the whole body.
pub(crate) async fn collect(mut response: Response, limit: usize) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let announced = response
        .content_length()
        .and_then(|len| usize::try_from(len).ok())
        .unwrap_or(0);
    let mut body = Vec::with_capacity(announced.min(LARGEST_ERROR));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > limit {
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

/// Reads the body of an answer up to a limit in bytes, and takes memory for it before it is read; also returns whether that was the whole
/// body.
pub(crate) async fn collect_answer(
    mut response: Response,
    limit: usize,
    memory: &MemoryShare,
) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let announced = response
        .content_length()
        .and_then(|len| usize::try_from(len).ok())
        .unwrap_or(0)
        .min(limit);
    let held = memory.held();
    let mut body = Vec::with_capacity(announced.min(LARGEST_ERROR));
    while let Some(chunk) = response.chunk().await? {
        let len = body.len() + chunk.len();
        if len > limit {
            return Ok((body, false));
        }
        if len >= LONG {
            memory.reach(held + len * PER_ANSWER_BYTE).await;
            // At once: a body that grows step by step is copied again and again.
            body.reserve_exact(announced.saturating_sub(body.len()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

/// An error and what caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
