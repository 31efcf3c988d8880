//! Which LM a job's `model` stands for.

use super::openai::{OPENAI_BASE, OpenAi};
use super::simulated::SimulatedLm;
use super::{Lm, LmSettings};
use crate::http::Secret;
use crate::metrics::Metrics;
use std::sync::Arc;

/// The variable that holds the key of OpenAI itself.
pub const OPENAI_KEY: &str = "OPENAI_API_KEY";

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
    /// The timeout is no length of time.
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

/// The LM that `settings.model` stands for, counted in these metrics; reads the key from the environment, opens no connection.
pub fn connect(settings: &LmSettings, job_seed: u64, metrics: &Metrics) -> Result<Arc<dyn Lm>, ConnectError> {
    match settings.model.split_once('/') {
        Some(("simulated", _)) => Ok(Arc::new(SimulatedLm::new(
            settings,
            job_seed,
            settings.metrics(metrics),
        ))),
        Some(("openai" | "hosted_vllm", name)) if !name.is_empty() => {
            let key = key(settings)?;
            Ok(Arc::new(OpenAi::new(settings, key, settings.metrics(metrics))?))
        }
        _ => Err(ConnectError::UnknownModel {
            lm: settings.name.clone(),
            model: settings.model.clone(),
        }),
    }
}

/// The key for the LM's address. A variable that the job names must be set, whatever the address. Where it names none, `OPENAI_API_KEY`
/// is required for OpenAI's own address, and no other server gets a key.
fn key(settings: &LmSettings) -> Result<Option<Secret>, ConnectError> {
    let address = settings.api_base.as_deref().unwrap_or(OPENAI_BASE);
    let variable = match &settings.api_key_env {
        Some(variable) => variable.as_str(),
        None if address.trim_end_matches('/') == OPENAI_BASE => OPENAI_KEY,
        None => return Ok(None),
    };
    match Secret::from_env(variable) {
        Some(key) => Ok(Some(key)),
        None => Err(ConnectError::MissingKey {
            lm: settings.name.clone(),
            variable: variable.to_owned(),
            base: address.to_owned(),
        }),
    }
}
