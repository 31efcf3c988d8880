//! The request that creates a supervised fine-tuning job.

use super::resource_names::{base_model, job_id};
use crate::finetune::train_keys::FIREWORKS_KEYS;
use crate::finetune::{FireworksSpec, TrainingRequest};
use serde_json::{Map, Value as Json, json};

/// The body; datasets by their full names. `outputModel` is left out: the model is then called as the job is.
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
    // Training goes on from an adapter, or starts from a whole model; the service refuses to be told both.
    if !spec.service.extra.contains_key("warmStartFrom") {
        body.insert("baseModel".to_owned(), json!(base_model(recipe)));
    }
    body.extend(spec.service.extra.clone());
    Json::Object(body)
}
