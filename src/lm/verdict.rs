//! The verdict on one request, and the limits that the server reports in the response headers.

use super::{ClosedAccount, LmError, LmResponse};
use std::time::Duration;

/// The result of one request.
#[derive(Debug)]
pub struct Reply {
    pub verdict: Verdict,
    pub hints: Hints,
}

/// The result of one request, by the party at fault. Only [`Verdict::Failed`] fails the example.
#[derive(Debug)]
pub enum Verdict {
    /// A usable answer.
    Answer(LmResponse),
    /// Refused for a rate limit: 429, 529, 503 with `Retry-After`.
    Throttled {
        /// The address, the status and the server's message.
        message: String,
        /// The wait that the server asks for; zero if the request may be retried at once.
        wait: Option<Duration>,
    },
    /// No answer in time: after the request's own timeout, or after that of a proxy (408, 504).
    Late {
        /// The address and the cause.
        message: String,
        /// The wait that the server asks for.
        wait: Option<Duration>,
    },
    /// No answer: a refused or broken connection, or 5xx.
    Away {
        /// The HTTP status; `None` if no response arrived.
        status: Option<u16>,
        /// Whether the server may have answered the request, and the answer was lost: the connection broke after it was established.
        is_answer_lost: bool,
        /// The address and the cause.
        message: String,
        /// Whether the message names the remedy, too.
        names_remedy: bool,
        /// The wait that the server asks for.
        wait: Option<Duration>,
    },
    /// The request could not be sent, because this process has as many open files as it may have. The server is not concerned.
    Unsent {
        /// The address, the cause and the remedy.
        message: String,
    },
    /// The account is refused: key, quota or model.
    Closed(ClosedAccount),
    /// The request itself was refused, or its answer is not a completion.
    Failed(LmError),
}

/// The limits in the headers of a response; `None` where the server reports none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub requests: Option<LimitHint>,
    pub tokens: Option<LimitHint>,
}

/// One limit: `x-ratelimit-limit-…`, `x-ratelimit-remaining-…`, `x-ratelimit-reset-…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitHint {
    /// The limit per period.
    pub limit: u64,
    /// What is left of the limit in this period.
    pub remaining: u64,
    /// The time until the whole limit is available again; `None` if the server did not report it.
    pub reset: Option<Duration>,
}

impl From<Verdict> for Reply {
    fn from(verdict: Verdict) -> Reply {
        Reply {
            verdict,
            hints: Hints::default(),
        }
    }
}
