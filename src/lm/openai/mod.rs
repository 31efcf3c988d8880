//! The client for every OpenAI-compatible server: one connection pool per LM, one request per call, bounded bodies.

mod blame;
mod completion;
mod headers;
mod instead;
mod reply;
#[cfg(test)]
mod tests;
mod usage;

use super::connect_error::ConnectError;
use super::{
    Lm, LmError, LmRequest, LmResponse, LmSettings, OPENAI_BASE, Reply, Usage, UsageTotals, Verdict,
};
use crate::http::{
    self, BadAddress, LARGEST_ERROR, Secret, ServerError, Wrapping, chain, collect, collect_answer, retry,
    server_error,
};
use crate::memory::MemoryShare;
use crate::metrics::LmMetrics;
use async_trait::async_trait;
use blame::Blame;
use reply::BadBody;
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Response, StatusCode, Url};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, sleep_until};

/// The largest body of an answer in bytes. A larger one is refused.
pub const LARGEST_ANSWER: usize = 32 << 20;

/// An LM at `{api_base}/chat/completions`.
#[derive(Debug)]
pub struct OpenAi {
    name: String,
    client: Client,
    url: Url,
    /// The URL without credentials and query, for error messages.
    shown_url: String,
    key: Option<Secret>,
    timeout: Duration,
    counts: UsageCounters,
    metrics: LmMetrics,
}

#[derive(Debug, Default)]
struct UsageCounters {
    requests: AtomicU64,
    prompt_tokens: AtomicU64,
    completion_tokens: AtomicU64,
}

impl OpenAi {
    /// Creates a client and opens no connection. Without a key no `Authorization` header is sent.
    ///
    /// # Errors
    ///
    /// Returns [`ConnectError`] if the address, the timeout or the key cannot be used.
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
        // Without the header any encoding is allowed.
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(key) = &key {
            let mut bearer = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .map_err(|_| ConnectError::UnsendableKey { lm: lm() })?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let builder = http::client(&url)
            .default_headers(headers)
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
            timeout,
            counts: UsageCounters::default(),
            metrics,
        })
    }

    async fn request(&self, body: &str, memory: &MemoryShare) -> Result<Reply, reqwest::Error> {
        let mut request = self.metrics.request();
        let sent = self.client.post(self.url.clone()).body(body.to_owned()).send();
        let response = sent.await?;
        let status = response.status();
        let hints = headers::hints(response.headers());
        if !status.is_success() {
            let verdict = self.error_response(status, response).await;
            request.answered(status.as_u16());
            return Ok(Reply { verdict, hints });
        }
        let wrapping = Wrapping::of(response.headers());
        let (body, whole) = collect_answer(response, LARGEST_ANSWER, memory).await?;
        request.answered(status.as_u16());
        let verdict = if whole {
            let len = body.len();
            let verdict = || self.success(status.as_u16(), body, &wrapping);
            memory.work_on(len, verdict).await
        } else {
            self.garbled(
                status.as_u16(),
                &format!("more than {LARGEST_ANSWER} bytes"),
                Usage::default(),
            )
        };
        Ok(Reply { verdict, hints })
    }

    /// The verdict on the body of a response with a 2xx status.
    fn success(&self, status: u16, body: Vec<u8>, wrapping: &Wrapping) -> Verdict {
        let body = match wrapping.unwrap(body, LARGEST_ANSWER) {
            Ok(body) => body,
            Err(why) => return self.garbled(status, &self.redact(&why.to_string()), Usage::default()),
        };
        match reply::read(&body) {
            Ok(answer) => {
                self.spent(answer.usage);
                Verdict::Answer(self.kept(answer))
            }
            Err(BadBody::Garbled(why, usage)) => self.garbled(status, &self.redact(&why), usage),
            Err(BadBody::Error(error, usage)) => {
                self.spent(usage);
                self.error(status, &error, None)
            }
        }
    }

    /// Returns when the timeout of a request is over that is sent now. The time does not count in which its answer waits for memory here.
    async fn timed_out(&self, memory: &MemoryShare) {
        let (sent, waited_before) = (Instant::now(), memory.waited());
        loop {
            let end = sent + self.timeout + (memory.waited() - waited_before);
            if Instant::now() >= end {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// The verdict on a request whose timeout is over.
    fn late(&self) -> Verdict {
        Verdict::Late {
            message: format!(
                "{}: the request timed out after {} s",
                self.shown_url,
                self.timeout.as_secs_f64()
            ),
            wait: None,
        }
    }

    async fn error_response(&self, status: StatusCode, response: Response) -> Verdict {
        let wait = retry::requested(response.headers(), SystemTime::now());
        let wrapping = Wrapping::of(response.headers());
        // If the body cannot be read, the status alone classifies the error.
        let body = collect(response, LARGEST_ERROR)
            .await
            .map_or_else(|_| Vec::new(), |(body, _)| body);
        let body = wrapping.unwrap(body, LARGEST_ERROR);
        let body = body.unwrap_or_else(|why| why.to_string().into_bytes());
        self.error(status.as_u16(), &server_error(&body), wait)
    }

    fn error(&self, http_status: u16, error: &ServerError, wait: Option<Duration>) -> Verdict {
        let status = match http_status {
            200..=299 => blame::implied_status(error).unwrap_or(http_status),
            status => status,
        };
        let server_message = self.redact(&error.message);
        let message = || format!("{}: HTTP {status}: {server_message}", self.shown_url);
        match blame::judge(status, error, &server_message, wait) {
            Blame::Rate(wait) => {
                if status == 429 || error.kinds.iter().any(|kind| kind == "rate_limit_exceeded") {
                    self.metrics.throttled();
                }
                Verdict::Throttled {
                    message: message(),
                    wait,
                }
            }
            Blame::Server => {
                let (message, wait) = (message(), wait.map(|wait| wait.min(retry::LONGEST_IMPOSED)));
                match status {
                    408 | 504 => Verdict::Late { message, wait },
                    _ => Verdict::Away {
                        status: Some(status),
                        is_answer_lost: false,
                        message,
                        wait,
                    },
                }
            }
            Blame::Account(account) => Verdict::Closed(account),
            Blame::Request => Verdict::Failed(LmError::Refused {
                lm: self.name.clone(),
                status,
                message: format!("{}: {server_message}", self.shown_url),
            }),
        }
    }

    /// The verdict on a request that could not be sent, or whose response was cut off.
    fn broken(&self, error: reqwest::Error) -> Verdict {
        let is_connected = !error.is_connect();
        let is_late = error.is_timeout() && is_connected;
        let cause = self.redact(&chain(&error.without_url()));
        let message = format!("{}: {cause}", self.shown_url);
        if is_late {
            return Verdict::Late { message, wait: None };
        }
        Verdict::Away {
            status: None,
            is_answer_lost: is_connected,
            message,
            wait: None,
        }
    }

    /// The verdict on a body that is no chat completion. Its tokens count.
    fn garbled(&self, status: u16, why: &str, usage: Usage) -> Verdict {
        self.spent(usage);
        let status = match status {
            200 => String::new(),
            status => format!("HTTP {status}: "),
        };
        Verdict::Failed(LmError::Garbled {
            lm: self.name.clone(),
            message: format!("{}: {status}{why}", self.shown_url),
        })
    }

    fn spent(&self, usage: Usage) {
        self.counts.prompt_tokens.fetch_add(usage.prompt_tokens, Relaxed);
        self.counts
            .completion_tokens
            .fetch_add(usage.completion_tokens, Relaxed);
        self.metrics.spent(usage.prompt_tokens, usage.completion_tokens);
    }

    /// An answer as it is written to DIR: without the API key, and what is beside its text shortened.
    fn kept(&self, mut answer: LmResponse) -> LmResponse {
        if let Some(key) = &self.key {
            let scrub = |text: &mut String| {
                if text.contains(key.reveal()) {
                    *text = key.scrub(text);
                }
            };
            scrub(&mut answer.text);
            answer.finish_reason.iter_mut().for_each(scrub);
            if let Some(instead) = &mut answer.instead {
                let texts = instead.refusal.iter_mut().chain(&mut instead.reasoning);
                texts.chain(&mut instead.tool_calls).for_each(scrub);
            }
        }
        instead::shorten(&mut answer);
        answer
    }

    /// Prepares a text of the server for a message: without the API key, and shortened.
    fn redact(&self, text: &str) -> String {
        http::redact(self.key.as_ref(), text)
    }
}

#[async_trait]
impl Lm for OpenAi {
    async fn complete(&self, request: LmRequest<'_>) -> Reply {
        self.counts.requests.fetch_add(1, Relaxed);
        let mark = request.memory.mark();
        let reply = tokio::select! {
            biased;
            reply = self.request(request.body, request.memory) => {
                reply.unwrap_or_else(|error| self.broken(error).into())
            }
            () = self.timed_out(request.memory) => self.late().into(),
        };
        if matches!(reply.verdict, Verdict::Answer(_)) {
            mark.keep();
        }
        reply
    }

    fn usage_totals(&self) -> UsageTotals {
        UsageTotals {
            requests: self.counts.requests.load(Relaxed),
            usage: Usage::known(
                self.counts.prompt_tokens.load(Relaxed),
                self.counts.completion_tokens.load(Relaxed),
            ),
        }
    }
}

/// The URL `{api_base}/chat/completions`. An `api_base` with credentials is an error.
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
