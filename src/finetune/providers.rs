//! The providers of a worker: constructs the provider that a training's settings name.

use super::command::{CommandProvider, Trainers, UnfinishedTraining, unfinished};
use super::{
    Provider, ProviderSpec, TrainingSpec, Unavailable, export, fireworks, openai, simulated, together,
};
use crate::key_ring::KeyRing;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a provider may take to list a training after an unanswered start. Longer than a request can take.
const VISIBILITY_DELAY: Duration = Duration::from_secs(60);

/// A worker's providers.
#[derive(Clone)]
pub struct Providers {
    /// Replaces every provider.
    only: Option<Arc<dyn Provider>>,
    visibility_delay: Option<Duration>,
    trainers: Option<Arc<Trainers>>,
    keys: Arc<KeyRing>,
}

impl Providers {
    /// The providers of a worker with these trainers and keys.
    pub fn new(trainers: Option<Arc<Trainers>>, keys: Arc<KeyRing>) -> Providers {
        Providers {
            only: None,
            visibility_delay: None,
            trainers,
            keys,
        }
    }

    /// Uses this provider for every training, for embedding and tests.
    pub fn only(provider: Arc<dyn Provider>) -> Providers {
        Providers {
            only: Some(provider),
            ..Providers::new(None, Arc::new(KeyRing::well_known()))
        }
    }

    /// Sets the visibility delay; the default is one minute.
    pub fn with_visibility_delay(self, visibility_delay: Duration) -> Providers {
        Providers {
            visibility_delay: Some(visibility_delay),
            ..self
        }
    }

    /// How long a provider may take to list a training after an unanswered start.
    pub fn visibility_delay(&self) -> Duration {
        self.visibility_delay.unwrap_or(VISIBILITY_DELAY)
    }

    /// How long a training on another machine may be unsupervised before it is restarted on this one.
    pub fn take_over(&self) -> Duration {
        self.trainers
            .as_ref()
            .map_or(Duration::MAX, |trainers| trainers.take_over())
    }

    /// The maximum number of concurrent trainings on this machine.
    pub fn at_once(&self) -> usize {
        self.trainers.as_ref().map_or(1, |trainers| trainers.at_once())
    }

    /// The trainings that earlier processes started on this machine and did not clean up.
    pub fn unfinished(&self) -> Vec<UnfinishedTraining> {
        let dirs = self.trainers.iter().map(|trainers| trainers.dir());
        dirs.flat_map(unfinished).collect()
    }

    /// The names of this machine's trainers.
    pub fn trainers(&self) -> Vec<String> {
        let names = self.trainers.iter().flat_map(|trainers| trainers.names());
        names.map(str::to_owned).collect()
    }

    /// The provider for these settings. [`Unavailable`] when this worker lacks the key or the trainer, or does not allow the key.
    pub fn get(&self, recipe: &TrainingSpec) -> Result<Arc<dyn Provider>, Unavailable> {
        if let Some(provider) = &self.only {
            return Ok(Arc::clone(provider));
        }
        match &recipe.provider {
            ProviderSpec::Export(_) => Ok(Arc::new(export::ExportProvider)),
            ProviderSpec::Simulated => Ok(Arc::new(simulated::SimulatedProvider)),
            ProviderSpec::Openai(spec) => Ok(Arc::new(openai::OpenAiProvider::new(spec, &self.keys)?)),
            ProviderSpec::Together(spec) => Ok(Arc::new(together::TogetherProvider::new(spec, &self.keys)?)),
            ProviderSpec::Fireworks(spec) => {
                Ok(Arc::new(fireworks::FireworksProvider::new(spec, &self.keys)?))
            }
            ProviderSpec::Command(spec) => match &self.trainers {
                Some(trainers) => Ok(Arc::new(CommandProvider::new(trainers, spec)?)),
                None => Err(Unavailable(format!(
                    "this worker has no trainer `{}`: start its process with --trainers FILE that defines it",
                    spec.trainer
                ))),
            },
        }
    }
}

impl fmt::Debug for Providers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Providers").finish_non_exhaustive()
    }
}
