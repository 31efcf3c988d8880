//! `provider = "export"`: the training file is all that is wanted.

use super::{Provider, ProviderError, Shard, Trained, Training, TrainingId};
use async_trait::async_trait;

/// Trains nothing: the student keeps its model and the user trains on the file.
pub(super) struct Export;

#[async_trait]
impl Provider for Export {
    async fn find_or_start(&self, intent: &str, _shard: &Shard) -> Result<TrainingId, ProviderError> {
        Ok(TrainingId(format!("export-{intent}")))
    }

    async fn poll(&self, _id: &TrainingId, _shard: &Shard) -> Result<Training, ProviderError> {
        Ok(Training::Succeeded(Trained {
            model: None,
            api_base: None,
        }))
    }
}
