//! What a process sees of an LM: whether it answers, how fast, and what holds calls back.

use serde::{Deserialize, Serialize};

/// One model at one address with one key, as a process of a run sees it. Travels in heartbeats.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LmStatus {
    /// As in the job file, such as `openai/gpt-4.1`.
    pub model: String,
    /// The server's address without credentials and query; empty for a simulated LM.
    pub address: String,
    /// The name of the variable with the API key; `None` if no key is sent.
    pub key_variable: Option<String>,
    pub state: LmState,
    /// Answers since the process started.
    pub answered: u64,
    /// Refusals for a rate limit (429 and the like) since the process started.
    pub throttled: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Calls that wait for their turn.
    pub waiting: u64,
    /// Answers in the last minute.
    pub answers_per_min: u64,
    /// The rate at which requests are released, a minute; `None` if nothing limits it.
    pub limit_per_min: Option<u64>,
    /// The most requests in flight, where the server has shown that more bring nothing; `None` if that does not limit.
    #[serde(default)]
    pub in_flight_limit: Option<u64>,
    /// The median latency of the last answers, in milliseconds; `None` before the first.
    pub latency_ms: Option<u64>,
    /// The last request that was not answered, with the server's words; `None` if there is none.
    pub last_error: Option<String>,
    /// Seconds since then: a process outlives runs.
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

/// Why an account cannot be used, in the server's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedAccount {
    pub cause: ClosedCause,
    /// HTTP status.
    pub status: u16,
    /// The server's message, without the key, on one line.
    pub message: String,
    /// Seconds until the server lets the account in again; `None` if it did not say.
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

/// What a person has to mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedCause {
    /// The key is refused: 401, 403.
    Key,
    /// There is no money left: 402, `insufficient_quota`.
    Quota,
    /// The quota of the day is used up; it comes back by itself.
    DailyQuota,
    /// The server has no such model, or nothing at this address: 404.
    Model,
    /// Another refusal of every request: a 400 that does not depend on the example.
    Request,
}
