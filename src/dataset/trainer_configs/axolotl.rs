//! The configuration for axolotl: `axolotl train`.

use super::yaml::{Yaml, number, quoted};
use super::{Trainable, TrainerArguments};
use crate::finetune::DataPart;

/// `KEY.axolotl.yaml`.
pub(super) fn config(key: &Trainable) -> String {
    let arguments = TrainerArguments::from_train(&key.recipe.train);
    let mut yaml = Yaml(key.head("axolotl", "axolotl train", "`pip install axolotl`", &arguments));
    yaml.text("base_model", key.recipe.base_model());
    yaml.comment("All answers are learned, those of demos, too; the model's own chat template is used.");
    files(&mut yaml, "datasets", &key.file(DataPart::Training, None));
    if key.has_validation {
        files(&mut yaml, "test_datasets", &key.file(DataPart::Validation, None));
        // Not `evals_per_epoch: 1`, which never measures where there is one epoch.
        yaml.plain("eval_strategy", "epoch");
        yaml.plain("eval_batch_size", arguments.batch_size);
    }
    yaml.plain("train_on_inputs", false);
    yaml.comment(&key.length_comment(&arguments));
    yaml.plain("sequence_len", key.length(&arguments));
    yaml.plain("excess_length_strategy", "raise");
    yaml.plain("sample_packing", false);
    yaml.plain("num_epochs", number(arguments.epochs));
    yaml.plain("learning_rate", number(arguments.learning_rate));
    yaml.plain("micro_batch_size", arguments.batch_size);
    yaml.plain("gradient_accumulation_steps", arguments.accumulation);
    if let Some(steps) = arguments.warmup_steps {
        yaml.plain("warmup_steps", steps);
    }
    if let Some(decay) = arguments.weight_decay {
        yaml.plain("weight_decay", number(decay));
    }
    if let Some(lora) = arguments.lora {
        yaml.plain("adapter", "lora");
        yaml.plain("lora_r", lora.rank);
        yaml.plain("lora_alpha", lora.alpha);
        yaml.plain("lora_dropout", number(lora.dropout));
        yaml.plain("lora_target_linear", true);
    }
    yaml.plain("bf16", "auto");
    yaml.plain("seed", super::seed(&key.recipe));
    yaml.text("output_dir", &key.output("axolotl"));
    yaml.text("dataset_prepared_path", &key.output("axolotl-prepared"));
    yaml.0
}

fn files(yaml: &mut Yaml, name: &str, file: &str) {
    yaml.heading(name);
    yaml.plain("  - path", quoted(file));
    yaml.plain("    ds_type", "json");
    yaml.plain("    split", "train");
    yaml.plain("    type", "chat_template");
    yaml.plain("    roles_to_train", "[assistant]");
}
