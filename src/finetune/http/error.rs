//! Errors of a request to a service.

use crate::finetune::ProviderError;
use reqwest::header::HeaderMap;
use serde_json::Value as Json;
use std::fmt;

/// Why a request failed. The texts contain the address, the status and the server's message, and never the API key.
#[derive(Debug, thiserror::Error)]
pub(in crate::finetune) enum CallError {
    /// The server rejected the request: nothing was carried out.
    #[error("{}", .0.message)]
    Refused(HttpRefusal),
    /// The server was unreachable or busy in every try. Nothing was carried out, or the request is idempotent.
    #[error("{0}")]
    Passing(String),
    /// The request may have been carried out: it was sent, and no valid answer arrived.
    #[error("{0}")]
    Unclear(String),
    /// The answer to a read-only request is not JSON, or is too long.
    #[error("{0}")]
    Garbled(String),
    /// The file to upload cannot be read; nothing was sent.
    #[error("{0}")]
    Unreadable(String),
}

/// A request the server rejected.
#[derive(Debug)]
pub(in crate::finetune) struct HttpRefusal {
    /// The HTTP status.
    pub(in crate::finetune) status: u16,
    /// The address, the status and the server's message.
    pub(in crate::finetune) message: String,
    /// The target of a redirect, which is not followed.
    pub(in crate::finetune) location: Option<String>,
    /// The headers and body, for services that answer with an error status.
    pub(in crate::finetune) response: Box<ErrorResponse>,
}

/// The headers and body of an error response.
#[derive(Default)]
pub(in crate::finetune) struct ErrorResponse {
    /// The headers.
    pub(in crate::finetune) headers: HeaderMap,
    /// The body, or null if it is not JSON.
    pub(in crate::finetune) body: Json,
}

/// Prints nothing: servers may echo a rejected key.
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

/// For all requests except the start of a training: they may always be repeated.
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
