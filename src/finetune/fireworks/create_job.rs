//! The request that creates a supervised fine-tuning job.

use super::resource_names::{base_model, job_id};
use crate::finetune::train_keys::{Allowed, TrainKey};
use crate::finetune::{FireworksSpec, TrainingRequest};
use serde_json::{Map, Value as Json, json};

/// What `train` may say, by the names of the SDK's `supervised_fine_tuning_jobs.create`, and how the wire spells it.
const KEYS: [(&str, &str, Allowed); 14] = [
    ("epochs", "epochs", Allowed::Whole(1)),
    ("learning_rate", "learningRate", Allowed::Positive),
    (
        "learning_rate_warmup_steps",
        "learningRateWarmupSteps",
        Allowed::Whole(0),
    ),
    ("lora_rank", "loraRank", Allowed::Whole(1)),
    ("batch_size", "batchSize", Allowed::Whole(1)),
    ("batch_size_samples", "batchSizeSamples", Allowed::Whole(1)),
    (
        "gradient_accumulation_steps",
        "gradientAccumulationSteps",
        Allowed::Whole(1),
    ),
    ("max_context_length", "maxContextLength", Allowed::Whole(1)),
    (
        "optimizer_weight_decay",
        "optimizerWeightDecay",
        Allowed::AtLeast(0.0),
    ),
    ("early_stop", "earlyStop", Allowed::Flag),
    ("eval_auto_carveout", "evalAutoCarveout", Allowed::Flag),
    ("is_turbo", "isTurbo", Allowed::Flag),
    ("nodes", "nodes", Allowed::Whole(1)),
    ("jinja_template", "jinjaTemplate", Allowed::Text),
];

/// What `train` may say.
pub(in crate::finetune) fn train_keys() -> [TrainKey; 14] {
    KEYS.map(|(name, _, allowed)| (name, allowed))
}

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
    for (key, wire, _) in KEYS {
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
