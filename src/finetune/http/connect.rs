//! The connection to a service: its address, its API key and the client that uses them.

use super::Http;
use crate::finetune::{ProviderError, ServiceSpec, Unavailable};
use crate::secret::{Secret, SecretError};

/// Why no client for a service could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::finetune) enum NoAccess {
    /// The variable of the API key is not set on this worker; it may be set on another.
    #[error("the environment variable {variable} is not set; it should hold the API key for {address}")]
    NoKey {
        /// The variable.
        variable: String,
        /// The server.
        address: String,
    },
    /// This worker's variables of the API key, or the file that one of them names, cannot be used.
    #[error(transparent)]
    Key(#[from] SecretError),
    /// The API key contains characters that are not allowed in an HTTP header.
    #[error("the API key has characters that cannot be sent; set the variable again")]
    UnsendableKey,
    /// `auth_header` is not a valid header name.
    #[error("auth_header = \"{0}\" cannot be the name of a header; write one such as \"api-key\"")]
    Header(String),
    /// The address is not an HTTP URL.
    #[error("api_base is not an address such as http://127.0.0.1:8000/v1: {0}")]
    Address(String),
    /// The address contains a user name or password.
    #[error("api_base holds credentials; put the key into a variable and name it in api_key_env")]
    Credentials,
    /// The HTTP client could not be constructed.
    #[error("no HTTP client: {0}")]
    Client(String),
}

/// The API key for a service's address. The service's default variable is read only for the service's own address, so that no key is
/// sent to another server. A variable that the job names must be set, whatever the address. Without one, a server at another address
/// gets no key.
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
    match Secret::read(variable)? {
        Some(key) => Ok(Some(key)),
        None => Err(NoAccess::NoKey {
            variable: variable.to_owned(),
            address: address.to_owned(),
        }),
    }
}

/// The client of one service, or the reason why it has none on any worker.
#[derive(Clone, Debug)]
pub(in crate::finetune) struct ServiceClient(Result<Http, NoAccess>);

impl ServiceClient {
    /// The client of a service with this default address and key variable. Opens no connection. [`Unavailable`] when only this worker
    /// lacks the key; every other error is the same on all workers and is returned by [`ServiceClient::http`].
    pub(in crate::finetune) fn new(
        spec: &ServiceSpec,
        default_address: &str,
        default_variable: &str,
    ) -> Result<ServiceClient, Unavailable> {
        let address = spec.api_base.as_deref().unwrap_or(default_address);
        let key = key(
            address,
            spec.api_key_env.as_deref(),
            default_address,
            default_variable,
        );
        let http = key.and_then(|key| Http::new(address, key, spec.auth_header.as_deref()));
        match http {
            Err(missing @ (NoAccess::NoKey { .. } | NoAccess::Key(_))) => {
                Err(Unavailable(missing.to_string()))
            }
            http => Ok(ServiceClient(http)),
        }
    }

    /// The HTTP client, or a permanent error.
    pub(in crate::finetune) fn http(&self) -> Result<&Http, ProviderError> {
        self.0
            .as_ref()
            .map_err(|error| ProviderError::Refused(error.to_string()))
    }

    /// The HTTP client, or why there is none.
    pub(in crate::finetune) fn as_result(&self) -> &Result<Http, NoAccess> {
        &self.0
    }
}
