//! The errors of creating the client of an LM.

use crate::secret::SecretError;

/// Why the client of an LM cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// The model's prefix names no kind of LM.
    #[error(
        "lm `{lm}`: model = \"{model}\" is of no known kind: write \"openai/{model}\" (and api_base) for any \
         OpenAI-compatible server, \"hosted_vllm/…\" for vLLM, \"simulated/…\" for none"
    )]
    UnknownModel {
        /// The LM's name in the job file.
        lm: String,
        /// Its model.
        model: String,
    },
    /// The key's variable is not set.
    #[error(
        "lm `{lm}`: the environment variable {variable} is not set; it should hold the API key for {base}"
    )]
    MissingKey {
        /// The LM's name in the job file.
        lm: String,
        /// The variable.
        variable: String,
        /// The server.
        base: String,
    },
    /// The key's variables, or the file that one of them names, cannot be used.
    #[error("lm `{lm}`: {error}")]
    Key {
        /// The LM's name in the job file.
        lm: String,
        /// Why.
        error: SecretError,
    },
    /// The worker does not send the key to the LM's address.
    #[error("lm `{lm}`: {reason}")]
    KeyNotAllowed {
        /// The LM's name in the job file.
        lm: String,
        /// Why, and what would allow it.
        reason: String,
    },
    /// The key has characters that no HTTP header can hold.
    #[error("lm `{lm}`: the API key has characters that cannot be sent; set the variable again")]
    UnsendableKey {
        /// The LM's name in the job file.
        lm: String,
    },
    /// `api_base` is not the address of an HTTP server.
    #[error("lm `{lm}`: api_base is not an address such as http://127.0.0.1:8000/v1: {reason}")]
    Base {
        /// The LM's name in the job file.
        lm: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `api_base` holds a user name or password.
    #[error("lm `{lm}`: api_base holds credentials; put the key into a variable and name it in api_key_env")]
    Credentials {
        /// The LM's name in the job file.
        lm: String,
    },
    /// The timeout is not a positive number of seconds.
    #[error("lm `{lm}`: a timeout of {secs} seconds cannot be kept; give a positive number")]
    Timeout {
        /// The LM's name in the job file.
        lm: String,
        /// What was given.
        secs: f64,
    },
    /// The HTTP client could not be made.
    #[error("lm `{lm}`: no HTTP client: {reason}")]
    Client {
        /// The LM's name in the job file.
        lm: String,
        /// Why.
        reason: String,
    },
}
