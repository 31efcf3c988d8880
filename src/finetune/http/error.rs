//! What came of a request to a service, when not an answer.

use crate::finetune::ProviderError;
use reqwest::header::HeaderMap;
use serde_json::Value as Json;
use std::fmt;

/// Why there is no answer. Texts name the address, the status and the server's own words, never the key.
#[derive(Debug, thiserror::Error)]
pub(in crate::finetune) enum CallError {
    /// The server will not: nothing was carried out.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The server is away or busy, and stayed so over a few tries. Nothing was carried out, or it may be asked for again.
    #[error("{0}")]
    Passing(String),
    /// The request may have been carried out: it went out, and no answer that says so came back.
    #[error("{0}")]
    Unclear(String),
    /// An answer that is not JSON, or is too long, to a question that changes nothing.
    #[error("{0}")]
    Garbled(String),
    /// The file to send is not there or cannot be read; nothing was sent.
    #[error("{0}")]
    Unreadable(String),
}

/// A server's no.
#[derive(Debug)]
pub(in crate::finetune) struct Refusal {
    /// The HTTP status.
    pub(in crate::finetune) status: u16,
    /// Address, status and the server's words.
    pub(in crate::finetune) message: String,
    /// Where a redirect points; never followed.
    pub(in crate::finetune) location: Option<String>,
    /// The rest of what the server said, for services that say with an error what others say with an answer.
    pub(in crate::finetune) said: Box<ErrorResponse>,
}

/// An error's headers and body.
#[derive(Default)]
pub(in crate::finetune) struct ErrorResponse {
    /// The headers.
    pub(in crate::finetune) headers: HeaderMap,
    /// The body; null where it is not JSON.
    pub(in crate::finetune) body: Json,
}

/// Servers like to echo a key that they refuse.
impl fmt::Debug for ErrorResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorResponse(..)")
    }
}

impl CallError {
    /// Whether the server does not implement this list, rather than failing to return it now.
    pub(in crate::finetune) fn is_not_implemented(&self) -> bool {
        matches!(self.status(), Some(404 | 405 | 501))
    }

    /// The HTTP status of a request that the server rejected. `None` if there was no such answer.
    pub(in crate::finetune) fn status(&self) -> Option<u16> {
        match self {
            CallError::Refused(refusal) => Some(refusal.status),
            CallError::Passing(_)
            | CallError::Unclear(_)
            | CallError::Garbled(_)
            | CallError::Unreadable(_) => None,
        }
    }
}

/// For every request but the one that starts a training: to look again is always right there.
impl From<CallError> for ProviderError {
    fn from(error: CallError) -> ProviderError {
        match error {
            CallError::Passing(why) | CallError::Unclear(why) | CallError::Unreadable(why) => {
                ProviderError::Passing(why)
            }
            CallError::Refused(refusal) => ProviderError::Refused(refusal.message),
            CallError::Garbled(why) => ProviderError::Refused(why),
        }
    }
}
