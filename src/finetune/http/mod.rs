//! The HTTP client of the fine-tuning services: JSON and files, with errors that distinguish what was carried out.
//!
//! Idempotent requests are retried here a few times. A request that starts something is retried only when the first one certainly had
//! no effect. Otherwise the caller gets [`CallError::Unclear`] and looks up what it may have started.

mod connect;
mod error;
mod signed_upload;
#[cfg(test)]
mod tests;

pub(super) use connect::{NoAccess, ServiceClient};
pub(super) use error::{CallError, ErrorResponse, HttpRefusal};
pub(super) use signed_upload::Put;

use crate::http::{
    self, AttemptError, BadAddress, LARGEST_ERROR, chain, collect, key_header, retry, server_error,
};
use crate::key_ring::Access;
use crate::secret::Secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value as Json;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The maximum size of an answer in bytes: three times a list of ten thousand files.
const LARGEST_ANSWER: usize = 16 << 20;

/// The timeout of a request without a file. Shorter than the visibility delay of one minute.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// The minimum upload rate in bytes per second; slower uploads time out.
const SLOWEST_UPLOAD: u64 = 128 << 10;

/// The maximum number of tries of a request that may be retried.
const TRIES: u32 = 4;

/// The base of the exponential backoff.
const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// The longest `Retry-After` that is waited for. A longer one is returned to the caller as a transient error.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The client of one service at one address, with one API key.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    base: Url,
    key: Option<Secret>,
    backoff_base: Duration,
}

/// A file upload as a multipart form.
pub(super) struct Upload<'a> {
    /// The form's plain fields.
    pub(super) fields: &'a [(&'a str, &'a str)],
    /// The field that holds the file.
    pub(super) part: &'a str,
    /// The file name at the service.
    pub(super) name: &'a str,
    /// The path of the file.
    pub(super) path: &'a Path,
}

/// The body of a request.
enum Load<'a> {
    Nothing,
    Json(String),
    /// A form without a file.
    Form(&'a [(&'a str, &'a str)]),
    /// A file in a form.
    File(&'a Upload<'a>),
    /// A bare file.
    Bare(&'a Put<'a>),
}

impl Http {
    /// A client for `address`. Opens no connection.
    pub(super) fn new(address: &str, access: Access) -> Result<Http, NoAccess> {
        let base = http::address(address).map_err(|bad| match bad {
            BadAddress::Credentials => NoAccess::Credentials,
            BadAddress::Unusable(reason) => NoAccess::Address(reason),
        })?;
        let mut headers = HeaderMap::new();
        if let Some(key) = &access.key {
            let (name, value) =
                key_header(&key.secret, key.header.as_deref()).ok_or(NoAccess::UnsendableKey)?;
            headers.insert(name, value);
        }
        let client = http::client_within(&base, access.reach)
            .default_headers(headers)
            .build();
        Ok(Http {
            client: client.map_err(|error| NoAccess::Client(chain(&error)))?,
            base,
            key: access.key.map(|key| key.secret),
            backoff_base: BACKOFF_BASE,
        })
    }

    /// The address without its query, which may contain secrets.
    pub(super) fn redacted_url(&self) -> String {
        redacted(&self.base)
    }

    /// The host name, or an empty string.
    pub(super) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// `GET {base}/{path}?{query}`. Idempotent, so it is retried.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Json, CallError> {
        self.ask(Method::GET, self.url(path, query), Load::Nothing).await
    }

    /// `DELETE {base}/{path}`. Idempotent, so it is retried; then the resource may already be deleted.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<Json, CallError> {
        self.ask(Method::DELETE, self.url(path, &[]), Load::Nothing).await
    }

    /// `POST {base}/{path}` with a JSON body, or an empty one. Not retried once it may have been carried out.
    pub(super) async fn post(&self, path: &[&str], body: Option<&Json>) -> Result<Json, CallError> {
        self.post_to(path, &[], body).await
    }

    /// [`Http::post`] with a query.
    pub(super) async fn post_to(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Result<Json, CallError> {
        let load = body.map_or(Load::Nothing, |body| Load::Json(body.to_string()));
        self.ask(Method::POST, self.url(path, query), load).await
    }

    /// `POST {base}/{path}` with a form without a file. Not retried once it may have been carried out.
    pub(super) async fn form(&self, path: &[&str], fields: &[(&str, &str)]) -> Result<Json, CallError> {
        self.ask(Method::POST, self.url(path, &[]), Load::Form(fields))
            .await
    }

    /// `POST {base}/{path}` with a form whose file is streamed from disk. Not retried once it may have been carried out.
    pub(super) async fn upload(&self, path: &[&str], upload: &Upload<'_>) -> Result<Json, CallError> {
        let url = self.url(path, &[]);
        self.ask(Method::POST, url, Load::File(upload)).await
    }

    /// Appends `path` and `query`, percent-encoded. The query of the base address is kept.
    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        // Fails only for addresses without a path, which HTTP addresses always have.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    async fn ask(&self, method: Method, url: Url, load: Load<'_>) -> Result<Json, CallError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let (message, imposed) = match self.once(&method, &url, &load).await {
                Ok(answer) => return Ok(answer),
                Err(AttemptError::Permanent(error)) => return Err(error),
                Err(AttemptError::Retryable(message, imposed)) => (message, imposed),
            };
            let wait = imposed.unwrap_or_else(|| retry::backoff(self.backoff_base, tries));
            if tries == TRIES || wait > LONGEST_WAIT {
                return Err(CallError::Passing(message));
            }
            tracing::debug!(%method, tries, ?wait, why = message, "retrying request");
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(
        &self,
        method: &Method,
        url: &Url,
        load: &Load<'_>,
    ) -> Result<Json, AttemptError<CallError>> {
        let place = format!("{method} {}", redacted(url));
        let request = self.client.request(method.clone(), url.clone());
        let request = loaded(request, load).await.map_err(|error| {
            AttemptError::Permanent(CallError::Unreadable(format!(
                "{place}: the file to send: {error}"
            )))
        })?;
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Err(self.broken(method, &place, error)),
        };
        if !response.status().is_success() {
            return Err(self.no_success(method, &place, response).await);
        }
        let collected = collect(response, LARGEST_ANSWER).await;
        let (body, whole) = collected.map_err(|error| self.broken(method, &place, error))?;
        if whole && body.trim_ascii().is_empty() {
            return Ok(Json::Null);
        }
        let read = if whole {
            serde_json::from_slice(&body).map_err(|error| error.to_string())
        } else {
            Err(format!("more than {LARGEST_ANSWER} bytes"))
        };
        read.map_err(|why| {
            let excerpt = self.redact(&String::from_utf8_lossy(&body));
            let message = format!("{place}: the answer cannot be read: {why}: {excerpt}");
            AttemptError::Permanent(if *method == Method::POST {
                CallError::Unclear(message)
            } else {
                CallError::Garbled(message)
            })
        })
    }

    async fn no_success(&self, method: &Method, place: &str, response: Response) -> AttemptError<CallError> {
        let status = response.status();
        let imposed = retry::imposed(response.headers(), SystemTime::now());
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|to| to.to_str().ok()).map(str::to_owned);
        let headers = response.headers().clone();
        // An error response is an error even if its body does not arrive.
        let excerpt = collect(response, LARGEST_ERROR)
            .await
            .map_or_else(|_| Vec::new(), |(body, _)| body);
        let error = server_error(&excerpt);
        let message = if status.is_redirection() {
            format!(
                "{place}: HTTP {}: the server is elsewhere; set api_base to its own address",
                status.as_u16()
            )
        } else {
            format!(
                "{place}: HTTP {}: {}",
                status.as_u16(),
                self.redact(&error.message)
            )
        };
        let out_of_money = error.kinds.iter().any(|kind| kind == "insufficient_quota");
        let starts = *method == Method::POST;
        match status.as_u16() {
            429 if !out_of_money => AttemptError::Retryable(message, imposed),
            // Not implemented: neither now nor later, and certainly not carried out.
            408 | 500 | 502..=599 if starts => AttemptError::Permanent(CallError::Unclear(message)),
            408 | 409 | 500 | 502..=599 if !starts => AttemptError::Retryable(message, imposed),
            status => AttemptError::Permanent(CallError::Refused(HttpRefusal {
                status,
                message,
                location,
                response: Box::new(ErrorResponse {
                    headers,
                    body: serde_json::from_slice(&excerpt).unwrap_or_default(),
                }),
            })),
        }
    }

    /// A request that could not be sent, or an answer that did not arrive whole.
    fn broken(&self, method: &Method, place: &str, error: reqwest::Error) -> AttemptError<CallError> {
        let never_left = error.is_connect() || error.is_builder();
        let message = format!("{place}: {}", self.redact(&chain(&error.without_url())));
        if *method == Method::POST && !never_left {
            AttemptError::Permanent(CallError::Unclear(message))
        } else {
            AttemptError::Retryable(message, None)
        }
    }

    /// Text from the server, with the key removed before it is shortened, so that no part of a key remains.
    pub(super) fn redact(&self, excerpt: &str) -> String {
        http::redact(self.key.as_ref(), excerpt)
    }
}

/// Adds the body and the timeout that it needs.
async fn loaded(request: RequestBuilder, load: &Load<'_>) -> std::io::Result<RequestBuilder> {
    Ok(match load {
        Load::Nothing => request.timeout(ANSWER_TIMEOUT),
        Load::Json(body) => request
            .header(CONTENT_TYPE, "application/json")
            .body(body.clone())
            .timeout(ANSWER_TIMEOUT),
        Load::Form(fields) => request.multipart(form_of(fields)).timeout(ANSWER_TIMEOUT),
        Load::File(upload) => {
            let bytes = tokio::fs::metadata(upload.path).await?.len();
            let part = Part::file(upload.path).await?.file_name(upload.name.to_owned());
            request
                .multipart(form_of(upload.fields).part(upload.part.to_owned(), part))
                .timeout(upload_timeout(bytes))
        }
        Load::Bare(put) => put.loaded(request).await?,
    })
}

fn form_of(fields: &[(&str, &str)]) -> Form {
    fields.iter().fold(Form::new(), |form, (name, text)| {
        form.text((*name).to_owned(), (*text).to_owned())
    })
}

fn upload_timeout(bytes: u64) -> Duration {
    ANSWER_TIMEOUT + Duration::from_secs(bytes / SLOWEST_UPLOAD)
}

/// An address without its query, which may contain keys.
fn redacted(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
