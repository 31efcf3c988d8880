//! The request that creates a fine-tune job, with the SDK's defaults for unset keys.

use crate::finetune::{ProviderError, TrainingRequest, TrainingSpec};
use serde_json::{Map, Value as Json, json};

/// A default of the SDK.
type Usual = fn() -> Json;

/// Keys that are copied into the request, each with the SDK's default. The SDK always sends keys that have a default.
const PLAIN: [(&str, Option<Usual>); 16] = [
    ("n_epochs", Some(|| json!(1))),
    ("batch_size", Some(|| json!("max"))),
    ("learning_rate", Some(|| json!(1e-5))),
    ("warmup_ratio", Some(|| json!(0.0))),
    ("max_grad_norm", Some(|| json!(1.0))),
    ("weight_decay", Some(|| json!(0.0))),
    ("packing", Some(|| json!(true))),
    ("n_checkpoints", Some(|| json!(1))),
    ("max_seq_length", None),
    ("gradient_accumulation_steps", None),
    ("random_seed", None),
    ("early_stopping_enabled", None),
    ("early_stopping_patience", None),
    ("early_stopping_min_delta", None),
    ("early_stopping_warmup_evals", None),
    ("wandb_project_name", None),
];

/// The largest seed that is sent: it fits a signed 32-bit integer.
const LARGEST_SEED: u64 = i32::MAX as u64;

/// Rejects `extra.suffix`, because a job is found again by its suffix.
pub(super) fn check_extra(extra: &Map<String, Json>) -> Result<(), ProviderError> {
    if extra.contains_key("suffix") {
        Err(ProviderError::Refused(
            "extra.suffix would hide the job from us: write suffix = \"…\" beside extra".to_owned(),
        ))
    } else {
        Ok(())
    }
}

/// The ids of the uploaded files.
pub(super) struct Files {
    pub(super) training: String,
    pub(super) validation: Option<String>,
}

/// Whether the job file requests LoRA (true) or full training (false). `None` if the service decides.
pub(super) fn wants_lora(recipe: &TrainingSpec) -> Option<bool> {
    let wanted = recipe.train.get("lora").and_then(Json::as_bool);
    let details = ["lora_r", "lora_alpha", "lora_dropout", "lora_trainable_modules"];
    wanted.or_else(|| {
        details
            .iter()
            .any(|key| recipe.train.contains_key(*key))
            .then_some(true)
    })
}

/// The body. `rank` is the model's default LoRA rank, if it is needed.
pub(super) fn body(
    order: &TrainingRequest<'_>,
    model: &str,
    suffix: &str,
    files: &Files,
    rank: Option<u64>,
) -> Json {
    let recipe = &order.shard.recipe;
    let train = &recipe.train;
    let mut body = Map::new();
    body.insert("model".to_owned(), json!(model));
    body.insert("training_file".to_owned(), json!(files.training));
    for (key, usual) in PLAIN {
        if let Some(value) = train.get(key).cloned().or_else(|| usual.map(|usual| usual())) {
            body.insert(key.to_owned(), value);
        }
    }
    body.entry("random_seed")
        .or_insert_with(|| json!(recipe.seed & LARGEST_SEED));
    // With validation rows there is at least one evaluation.
    let evals = match &files.validation {
        None => json!(0),
        Some(file) => {
            body.insert("validation_file".to_owned(), json!(file));
            train.get("n_evals").cloned().unwrap_or_else(|| json!(1))
        }
    };
    body.insert("n_evals".to_owned(), evals);
    body.insert("suffix".to_owned(), json!(suffix));
    body.insert("lr_scheduler".to_owned(), scheduler(train));
    body.insert("training_method".to_owned(), method(train));
    if let Some(kind) = training_type(recipe, rank) {
        body.insert("training_type".to_owned(), kind);
    }
    Json::Object(body)
}

/// The training method: which messages the loss includes.
pub(super) fn method(train: &Map<String, Json>) -> Json {
    let inputs = train.get("train_on_inputs").cloned();
    json!({"method": "sft", "train_on_inputs": inputs.unwrap_or_else(|| json!("auto"))})
}

fn scheduler(train: &Map<String, Json>) -> Json {
    let or = |key: &str, usual: Json| train.get(key).cloned().unwrap_or(usual);
    let kind = or("lr_scheduler_type", json!("cosine"));
    let mut arguments = json!({"min_lr_ratio": or("min_lr_ratio", json!(0.0))});
    if kind == "cosine" {
        arguments["num_cycles"] = or("scheduler_num_cycles", json!(0.5));
    }
    json!({"lr_scheduler_type": kind, "lr_scheduler_args": arguments})
}

/// LoRA or full training. `None` if the service decides.
pub(super) fn training_type(recipe: &TrainingSpec, rank: Option<u64>) -> Option<Json> {
    let number = |key: &str| recipe.train.get(key).and_then(Json::as_u64);
    if !wants_lora(recipe)? {
        return Some(json!({"type": "Full"}));
    }
    let rank = number("lora_r").or(rank)?;
    let or = |key: &str, usual: Json| recipe.train.get(key).cloned().unwrap_or(usual);
    Some(json!({
        "type": "Lora",
        "lora_r": rank,
        "lora_alpha": number("lora_alpha").unwrap_or(rank.saturating_mul(2)),
        "lora_dropout": or("lora_dropout", json!(0.0)),
        "lora_trainable_modules": or("lora_trainable_modules", json!("all-linear")),
    }))
}
