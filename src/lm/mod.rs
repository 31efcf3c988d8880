//! Language models: the trait, its request and its response.
//!
//! `openai/…` models are served over HTTP, `simulated/…` ones answer from the example's own labels.

mod connect;
mod connect_error;
pub mod openai;
mod settings;
pub mod simulated;
mod status;
#[cfg(test)]
pub(crate) mod testing;
mod verdict;

pub use crate::http::Secret;
pub use bsft_dspy::lm::{
    InsteadOfText, LEAST_MAX_TOKENS, LmResponse, MissingPart, Usage, is_cut, is_reasoning_model,
};
pub use connect::connect;
pub use connect_error::ConnectError;
pub use openai::OpenAi;
pub use settings::{AccountLimits, LmEndpoint, LmSettings, Price, Simulation};
pub use status::{ClosedAccount, ClosedCause, LmState, LmStatus};
pub use verdict::{Hints, LimitHint, Reply, Verdict};

use crate::adapter::Adapter;
use crate::memory::MemoryShare;
use crate::signature::Signature;
use crate::value::Record;
use async_trait::async_trait;
use std::time::Duration;

/// A request to an LM.
#[derive(Clone, Copy)]
pub struct LmRequest<'a> {
    /// The whole JSON body of the chat-completions request, in DSPy's key order.
    pub body: &'a str,
    /// Where the request comes from; used by simulated LMs only.
    pub context: RequestContext<'a>,
    /// The memory of the task, which a long answer enlarges before it is read.
    pub memory: &'a MemoryShare,
}

/// The typed source of a request, from which a simulated LM answers.
#[derive(Clone, Copy)]
pub struct RequestContext<'a> {
    /// Its output fields are requested.
    pub signature: &'a Signature,
    /// The format of the answer.
    pub adapter: &'a dyn Adapter,
    /// The example, labels included.
    pub example: &'a Record,
}

/// An LM. It sends each request once; the caller retries.
#[async_trait]
pub trait Lm: Send + Sync {
    /// Sends one request and classifies the reply.
    async fn complete(&self, request: LmRequest<'_>) -> Reply;

    /// The totals since the LM was connected. A decorator returns those of the LM inside.
    fn usage_totals(&self) -> UsageTotals {
        UsageTotals::default()
    }
}

/// Totals of an LM since it was connected, unusable answers included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Requests. A simulated LM counts those that it repeats itself, too.
    pub requests: u64,
    /// Tokens of all answers with a 2xx status.
    pub usage: Usage,
}

/// Why an LM gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LmError {
    /// The server refused the request for good: 400, 422 and the like; or 401, 403, 404 for this request alone.
    #[error("{lm} refused the request: HTTP {status}: {message}")]
    Refused {
        /// The LM's name in the job file.
        lm: String,
        /// HTTP status.
        status: u16,
        /// The server's message, shortened.
        message: String,
    },
    /// The server failed at this request several times, while it answered others.
    #[error("{lm} gave no answer in {attempts} attempts: {message}")]
    Unavailable {
        /// The LM's name in the job file.
        lm: String,
        /// Number of attempts.
        attempts: u32,
        /// The last failure.
        message: String,
    },
    /// The server answered with something that is not a chat completion.
    #[error("{lm} sent something that is not a chat completion: {message}")]
    Garbled {
        /// The LM's name in the job file.
        lm: String,
        /// What was wrong.
        message: String,
    },
}

impl LmError {
    /// Number of attempts that were made.
    pub fn attempts(&self) -> u32 {
        match self {
            LmError::Unavailable { attempts, .. } => *attempts,
            LmError::Refused { .. } | LmError::Garbled { .. } => 1,
        }
    }
}

/// OpenAI's own address.
pub const OPENAI_BASE: &str = "https://api.openai.com/v1";

/// The variable that holds the key of OpenAI itself.
pub const OPENAI_KEY: &str = "OPENAI_API_KEY";

/// Timeout of a request, unless `timeout_secs` is set.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

/// The shortest timeout that is learnt from answers, unless `min_timeout_secs` is set.
pub const DEFAULT_MIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a request may fail on the server's side while others are answered. The same number as DSPy's retries.
pub const DEFAULT_RETRIES: u32 = 3;
