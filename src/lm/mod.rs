//! Language models: the seam, what one is asked and what it answers.
//!
//! `openai/…` models are served over HTTP, `simulated/…` ones answer from the example's own labels.

mod connect;
pub mod openai;
mod secret;
mod settings;
pub mod simulated;

pub use bsft_dspy::lm::{LEAST_MAX_TOKENS, Usage, is_reasoning_model};
pub use connect::{ConnectError, OPENAI_KEY, connect};
pub use openai::OpenAi;
pub use secret::Secret;
pub use settings::{LmSettings, Price, Simulation};

use crate::adapter::Adapter;
use crate::signature::Signature;
use crate::value::Record;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One question to an LM.
pub struct LmRequest<'a> {
    /// The whole JSON body of the chat-completions request, in DSPy's key order.
    pub body: &'a str,
    /// What the question is about; only a simulated LM looks at it.
    pub context: RequestContext<'a>,
}

/// The typed view of a question: what a simulated LM answers from.
pub struct RequestContext<'a> {
    /// Its output fields are to be answered.
    pub signature: &'a Signature,
    /// How the answer is to be written.
    pub adapter: &'a dyn Adapter,
    /// The example at hand, labels included.
    pub example: &'a Record,
}

/// An LM's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LmResponse {
    /// `choices[0].message.content`, empty where the server sent null or no choices.
    pub text: String,
    /// What it cost.
    pub usage: Usage,
}

/// Something that answers questions. Retries, if any, are inside.
#[async_trait]
pub trait Lm: Send + Sync {
    /// Asks once; transport hiccups, throttling and server errors have been retried when this returns an error.
    async fn complete(&self, request: LmRequest<'_>) -> Result<LmResponse, LmError>;

    /// What this LM has been asked so far; a decorator passes on what the LM inside says.
    fn usage_totals(&self) -> UsageTotals {
        UsageTotals::default()
    }
}

/// What an LM was asked since it was connected, answers that could not be used included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Questions.
    pub requests: u64,
    /// Requests sent for them, retries included.
    pub attempts: u64,
    /// Tokens of everything that was answered with status 200.
    pub usage: Usage,
}

/// Why an LM gave no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LmError {
    /// The server refused the request for good: 400, 401, 403, 404, 422 and the like.
    #[error("{lm} refused the request: HTTP {status}: {message}")]
    Refused {
        /// The LM's name in the job file.
        lm: String,
        /// HTTP status.
        status: u16,
        /// The server's own words, shortened.
        message: String,
    },
    /// Every attempt was throttled or failed on the server's side.
    #[error("{lm} gave no answer in {attempts} attempts: {message}")]
    Unavailable {
        /// The LM's name in the job file.
        lm: String,
        /// How often it was asked.
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
    /// How often the LM was asked.
    pub fn attempts(&self) -> u32 {
        match self {
            LmError::Unavailable { attempts, .. } => *attempts,
            LmError::Refused { .. } | LmError::Garbled { .. } => 1,
        }
    }
}

/// How long one request may take before it counts as failed, unless the job says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);
