//! The client for every OpenAI-compatible server: one connection pool per LM, bounded retries, bounded bodies.

mod reply;
#[cfg(test)]
mod tests;

use super::connect_error::ConnectError;
use super::{Lm, LmError, LmRequest, LmResponse, LmSettings, Usage, UsageTotals};
use crate::http::{
    self, BadAddress, LARGEST_ERROR, Secret, ServerError, chain, collect, retry, server_error,
};
use crate::metrics::LmMetrics;
use async_trait::async_trait;
use reply::BadBody;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

/// OpenAI's own address.
pub const OPENAI_BASE: &str = "https://api.openai.com/v1";

/// The largest body of an answer that is read, in bytes; a larger one is refused.
pub const LARGEST_ANSWER: usize = 32 << 20;

/// An LM at `{api_base}/chat/completions`.
#[derive(Debug)]
pub struct OpenAi {
    name: String,
    client: Client,
    url: Url,
    /// The URL as errors show it: no credentials, no query.
    shown_url: String,
    key: Option<Secret>,
    retries: u32,
    /// The longest wait after a first failure.
    backoff_base: Duration,
    counts: UsageCounters,
    metrics: LmMetrics,
}

#[derive(Debug, Default)]
struct UsageCounters {
    requests: AtomicU64,
    attempts: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

type AttemptError = http::AttemptError<LmError>;

impl OpenAi {
    /// A client; opens no connection yet. Without a key no `Authorization` is sent.
    pub fn new(
        settings: &LmSettings,
        key: Option<Secret>,
        metrics: LmMetrics,
    ) -> Result<OpenAi, ConnectError> {
        let lm = || settings.name.clone();
        let url = endpoint(settings)?;
        let timeout = match settings.timeout_secs {
            None => super::DEFAULT_TIMEOUT,
            Some(secs) => Duration::try_from_secs_f64(secs)
                .ok()
                .filter(|timeout| !timeout.is_zero())
                .ok_or_else(|| ConnectError::Timeout { lm: lm(), secs })?,
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &key {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .map_err(|_| ConnectError::UnsendableKey { lm: lm() })?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let builder = http::client(&url)
            .default_headers(headers)
            .timeout(timeout)
            .pool_max_idle_per_host(usize::MAX);
        let client = builder.build().map_err(|error| ConnectError::Client {
            lm: lm(),
            reason: chain(&error),
        })?;
        let mut shown = url.clone();
        shown.set_query(None);
        Ok(OpenAi {
            name: settings.name.clone(),
            client,
            shown_url: shown.to_string(),
            url,
            key,
            retries: settings.num_retries.unwrap_or(super::DEFAULT_RETRIES),
            backoff_base: Duration::from_secs(1),
            counts: UsageCounters::default(),
            metrics,
        })
    }

    async fn once(&self, body: &str) -> Result<LmResponse, AttemptError> {
        let mut request = self.metrics.request();
        let sent = self
            .client
            .post(self.url.clone())
            .body(body.to_owned())
            .send()
            .await;
        let response = sent.map_err(|error| self.broken(error))?;
        let status = response.status();
        if status != StatusCode::OK {
            let failure = self.no_success(status, response).await;
            request.answered(status.as_u16());
            return Err(failure);
        }
        let (body, whole) = collect(response, LARGEST_ANSWER)
            .await
            .map_err(|error| self.broken(error))?;
        request.answered(status.as_u16());
        if !whole {
            let message = format!("{}: more than {LARGEST_ANSWER} bytes", self.shown_url);
            return Err(AttemptError::Permanent(self.garbled(message, Usage::default())));
        }
        let read = reply::read(&body).map(|answer| self.without_key(answer));
        read.map_err(|no_answer| match no_answer {
            BadBody::Garbled(why, usage) => AttemptError::Permanent(
                self.garbled(format!("{}: {}", self.shown_url, self.redact(&why)), usage),
            ),
            BadBody::Error(error) => self.error(200, error, None),
        })
    }

    async fn no_success(&self, status: StatusCode, response: Response) -> AttemptError {
        let wait = retry::imposed(response.headers(), SystemTime::now());
        // An error without its body is still that error.
        let body = collect(response, LARGEST_ERROR)
            .await
            .map_or_else(|_| Vec::new(), |(body, _)| body);
        self.error(status.as_u16(), server_error(&body), wait)
    }

    fn error(&self, http_status: u16, error: ServerError, wait: Option<Duration>) -> AttemptError {
        let is = |kind: &str| error.kinds.iter().any(|k| k == kind);
        let status = if http_status == 200 {
            error.status.unwrap_or(200)
        } else {
            http_status
        };
        // In a response with status 200, only the error type marks an error as retryable.
        let passing = retry::may_pass(status)
            || (status == 200
                && ["rate_limit_exceeded", "server_error", "overloaded_error"]
                    .into_iter()
                    .any(is));
        let message = self.redact(&error.message);
        if passing && !is("insufficient_quota") {
            if status == 429 || is("rate_limit_exceeded") {
                self.metrics.throttled();
            }
            return AttemptError::Retryable(format!("{}: HTTP {status}: {message}", self.shown_url), wait);
        }
        let message = format!("{}: {message}", self.shown_url);
        AttemptError::Permanent(LmError::Refused {
            lm: self.name.clone(),
            status,
            message,
        })
    }

    /// A request that could not be sent, or an answer that did not arrive whole.
    fn broken(&self, error: reqwest::Error) -> AttemptError {
        AttemptError::Retryable(
            format!(
                "{}: {}",
                self.shown_url,
                self.redact(&chain(&error.without_url()))
            ),
            None,
        )
    }

    fn garbled(&self, message: String, usage: Usage) -> LmError {
        self.spent(usage);
        LmError::Garbled {
            lm: self.name.clone(),
            message,
        }
    }

    fn spent(&self, usage: Usage) {
        self.counts.prompt_tokens.fetch_add(usage.prompt_tokens, Relaxed);
        self.counts
            .completion_tokens
            .fetch_add(usage.completion_tokens, Relaxed);
        self.metrics.spent(usage.prompt_tokens, usage.completion_tokens);
    }

    /// Removes the key from an answer that echoes it: answers are written to DIR.
    fn without_key(&self, answer: LmResponse) -> LmResponse {
        match &self.key {
            Some(key) if answer.text.contains(key.reveal()) => LmResponse {
                text: key.scrub(&answer.text),
                ..answer
            },
            _ => answer,
        }
    }

    /// The server's text as a message may show it.
    fn redact(&self, text: &str) -> String {
        http::redact(self.key.as_ref(), text)
    }
}

#[async_trait]
impl Lm for OpenAi {
    async fn complete(&self, request: LmRequest<'_>) -> Result<LmResponse, LmError> {
        self.counts.requests.fetch_add(1, Relaxed);
        let mut attempts = 0;
        loop {
            attempts += 1;
            self.counts.attempts.fetch_add(1, Relaxed);
            let (message, wait) = match self.once(request.body).await {
                Ok(answer) => {
                    self.spent(answer.usage);
                    return Ok(answer);
                }
                Err(AttemptError::Permanent(error)) => return Err(error),
                Err(AttemptError::Retryable(message, wait)) => (message, wait),
            };
            if attempts > self.retries {
                return Err(LmError::Unavailable {
                    lm: self.name.clone(),
                    attempts,
                    message,
                });
            }
            let wait = wait.unwrap_or_else(|| retry::backoff(self.backoff_base, attempts));
            tracing::debug!(
                lm = self.name,
                attempts,
                ?wait,
                why = message,
                "retrying LM request"
            );
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            self.metrics.retried();
        }
    }

    fn usage_totals(&self) -> UsageTotals {
        UsageTotals {
            requests: self.counts.requests.load(Relaxed),
            attempts: self.counts.attempts.load(Relaxed),
            usage: Usage {
                prompt_tokens: self.counts.prompt_tokens.load(Relaxed),
                completion_tokens: self.counts.completion_tokens.load(Relaxed),
            },
        }
    }
}

/// `{api_base}/chat/completions`, where `api_base` is an address that holds no credentials.
fn endpoint(settings: &LmSettings) -> Result<Url, ConnectError> {
    let lm = || settings.name.clone();
    let base = settings.api_base.as_deref().unwrap_or(OPENAI_BASE);
    let mut url = http::address(base).map_err(|bad| match bad {
        BadAddress::Credentials => ConnectError::Credentials { lm: lm() },
        BadAddress::Unusable(reason) => ConnectError::Base { lm: lm(), reason },
    })?;
    let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}
