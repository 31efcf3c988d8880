//! The configuration for LLaMA-Factory: `llamafactory-cli train`.

use super::yaml::{Yaml, number};
use super::{Trainable, TrainerArguments};
use crate::finetune::DataPart;
use serde_json::{Map, Value as Json, json};

/// `KEY.llamafactory.yaml`.
pub(super) fn config(key: &Trainable) -> String {
    let arguments = TrainerArguments::from_train(&key.recipe.train);
    let head = key.head(
        "llamafactory",
        "llamafactory-cli train",
        "`pip install llamafactory`",
        &arguments,
    );
    let mut yaml = Yaml(head);
    yaml.plain("stage", "sft");
    yaml.plain("do_train", true);
    yaml.text("model_name_or_path", key.recipe.base_model());
    yaml.comment("The model's own chat template is used; to name another: template: qwen3");
    yaml.plain("dataset_dir", ".");
    yaml.text("dataset", &key.dataset(DataPart::Training));
    if key.has_validation {
        yaml.text("eval_dataset", &key.dataset(DataPart::Validation));
        yaml.plain("eval_strategy", "epoch");
        yaml.plain("per_device_eval_batch_size", arguments.batch_size);
    }
    yaml.comment("Only the last answer of a row is learned.");
    yaml.plain("mask_history", true);
    yaml.comment(&key.length_comment(&arguments));
    yaml.plain("cutoff_len", key.length(&arguments));
    yaml.plain("num_train_epochs", number(arguments.epochs));
    yaml.plain("learning_rate", number(arguments.learning_rate));
    yaml.plain("per_device_train_batch_size", arguments.batch_size);
    yaml.plain("gradient_accumulation_steps", arguments.accumulation);
    if let Some(steps) = arguments.warmup_steps {
        yaml.plain("warmup_steps", steps);
    }
    if let Some(decay) = arguments.weight_decay {
        yaml.plain("weight_decay", number(decay));
    }
    match arguments.lora {
        Some(lora) => {
            yaml.plain("finetuning_type", "lora");
            yaml.plain("lora_rank", lora.rank);
            yaml.plain("lora_alpha", lora.alpha);
            yaml.plain("lora_dropout", number(lora.dropout));
            yaml.plain("lora_target", "all");
        }
        None => drop(yaml.plain("finetuning_type", "full")),
    }
    yaml.plain("bf16", true);
    yaml.plain("seed", super::seed(&key.recipe));
    yaml.text("output_dir", &key.output("llamafactory"));
    yaml.text("save_strategy", "no");
    yaml.text("report_to", "none");
    yaml.plain("logging_steps", 10);
    yaml.0
}

/// `dataset_info.json`: the files of all keys, by the names that configurations call them.
pub(super) fn dataset_info(keys: &[Trainable]) -> String {
    let mut sets = Map::new();
    for key in keys {
        sets.insert(
            key.dataset(DataPart::Training),
            set(&key.file(DataPart::Training, None)),
        );
        if key.has_validation {
            sets.insert(
                key.dataset(DataPart::Validation),
                set(&key.file(DataPart::Validation, None)),
            );
        }
    }
    format!("{:#}\n", Json::Object(sets))
}

fn set(file: &str) -> Json {
    json!({
        "file_name": file,
        "formatting": "sharegpt",
        "columns": {"messages": "messages"},
        "tags": {
            "role_tag": "role",
            "content_tag": "content",
            "user_tag": "user",
            "assistant_tag": "assistant",
            "system_tag": "system",
        },
    })
}
