//! The providers that a worker has, by what a recipe asks for.

use super::command::{CommandProvider, Trainers, UnfinishedTraining, unfinished};
use super::{Provider, ProviderSpec, TrainingSpec, export, fireworks, openai, simulated, together};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How long a provider may take to show a training whose start it did not answer. Longer than a request may be under way.
const VISIBILITY_DELAY: Duration = Duration::from_secs(60);

/// A worker's providers.
#[derive(Clone, Default)]
pub struct Providers {
    /// Trains everything, whatever recipes say.
    only: Option<Arc<dyn Provider>>,
    visibility_delay: Option<Duration>,
    trainers: Option<Arc<Trainers>>,
}

/// This worker cannot carry out the recipe; another one may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

impl Providers {
    /// The providers of a worker that has these trainers.
    pub fn new(trainers: Option<Arc<Trainers>>) -> Providers {
        Providers {
            trainers,
            ..Providers::default()
        }
    }

    /// Everything is trained by that provider, whatever recipes say: for a provider of one's own.
    pub fn only(provider: Arc<dyn Provider>) -> Providers {
        Providers {
            only: Some(provider),
            ..Providers::default()
        }
    }

    /// Gives a provider that long to show a training whose start it did not answer; otherwise it is a minute.
    pub fn with_visibility_delay(self, visibility_delay: Duration) -> Providers {
        Providers {
            visibility_delay: Some(visibility_delay),
            ..self
        }
    }

    /// How long a provider may take to show a training whose start it did not answer.
    pub fn visibility_delay(&self) -> Duration {
        self.visibility_delay.unwrap_or(VISIBILITY_DELAY)
    }

    /// How long nobody may have looked after a training on another machine before it is started anew on this one.
    pub fn take_over(&self) -> Duration {
        self.trainers
            .as_ref()
            .map_or(Duration::MAX, |trainers| trainers.take_over())
    }

    /// Trainings on this machine that go on at once.
    pub fn at_once(&self) -> usize {
        self.trainers.as_ref().map_or(1, |trainers| trainers.at_once())
    }

    /// Trainings that earlier processes have left behind on this machine.
    pub fn unfinished(&self) -> Vec<UnfinishedTraining> {
        let dirs = self.trainers.iter().map(|trainers| trainers.dir());
        dirs.flat_map(unfinished).collect()
    }

    /// The names of the trainers of this machine.
    pub fn trainers(&self) -> Vec<String> {
        let names = self.trainers.iter().flat_map(|trainers| trainers.names());
        names.map(str::to_owned).collect()
    }

    /// The provider of that recipe.
    pub fn get(&self, recipe: &TrainingSpec) -> Result<Arc<dyn Provider>, Unavailable> {
        if let Some(provider) = &self.only {
            return Ok(Arc::clone(provider));
        }
        match &recipe.provider {
            ProviderSpec::Export(_) => Ok(Arc::new(export::ExportProvider)),
            ProviderSpec::Simulated => Ok(Arc::new(simulated::SimulatedProvider)),
            ProviderSpec::Openai(spec) => Ok(Arc::new(openai::OpenAiProvider::new(spec)?)),
            ProviderSpec::Together(spec) => Ok(Arc::new(together::TogetherProvider::new(spec)?)),
            ProviderSpec::Fireworks(spec) => Ok(Arc::new(fireworks::FireworksProvider::new(spec)?)),
            ProviderSpec::Command(spec) => match &self.trainers {
                Some(trainers) => Ok(Arc::new(CommandProvider::new(trainers, spec)?)),
                None => Err(Unavailable(format!(
                    "this worker has no trainer `{}`: start it with --trainers FILE",
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
