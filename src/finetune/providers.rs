//! The providers that a worker has, by what a recipe asks for.

use super::{Provider, ProviderSpec, Recipe, export, simulated};
use std::time::Duration;

/// How long nobody may have looked after a training on another machine before it is started anew on this one: longer than a machine takes
/// to come back.
const TAKE_OVER: Duration = Duration::from_secs(600);

/// Trainings on this machine that go on at once: they share its accelerators and its memory.
const AT_ONCE: usize = 1;

/// A worker's providers.
#[derive(Clone, Debug, Default)]
pub struct Providers {}

/// This worker cannot carry out the recipe; another one may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotHere(pub String);

impl Providers {
    /// How long nobody may have looked after a training on another machine before it is started anew on this one.
    pub fn take_over(&self) -> Duration {
        TAKE_OVER
    }

    /// Trainings on this machine that go on at once.
    pub fn at_once(&self) -> usize {
        AT_ONCE
    }

    /// The provider of that recipe.
    pub fn get(&self, recipe: &Recipe) -> Result<Box<dyn Provider>, NotHere> {
        match &recipe.provider {
            ProviderSpec::Export(_) => Ok(Box::new(export::Export)),
            ProviderSpec::Simulated => Ok(Box::new(simulated::Simulated)),
            other => Err(NotHere(format!(
                "provider {} is not known to this worker",
                other.name()
            ))),
        }
    }
}
