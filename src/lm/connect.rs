//! Connects the LM that a job's `model` names.

use super::openai::OpenAi;
use super::simulated::SimulatedLm;
use super::{ConnectError, Lm, LmSettings, OPENAI_BASE};
use crate::key_ring::{Access, KeyError, KeyRing};
use crate::metrics::Metrics;
use std::sync::Arc;

/// Returns the client of the LM that `settings.model` names, with its counters in `metrics`. Takes the API key from `keys`, and opens no
/// connection.
///
/// # Errors
///
/// Returns [`ConnectError`] if the settings name no usable LM, or if the key is missing or not allowed.
pub fn connect(
    settings: &LmSettings,
    job_seed: u64,
    keys: &KeyRing,
    metrics: &Metrics,
) -> Result<Arc<dyn Lm>, ConnectError> {
    match settings.model.split_once('/') {
        Some(("simulated", _)) => Ok(Arc::new(SimulatedLm::new(
            settings,
            job_seed,
            settings.metrics(metrics),
        ))),
        Some(("openai" | "hosted_vllm", name)) if !name.is_empty() => {
            let access = access(settings, keys)?;
            Ok(Arc::new(OpenAi::new(
                settings,
                access,
                settings.metrics(metrics),
            )?))
        }
        _ => Err(ConnectError::UnknownModel {
            lm: settings.name.clone(),
            model: settings.model.clone(),
        }),
    }
}

/// What the client may use at the LM's address. A variable that the job file names must be set, even if the address needs no key.
fn access(settings: &LmSettings, keys: &KeyRing) -> Result<Access, ConnectError> {
    let base = settings.api_base.as_deref().unwrap_or(OPENAI_BASE);
    let lm = || settings.name.clone();
    match keys.access(settings.key_variable(), base, None) {
        Ok(access) => Ok(access),
        Err(KeyError::Unset { variable, address }) => Err(ConnectError::MissingKey {
            lm: lm(),
            variable,
            base: address,
        }),
        Err(KeyError::Unreadable(error)) => Err(ConnectError::Key { lm: lm(), error }),
        Err(KeyError::NotAllowed(reason)) => Err(ConnectError::KeyNotAllowed { lm: lm(), reason }),
    }
}
