//! The request that creates a supervised fine-tuning job.

use super::resource_names::{base_model, job_id};
use crate::finetune::train_keys::FIREWORKS_KEYS;
use crate::finetune::{FireworksSpec, TrainingRequest};
use serde_json::{Map, Value as Json, json};

/// The body, with the datasets' full names. Without `outputModel`, the model has the id of the job.
pub(super) fn body(
    order: &TrainingRequest<'_>,
    spec: &FireworksSpec,
    dataset: String,
    validation: Option<String>,
) -> Json {
    let recipe = &order.shard.recipe;
    let mut body = Map::new();
    body.insert("dataset".to_owned(), json!(dataset));
    if let Some(validation) = validation {
        body.insert("evaluationDataset".to_owned(), json!(validation));
    }
    body.insert("displayName".to_owned(), json!(job_id(order, spec)));
    for (key, wire, _) in FIREWORKS_KEYS {
        if let Some(value) = recipe.train.get(key) {
            body.insert(wire.to_owned(), value.clone());
        }
    }
    // The service rejects a request with both an adapter to continue and a base model.
    if !spec.service.extra.contains_key("warmStartFrom") {
        body.insert("baseModel".to_owned(), json!(base_model(recipe)));
    }
    body.extend(spec.service.extra.clone());
    Json::Object(body)
}
