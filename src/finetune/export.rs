//! `provider = "export"`: the training file is all that is wanted.

use super::{Order, Provider, ProviderError, Recipe, StartError, Trained, Training, TrainingId};
use async_trait::async_trait;

/// Trains nothing: the student keeps its model and the user trains on the file.
pub(super) struct Export;

#[async_trait]
impl Provider for Export {
    fn chosen_id(&self, order: &Order<'_>) -> Option<TrainingId> {
        Some(TrainingId(format!("export-{}", order.key)))
    }

    async fn preflight(&self, _: &Recipe) -> Result<Vec<String>, ProviderError> {
        Ok(Vec::new())
    }

    async fn find(&self, order: &Order<'_>) -> Result<Option<TrainingId>, ProviderError> {
        Ok(self.chosen_id(order))
    }

    async fn start(&self, order: &Order<'_>) -> Result<TrainingId, StartError> {
        Ok(TrainingId(format!("export-{}", order.key)))
    }

    async fn poll(&self, _: &TrainingId, _: &Order<'_>) -> Result<Training, ProviderError> {
        Ok(Training::Succeeded(Trained::default()))
    }

    async fn cancel(&self, _: &TrainingId, _: &Order<'_>) -> Result<(), ProviderError> {
        Ok(())
    }

    async fn tidy(&self, _: &TrainingId, _: &Order<'_>) -> Result<(), ProviderError> {
        Ok(())
    }
}
