//! `provider = "export"`: writes the training files and trains nothing.

use super::{
    Provider, ProviderError, StartError, TrainingId, TrainingRequest, TrainingResult, TrainingSpec,
    TrainingState,
};
use async_trait::async_trait;

/// Trains nothing: the student keeps its model, and the user trains on the exported file.
pub(super) struct ExportProvider;

#[async_trait]
impl Provider for ExportProvider {
    fn deterministic_id(&self, order: &TrainingRequest<'_>) -> Option<TrainingId> {
        Some(TrainingId(format!("export-{}", order.key)))
    }

    async fn preflight(&self, _: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        Ok(self.deterministic_id(order))
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        Ok(TrainingId(format!("export-{}", order.key)))
    }

    async fn poll(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<TrainingState, ProviderError> {
        Ok(TrainingState::Succeeded(TrainingResult::default()))
    }

    async fn cancel(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn cleanup(&self, _: &TrainingId, _: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        Ok(())
    }
}
