//! The verdict on one request, and the limits that the server reports beside it.

use super::{ClosedAccount, LmError, LmResponse};
use std::time::Duration;

/// The result of one request.
#[derive(Debug)]
pub struct Reply {
    pub verdict: Verdict,
    pub hints: Hints,
}

/// What became of one request, by who is to blame: only [`Verdict::Failed`] is the example's.
#[derive(Debug)]
pub enum Verdict {
    /// A usable answer.
    Answer(LmResponse),
    /// Refused for a rate limit: 429, 529, 503 with `Retry-After`.
    Throttled {
        /// The address, the status and the server's words.
        message: String,
        /// How long the server asks to wait; zero if another try may be made at once.
        wait: Option<Duration>,
    },
    /// No answer in time: after the request's timeout, or a proxy's (408, 504).
    Late {
        /// The address and the cause.
        message: String,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// No answer: refused or broken connection, 5xx.
    Away {
        /// The HTTP status; `None` if no response arrived.
        status: Option<u16>,
        /// The address and the cause.
        message: String,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// The account is refused: key, quota or model.
    Closed(ClosedAccount),
    /// The request itself is refused, or its answer is not a completion.
    Failed(LmError),
}

/// The limits in the headers of an answer; `None` where the server reports none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub requests: Option<LimitHint>,
    pub tokens: Option<LimitHint>,
}

/// One limit: `x-ratelimit-limit-…`, `x-ratelimit-remaining-…`, `x-ratelimit-reset-…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitHint {
    /// The most in one period.
    pub limit: u64,
    /// What is left of it.
    pub remaining: u64,
    /// When all of it is left again; `None` if the server did not say.
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
