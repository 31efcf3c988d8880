//! The configuration for TRL (1.16 and later): `trl sft --config`.

use super::yaml::{Yaml, number, quoted};
use super::{Trainable, TrainerArguments};
use crate::finetune::{DataPart, RowFormat};
use std::fmt::Write as _;

/// The path of DIR's `data`, relative to itself. TRL does not accept `.` as the name of a data set.
const FOLDER: &str = "../data";

const ROWS: Option<RowFormat> = Some(RowFormat::PromptCompletion);

/// `KEY.trl.yaml`.
pub(super) fn config(key: &Trainable) -> String {
    let arguments = TrainerArguments::from_train(&key.recipe.train);
    let mut yaml = Yaml(key.head(
        "trl",
        "trl sft --config",
        "`pip install trl peft`, TRL 1.16 or later",
        &arguments,
    ));
    yaml.text("model_name_or_path", key.recipe.base_model());
    if key.has_validation {
        yaml.comment("Which files these are is in README.md.");
        yaml.plain("dataset_name", FOLDER);
        yaml.text("dataset_config", &key.dataset(DataPart::Training));
        yaml.plain("eval_strategy", "epoch");
        yaml.plain("per_device_eval_batch_size", arguments.batch_size);
    } else {
        yaml.heading("datasets");
        yaml.plain("  - path", "json");
        yaml.text("    data_files", &key.file(DataPart::Training, ROWS));
        yaml.plain("    split", "train");
    }
    yaml.comment("Only the completions are learned.");
    yaml.plain("completion_only_loss", true);
    yaml.comment(&key.length_comment(&arguments));
    yaml.plain("max_length", key.length(&arguments));
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
    if let Some(lora) = arguments.lora {
        yaml.plain("use_peft", true);
        yaml.plain("lora_r", lora.rank);
        yaml.plain("lora_alpha", lora.alpha);
        yaml.plain("lora_dropout", number(lora.dropout));
        yaml.plain("lora_target_modules", "all-linear");
    }
    yaml.plain("seed", super::seed(&key.recipe));
    yaml.text("output_dir", &key.output("trl"));
    yaml.text("save_strategy", "no");
    yaml.text("report_to", "none");
    yaml.0
}

/// `README.md`: the files of each split, in the form that Hugging Face's `datasets` reads.
pub(super) fn dataset_card(keys: &[Trainable]) -> String {
    let mut card = String::from("---\nconfigs:\n");
    for key in keys {
        // Writing to a String cannot fail.
        let _ = writeln!(
            card,
            "- config_name: {}\n  data_files:",
            quoted(&key.dataset(DataPart::Training))
        );
        let parts = [("train", DataPart::Training), ("test", DataPart::Validation)];
        for (split, part) in parts.into_iter().take(if key.has_validation { 2 } else { 1 }) {
            let _ = writeln!(
                card,
                "  - split: {split}\n    path: {}",
                quoted(&key.file(part, ROWS))
            );
        }
    }
    card.push_str("---\n\nTraining rows. Every compile overwrites them.\n");
    card
}
