//! The limits of a model, which the service reports before anything is uploaded.

use super::create_job;
use crate::finetune::{ProviderError, TrainingSpec};
use serde_json::Value as Json;

/// The model's name at Together, without the provider prefix of litellm and DSPy.
pub(super) fn base_model(recipe: &TrainingSpec) -> &str {
    let model = recipe.base_model();
    model.strip_prefix("together_ai/").unwrap_or(model)
}

/// Checks `train` against the model's limits. Limits that the service does not report are not checked.
pub(super) fn check(recipe: &TrainingSpec, limits: &Json) -> Result<(), ProviderError> {
    let is_lora = create_job::wants_lora(recipe) != Some(false);
    if !is_lora && limits["supports_full_training"] == false {
        let why = format!(
            "`{}` is trained with adapters only: leave out train.lora = false",
            base_model(recipe)
        );
        return Err(ProviderError::Refused(why));
    }
    let kind = &limits[if is_lora { "lora_training" } else { "full_training" }];
    let bounds = [
        ("n_epochs", &Json::Null, &limits["max_num_epochs"]),
        (
            "learning_rate",
            &limits["min_learning_rate"],
            &limits["max_learning_rate"],
        ),
        ("n_evals", &Json::Null, &limits["max_num_evals"]),
        ("n_checkpoints", &Json::Null, &limits["max_num_checkpoints"]),
        (
            "max_seq_length",
            &limits["min_max_seq_length"],
            &limits["max_seq_length_sft"],
        ),
        ("batch_size", &kind["min_batch_size"], &kind["max_batch_size"]),
        ("lora_r", &Json::Null, &kind["max_rank"]),
    ];
    for (key, least, most) in bounds {
        let Some(value) = recipe.train.get(key).and_then(Json::as_f64) else {
            continue;
        };
        let low = least.as_f64().is_some_and(|least| value < least);
        let high = most.as_f64().is_some_and(|most| value > most);
        if low || high {
            let bound = if low {
                format!("at least {least}")
            } else {
                format!("at most {most}")
            };
            let why = format!(
                "train.{key} = {value} cannot be for `{}`: write {bound}",
                base_model(recipe)
            );
            return Err(ProviderError::Refused(why));
        }
    }
    Ok(())
}
