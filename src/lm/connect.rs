//! Connects the LM that a job's `model` names.

use super::openai::OpenAi;
use super::simulated::SimulatedLm;
use super::{ConnectError, Lm, LmSettings, OPENAI_BASE};
use crate::metrics::Metrics;
use crate::secret::Secret;
use std::sync::Arc;

/// Returns the client of the LM that `settings.model` names, with its counters in `metrics`. Reads the API key from the environment or
/// its file, and opens no connection.
///
/// # Errors
///
/// Returns [`ConnectError`] if the settings name no usable LM, or if the key is missing.
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

/// The API key for the LM's address. A variable that the job file names must be set, even if the address needs no key.
fn key(settings: &LmSettings) -> Result<Option<Secret>, ConnectError> {
    let Some(variable) = settings.key_variable() else {
        return Ok(None);
    };
    let found = Secret::read(variable).map_err(|error| ConnectError::Key {
        lm: settings.name.clone(),
        error,
    })?;
    match found {
        Some(key) => Ok(Some(key)),
        None => Err(ConnectError::MissingKey {
            lm: settings.name.clone(),
            variable: variable.to_owned(),
            base: settings
                .api_base
                .clone()
                .unwrap_or_else(|| OPENAI_BASE.to_owned()),
        }),
    }
}
