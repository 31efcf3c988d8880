//! The status of an LM in one process: whether it answers, how fast, and what limits it.

use serde::{Deserialize, Serialize};

/// The status of one model at one address with one key in a process of a run. Heartbeats carry it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LmStatus {
    /// The model in the job file's notation, such as `openai/gpt-4.1`.
    pub model: String,
    /// The server's address without credentials and query; empty for a simulated LM.
    pub address: String,
    /// The name of the variable with the API key; `None` if no key is sent.
    pub key_variable: Option<String>,
    pub state: LmState,
    /// Answers since the process started.
    pub answered: u64,
    /// Refusals for a rate limit, such as 429, since the process started.
    pub throttled: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Calls that wait at the gate.
    pub waiting: u64,
    /// Answers in the last minute.
    pub answers_per_min: u64,
    /// The most requests per minute that the process releases; `None` if nothing limits them.
    pub limit_per_min: Option<u64>,
    /// The most requests in flight, if more of them would saturate the server; `None` if this does not limit.
    #[serde(default)]
    pub in_flight_limit: Option<u64>,
    /// The median latency of the last answers, in milliseconds; `None` before the first.
    pub latency_ms: Option<u64>,
    /// The server's message for the last request that was not answered; `None` if there is none.
    pub last_error: Option<String>,
    /// Whether that message names the remedy, because the cause is not the server.
    #[serde(default)]
    pub last_error_names_remedy: bool,
    /// Seconds since that request. It may have been before the run, because a process can serve many runs.
    #[serde(default)]
    pub last_error_secs: Option<u64>,
}

/// Whether requests are sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LmState {
    /// Requests are sent.
    Open,
    /// The server does not answer: calls wait, and one request at a time probes.
    Away {
        /// Seconds since the first of the failures.
        secs: u64,
    },
    /// The account is refused: no request is sent.
    Closed(ClosedAccount),
}

/// Why an account cannot be used, with the server's message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedAccount {
    pub cause: ClosedCause,
    /// HTTP status.
    pub status: u16,
    /// The server's message on one line, without the key.
    pub message: String,
    /// Seconds until the account can be used again; `None` if the server sent no time.
    pub reset_secs: Option<u64>,
}

impl ClosedCause {
    /// Its name in events and metrics.
    pub fn name(self) -> &'static str {
        match self {
            ClosedCause::Key => "key",
            ClosedCause::Quota => "quota",
            ClosedCause::DailyQuota => "daily_quota",
            ClosedCause::Model => "model",
            ClosedCause::Request => "request",
        }
    }
}

/// What has to be corrected before the account can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedCause {
    /// The key is refused: 401, 403.
    Key,
    /// No credit is left: 402, `insufficient_quota`.
    Quota,
    /// The daily quota is used up. It is reset by itself.
    DailyQuota,
    /// The server does not have the model, or serves nothing at this address: 404.
    Model,
    /// No request reaches the LM: a redirect, a proxy or a port with TLS is in the way.
    Request,
}
