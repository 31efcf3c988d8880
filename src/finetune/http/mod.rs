//! The client of the fine-tuning services: JSON and files over HTTP, and an honest word on what was carried out.
//!
//! What may be asked twice is asked again here, a few times. What starts something is asked again only when the first request
//! certainly did nothing; whoever calls hears [`CallError::Unclear`] otherwise and looks for what it may have started.

mod connect;
mod error;
mod signed_upload;
#[cfg(test)]
mod tests;

pub(super) use connect::{NoAccess, ServiceClient};
pub(super) use error::{CallError, ErrorResponse, Refusal};
pub(super) use signed_upload::Put;

use crate::http::{self, BadAddress, LARGEST_ERROR, Secret, chain, collect, retry, server_error};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Method, RequestBuilder, Response, Url};
use serde_json::Value as Json;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The largest answer that is read, in bytes: a list of ten thousand files is a third of it.
const LARGEST_ANSWER: usize = 16 << 20;

/// How long a request without a file may take. Shorter than the minute after which a training that never showed is asked for again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Bytes a second; an upload that is slower than this is given up.
const SLOWEST_UPLOAD: u64 = 128 << 10;

/// Tries in all, where a request may be repeated.
const TRIES: u32 = 4;

/// The longest wait after a first failure.
const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// Waits that a server imposes are kept up to here; a longer one is left to whoever asked.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// One service at one address, with one key.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client,
    base: Url,
    key: Option<Secret>,
    backoff_base: Duration,
}

/// A file on its way to a service, in a form.
pub(super) struct Upload<'a> {
    /// The form's plain fields.
    pub(super) fields: &'a [(&'a str, &'a str)],
    /// The field that holds the file.
    pub(super) part: &'a str,
    /// What the service is to call it.
    pub(super) name: &'a str,
    /// Where it stands.
    pub(super) path: &'a Path,
}

/// What a request carries.
enum Load<'a> {
    Nothing,
    Json(String),
    /// A form without a file.
    Form(&'a [(&'a str, &'a str)]),
    /// A file in a form.
    File(&'a Upload<'a>),
    /// A file and nothing else.
    Bare(&'a Put<'a>),
}

type AttemptError = http::AttemptError<CallError>;

impl Http {
    /// The service at that address; opens no connection. The key goes into `header`, bare, or into `Authorization: Bearer`.
    pub(super) fn new(address: &str, key: Option<Secret>, header: Option<&str>) -> Result<Http, NoAccess> {
        let base = http::address(address).map_err(|bad| match bad {
            BadAddress::Credentials => NoAccess::Credentials,
            BadAddress::Unusable(reason) => NoAccess::Address(reason),
        })?;
        let mut headers = HeaderMap::new();
        if let Some(key) = &key {
            let (name, text) = match header {
                None => (AUTHORIZATION, format!("Bearer {}", key.reveal())),
                Some(header) => (
                    HeaderName::from_bytes(header.as_bytes())
                        .map_err(|_| NoAccess::Header(header.to_owned()))?,
                    key.reveal().to_owned(),
                ),
            };
            let mut value = HeaderValue::from_str(&text).map_err(|_| NoAccess::UnsendableKey)?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let client = http::client(&base).default_headers(headers).build();
        Ok(Http {
            client: client.map_err(|error| NoAccess::Client(chain(&error)))?,
            base,
            key,
            backoff_base: BACKOFF_BASE,
        })
    }

    /// The address, without what may be secret in it.
    pub(super) fn shown(&self) -> String {
        shown(&self.base)
    }

    /// The host's name; an address without one has none.
    pub(super) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// `GET {base}/{path}?{query}`. Safe to repeat, so repeated.
    pub(super) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Json, CallError> {
        self.ask(Method::GET, self.url(path, query), Load::Nothing).await
    }

    /// `DELETE {base}/{path}`. Safe to repeat, so repeated; then what it deleted may be gone already.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<Json, CallError> {
        self.ask(Method::DELETE, self.url(path, &[]), Load::Nothing).await
    }

    /// `POST {base}/{path}` with a JSON body; none: an empty one. Never repeated once it may have been carried out.
    pub(super) async fn post(&self, path: &[&str], body: Option<&Json>) -> Result<Json, CallError> {
        self.post_to(path, &[], body).await
    }

    /// The same with a query.
    pub(super) async fn post_to(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Json>,
    ) -> Result<Json, CallError> {
        let load = body.map_or(Load::Nothing, |body| Load::Json(body.to_string()));
        self.ask(Method::POST, self.url(path, query), load).await
    }

    /// `POST {base}/{path}` with a form that holds no file. Never repeated once it may have been carried out.
    pub(super) async fn form(&self, path: &[&str], fields: &[(&str, &str)]) -> Result<Json, CallError> {
        self.ask(Method::POST, self.url(path, &[]), Load::Form(fields))
            .await
    }

    /// `POST {base}/{path}` with a form, its file read from disk as it is sent. Never repeated once it may have been carried out.
    pub(super) async fn upload(&self, path: &[&str], upload: &Upload<'_>) -> Result<Json, CallError> {
        let url = self.url(path, &[]);
        self.ask(Method::POST, url, Load::File(upload)).await
    }

    /// Every segment and every pair percent-encoded; what the base says after `?` stays.
    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        // Only addresses that hold no path refuse, and those of HTTP servers always hold one.
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
            tracing::debug!(%method, tries, ?wait, why = message, "asking again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn once(&self, method: &Method, url: &Url, load: &Load<'_>) -> Result<Json, AttemptError> {
        let place = format!("{method} {}", shown(url));
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
        let read = match whole {
            true => serde_json::from_slice(&body).map_err(|error| error.to_string()),
            false => Err(format!("more than {LARGEST_ANSWER} bytes")),
        };
        read.map_err(|why| {
            let words = self.say(&String::from_utf8_lossy(&body));
            let message = format!("{place}: the answer cannot be read: {why}: {words}");
            AttemptError::Permanent(match *method == Method::POST {
                true => CallError::Unclear(message),
                false => CallError::Garbled(message),
            })
        })
    }

    async fn no_success(&self, method: &Method, place: &str, response: Response) -> AttemptError {
        let status = response.status();
        let imposed = retry::imposed(response.headers(), SystemTime::now());
        let location = response.headers().get(LOCATION);
        let location = location.and_then(|to| to.to_str().ok()).map(str::to_owned);
        let headers = response.headers().clone();
        // An error whose words do not arrive is still that error.
        let words = collect(response, LARGEST_ERROR)
            .await
            .map_or_else(|_| Vec::new(), |(body, _)| body);
        let error = server_error(&words);
        let message = match status.is_redirection() {
            true => format!(
                "{place}: HTTP {}: the server is elsewhere; set api_base to its own address",
                status.as_u16()
            ),
            false => format!("{place}: HTTP {}: {}", status.as_u16(), self.say(&error.message)),
        };
        let out_of_money = error.kinds.iter().any(|kind| kind == "insufficient_quota");
        let starts = *method == Method::POST;
        match status.as_u16() {
            429 if !out_of_money => AttemptError::Retryable(message, imposed),
            // Not implemented: neither now nor later, and certainly not carried out.
            408 | 500 | 502..=599 if starts => AttemptError::Permanent(CallError::Unclear(message)),
            408 | 409 | 500 | 502..=599 if !starts => AttemptError::Retryable(message, imposed),
            status => AttemptError::Permanent(CallError::Refused(Refusal {
                status,
                message,
                location,
                said: Box::new(ErrorResponse {
                    headers,
                    body: serde_json::from_slice(&words).unwrap_or_default(),
                }),
            })),
        }
    }

    /// A request that could not be sent, or an answer that did not arrive whole.
    fn broken(&self, method: &Method, place: &str, error: reqwest::Error) -> AttemptError {
        let never_left = error.is_connect() || error.is_builder();
        let message = format!("{place}: {}", self.say(&chain(&error.without_url())));
        match *method == Method::POST && !never_left {
            true => AttemptError::Permanent(CallError::Unclear(message)),
            false => AttemptError::Retryable(message, None),
        }
    }

    /// Someone else's words: without the key first, shortened then, so that no half of a key is left.
    pub(super) fn say(&self, words: &str) -> String {
        http::redact(self.key.as_ref(), words)
    }
}

/// The request with its load, and with as much time as that needs.
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

/// An address without what stands after `?`, where keys may be.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url.to_string()
}
