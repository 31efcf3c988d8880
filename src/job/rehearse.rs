//! Rehearsal: the same job with simulated LMs and trainings, so that it costs nothing.

use super::{FinetuneSpec, Job, JobSpec};
use crate::finetune::ProviderSpec;
use crate::lm::Simulation;

/// How often an answer of a rehearsed LM does not parse, and how often a first request fails.
const ROUGHNESS: f64 = 0.02;

impl JobSpec {
    /// The job with every LM simulated, without servers and keys.
    ///
    /// An LM without its own `simulate` table fails now and then, so that failures are rehearsed, too.
    pub fn rehearsed(mut self) -> JobSpec {
        for lm in self.lms.values_mut() {
            if !lm.model.starts_with("simulated/") {
                let model = lm
                    .model
                    .split_once('/')
                    .map_or(lm.model.as_str(), |(_, model)| model);
                lm.model = format!("simulated/{model}");
            }
            (lm.api_base, lm.api_key_env, lm.account) = (None, None, None);
            lm.more_endpoints.clear();
            if lm.simulate == Simulation::default() {
                lm.simulate.malformed_rate = ROUGHNESS;
                lm.simulate.error_rate = ROUGHNESS;
            }
        }
        // No provider limits a simulated LM.
        self.accounts.clear();
        self
    }
}

impl Job {
    /// Makes the job a rehearsal: LMs as in [`JobSpec::rehearsed`], and the provider `simulated` for every training.
    pub fn rehearse(&mut self) {
        self.spec = self.spec.clone().rehearsed();
        for FinetuneSpec { provider, .. } in self.finetune.values_mut() {
            *provider = ProviderSpec::Simulated;
        }
    }
}
