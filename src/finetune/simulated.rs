//! `provider = "simulated"`: a training that ends at once; its model is named after the training file's digest.

use super::{
    Provider, ProviderError, StartError, TrainingId, TrainingRequest, TrainingResult, TrainingSpec,
    TrainingState,
};
use async_trait::async_trait;

/// Trains nothing and reports success.
pub(super) struct SimulatedProvider;

/// How many characters of the file's digest the model name contains.
const DIGEST_CHARS: usize = 16;

#[async_trait]
impl Provider for SimulatedProvider {
    fn deterministic_id(&self, order: &TrainingRequest<'_>) -> Option<TrainingId> {
        Some(TrainingId(format!("simulated-{}", order.key)))
    }

    async fn preflight(&self, _: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        Ok(self.deterministic_id(order))
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        Ok(TrainingId(format!("simulated-{}", order.key)))
    }

    async fn poll(
        &self,
        _: &TrainingId,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingState, ProviderError> {
        let recipe = &order.shard.recipe;
        let base = recipe
            .model
            .split_once('/')
            .map_or(recipe.model.as_str(), |(_, name)| name);
        let sha256 = &order.shard.data.sha256;
        let digest = sha256.get(..DIGEST_CHARS).unwrap_or(sha256);
        Ok(TrainingState::Succeeded(TrainingResult {
            model: Some(format!("simulated/ft:{base}:{digest}")),
            ..TrainingResult::default()
        }))
    }

    async fn cancel(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn cleanup(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        Ok(())
    }
}
