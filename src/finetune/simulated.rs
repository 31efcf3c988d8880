//! `provider = "simulated"`: a training that takes no time and whose model is named after the training file.

use super::{Provider, ProviderError, Shard, Trained, Training, TrainingId};
use async_trait::async_trait;

/// Trains nothing and says that it did.
pub(super) struct Simulated;

/// How much of the file's digest a model's name carries.
const DIGEST_CHARS: usize = 16;

#[async_trait]
impl Provider for Simulated {
    async fn find_or_start(&self, intent: &str, _shard: &Shard) -> Result<TrainingId, ProviderError> {
        Ok(TrainingId(format!("simulated-{intent}")))
    }

    async fn poll(&self, _id: &TrainingId, shard: &Shard) -> Result<Training, ProviderError> {
        let base = shard
            .model
            .split_once('/')
            .map_or(shard.model.as_str(), |(_, name)| name);
        let digest = shard.sha256.get(..DIGEST_CHARS).unwrap_or(&shard.sha256);
        Ok(Training::Succeeded(Trained {
            model: Some(format!("simulated/ft:{base}:{digest}")),
            api_base: None,
        }))
    }
}
