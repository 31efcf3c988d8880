//! What it takes to reach a service: an address and a key.

use super::Http;
use crate::finetune::{ServiceSpec, Unavailable};
use crate::lm::Secret;

/// Why a service cannot be reached at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::finetune) enum NoAccess {
    /// The key's variable is not set here; at another worker it may be.
    #[error("the environment variable {variable} is not set; it should hold the API key for {address}")]
    NoKey {
        /// The variable.
        variable: String,
        /// The server.
        address: String,
    },
    /// The key has characters that no HTTP header can hold.
    #[error("the API key has characters that cannot be sent; set the variable again")]
    UnsendableKey,
    /// The header's name cannot be one.
    #[error("auth_header = \"{0}\" cannot be the name of a header; write one such as \"api-key\"")]
    Header(String),
    /// The address is not that of an HTTP server.
    #[error("api_base is not an address such as http://127.0.0.1:8000/v1: {0}")]
    Address(String),
    /// The address holds a user name or password.
    #[error("api_base holds credentials; put the key into a variable and name it in api_key_env")]
    Credentials,
    /// The HTTP client could not be made.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// The key for a service's address. The service's usual variable is read for its own address only: no key goes to a place that
/// it was not meant for. A variable that the job names has to be set, whatever the address; where none is named, a server other than
/// the service's own gets no key.
pub(super) fn key(
    address: &str,
    named: Option<&str>,
    own: &str,
    usual: &str,
) -> Result<Option<Secret>, NoAccess> {
    let is_own = address.trim_end_matches('/') == own;
    let variable = match named {
        Some(variable) => variable,
        None if is_own => usual,
        None => return Ok(None),
    };
    match Secret::from_env(variable) {
        Some(key) => Ok(Some(key)),
        None => Err(NoAccess::NoKey {
            variable: variable.to_owned(),
            address: address.to_owned(),
        }),
    }
}

/// The client of a service whose own address and usual variable are these. [`Unavailable`]: the key is not on this machine; what else is
/// wrong is wrong everywhere.
pub(in crate::finetune) fn reach(
    spec: &ServiceSpec,
    own: &str,
    usual: &str,
) -> Result<Result<Http, NoAccess>, Unavailable> {
    let address = spec.api_base.as_deref().unwrap_or(own);
    let key = key(address, spec.api_key_env.as_deref(), own, usual);
    let http = key.and_then(|key| Http::new(address, key, spec.auth_header.as_deref()));
    match http {
        Err(missing @ NoAccess::NoKey { .. }) => Err(Unavailable(missing.to_string())),
        http => Ok(http),
    }
}
