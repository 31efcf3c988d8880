//! The connection to a service: its address, its API key and the client that uses them.

use super::Http;
use crate::finetune::{ProviderError, ServiceSpec, Unavailable};
use crate::key_ring::{Access, KeyError, KeyRing};
use crate::secret::SecretError;

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
    /// This worker does not send the key to the address; another one may.
    #[error("{0}")]
    KeyNotAllowed(String),
    /// The API key contains characters that are not allowed in an HTTP header.
    #[error("the API key has characters that cannot be sent; set the variable again")]
    UnsendableKey,
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

/// What the client may use at a service's address. The service's default variable is read only for the service's own address, so that no key is
/// sent to another server. A variable that the job names must be set, whatever the address. Without one, a server at another address
/// gets no key.
pub(super) fn access(spec: &ServiceSpec, own: &str, usual: &str, keys: &KeyRing) -> Result<Access, NoAccess> {
    let address = spec.api_base.as_deref().unwrap_or(own);
    let is_own = address.trim_end_matches('/') == own;
    let name = spec.api_key_env.as_deref().or(is_own.then_some(usual));
    match keys.access(name, address, spec.auth_header.as_deref()) {
        Ok(access) => Ok(access),
        Err(KeyError::Unset { variable, address }) => Err(NoAccess::NoKey { variable, address }),
        Err(KeyError::Unreadable(error)) => Err(error.into()),
        Err(KeyError::NotAllowed(reason)) => Err(NoAccess::KeyNotAllowed(reason)),
    }
}

/// The client of one service, or the reason why it has none on any worker.
#[derive(Clone, Debug)]
pub(in crate::finetune) struct ServiceClient(Result<Http, NoAccess>);

impl ServiceClient {
    /// The client of a service with this default address and key variable. Opens no connection. [`Unavailable`] when only this worker
    /// lacks the key or does not allow it; every other error is the same on all workers and is returned by [`ServiceClient::http`].
    pub(in crate::finetune) fn new(
        spec: &ServiceSpec,
        default_address: &str,
        default_variable: &str,
        keys: &KeyRing,
    ) -> Result<ServiceClient, Unavailable> {
        let address = spec.api_base.as_deref().unwrap_or(default_address);
        let access = access(spec, default_address, default_variable, keys);
        match access.and_then(|access| Http::new(address, access)) {
            Err(missing @ (NoAccess::NoKey { .. } | NoAccess::Key(_) | NoAccess::KeyNotAllowed(_))) => {
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
