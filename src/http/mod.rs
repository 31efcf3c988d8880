//! What the HTTP clients here share: how a client is made, how a body is read, what a server's error says, how long to wait.

mod error_body;
pub(crate) mod retry;

pub(crate) use error_body::{ServerError, server_error, shorten};

use reqwest::{Client, ClientBuilder, Response, Url};
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

/// How much of an error's body is read, in bytes.
pub(crate) const LARGEST_ERROR: usize = 64 << 10;

/// How long a connection may take to open; thousands of TLS handshakes at once need their time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a text is not the address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BadAddress {
    /// It holds a user name or a password, which would show wherever the address does.
    Credentials,
    /// It is no address of an HTTP server, for this reason.
    Unusable(String),
}

/// A client for the servers at that address; nothing is opened yet.
pub(crate) fn client(base: &Url) -> ClientBuilder {
    // Someone else in the process may have chosen a provider already: theirs will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let builder = Client::builder()
        .user_agent(concat!("bsft/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true)
        // A redirect would carry what is sent to a place that nobody named.
        .redirect(reqwest::redirect::Policy::none());
    match base.scheme() {
        // Machines without any certificates reach their local servers all the same.
        "http" => builder.tls_certs_only([]),
        _ => builder,
    }
}

/// The address of an HTTP server, without credentials.
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

/// A moment as HTTP writes it: `Fri, 27 Nov 2026 13:00:00 GMT`.
pub(crate) fn http_date(moment: SystemTime) -> String {
    httpdate::fmt_http_date(moment)
}

/// Reads a body up to a limit; whether that was all of it.
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
