//! `provider = "simulated"`: a training that takes no time and whose model is named after the training file.

use super::{Order, Provider, ProviderError, Recipe, StartError, Trained, Training, TrainingId};
use async_trait::async_trait;

/// Trains nothing and says that it did.
pub(super) struct Simulated;

/// How much of the file's digest a model's name carries.
const DIGEST_CHARS: usize = 16;

#[async_trait]
impl Provider for Simulated {
    fn chosen_id(&self, order: &Order<'_>) -> Option<TrainingId> {
        Some(TrainingId(format!("simulated-{}", order.key)))
    }

    async fn preflight(&self, _: &Recipe) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn find(&self, order: &Order<'_>) -> Result<Option<TrainingId>, ProviderError> {
        Ok(self.chosen_id(order))
    }

    async fn start(&self, order: &Order<'_>) -> Result<TrainingId, StartError> {
        Ok(TrainingId(format!("simulated-{}", order.key)))
    }

    async fn poll(&self, _: &TrainingId, order: &Order<'_>) -> Result<Training, ProviderError> {
        let recipe = &order.shard.recipe;
        let base = recipe
            .model
            .split_once('/')
            .map_or(recipe.model.as_str(), |(_, name)| name);
        let sha256 = &order.shard.data.sha256;
        let digest = sha256.get(..DIGEST_CHARS).unwrap_or(sha256);
        Ok(Training::Succeeded(Trained {
            model: Some(format!("simulated/ft:{base}:{digest}")),
            ..Trained::default()
        }))
    }

    async fn cancel(&self, _: &TrainingId, _: &Order<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn tidy(&self, _: &TrainingId, _: &Order<'_>) -> Result<(), ProviderError> {
        Ok(())
    }
}
