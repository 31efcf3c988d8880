//! Tests that read the configurations back. TRL 1.16, axolotl 0.19 and LLaMA-Factory 0.9.5 were verified to accept them.

use super::*;
use crate::finetune::{ExportSpec, ProviderSpec};
use serde_json::{Value as Json, json};

fn key(name: &str, has_validation: bool, train: Json) -> Trainable {
    Trainable {
        key: name.to_owned(),
        recipe: TrainingSpec {
            job: "j".to_owned(),
            lm: name.to_owned(),
            predictor: None,
            model: "openai/Qwen/Qwen3-0.6B".to_owned(),
            seed: (1 << 32) + 5,
            train: train.as_object().expect("a table").clone(),
            provider: ProviderSpec::Export(ExportSpec::default()),
        },
        has_validation,
        longest_tokens: 100,
        room: 449,
    }
}

fn config_file(keys: &[Trainable], name: &str) -> String {
    let files = configs(keys);
    let found = files.iter().find(|(file, _)| file == name);
    found.unwrap_or_else(|| panic!("no {name}")).1.clone()
}

/// The value of a key at the start of a line.
fn value(text: &str, key: &str) -> String {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key} in\n{text}")).to_owned()
}

#[test]
fn configs_translate_train_keys_for_every_trainer() {
    let train = json!({"n_epochs": 2, "learning_rate": 1e-5, "batch_size": 8, "lora": {"r": 4, "alpha": 8, "dropout": 0}});
    let keys = [key("student", false, train)];
    let expected = [
        (
            "trl",
            "model_name_or_path",
            "num_train_epochs",
            "per_device_train_batch_size",
            "lora_r",
            "max_length",
        ),
        (
            "axolotl",
            "base_model",
            "num_epochs",
            "micro_batch_size",
            "lora_r",
            "sequence_len",
        ),
        (
            "llamafactory",
            "model_name_or_path",
            "num_train_epochs",
            "per_device_train_batch_size",
            "lora_rank",
            "cutoff_len",
        ),
    ];
    for (trainer, model, epochs, batch, rank, length) in expected {
        let text = config_file(&keys, &format!("student.{trainer}.yaml"));
        assert_eq!(value(&text, model), "\"Qwen/Qwen3-0.6B\"");
        assert_eq!(value(&text, epochs), "2.0");
        assert_eq!(value(&text, batch), "8");
        assert_eq!(value(&text, rank), "4");
        assert_eq!(value(&text, "lora_alpha"), "8");
        assert_eq!(value(&text, "lora_dropout"), "0.0");
        assert_eq!(value(&text, "learning_rate"), "0.00001");
        assert_eq!(value(&text, length), "512");
        assert_eq!(value(&text, "seed"), "5");
    }
}

#[test]
fn configs_evaluate_on_validation_rows() {
    let keys = [key("a", true, json!({})), key("b", false, json!({}))];
    assert_eq!(value(&config_file(&keys, "a.trl.yaml"), "eval_strategy"), "epoch");
    assert!(!config_file(&keys, "b.trl.yaml").contains("eval"));
    let card = config_file(&keys, "README.md");
    assert!(
        card.contains("\"a.validation.prompt_completion.jsonl\""),
        "{card}"
    );
    assert!(!card.contains("b.validation"), "{card}");
    assert!(config_file(&keys, "a.axolotl.yaml").contains("test_datasets:"));
    assert_eq!(
        value(&config_file(&keys, "a.axolotl.yaml"), "eval_strategy"),
        "epoch"
    );
    assert!(!config_file(&keys, "b.axolotl.yaml").contains("test_datasets:"));
    assert_eq!(
        value(&config_file(&keys, "a.llamafactory.yaml"), "eval_dataset"),
        "\"a.validation\""
    );
    let info: Json = serde_json::from_str(&config_file(&keys, "dataset_info.json")).expect("JSON");
    let names: Vec<&String> = info.as_object().expect("an object").keys().collect();
    assert_eq!(names, ["a", "a.validation", "b"]);
    assert_eq!(info["a.validation"]["file_name"], "a.validation.jsonl");
}

#[test]
fn dataset_card_needs_validation_rows() {
    assert!(
        configs(&[key("a", false, json!({}))])
            .iter()
            .all(|(name, _)| name != "README.md")
    );
    assert!(configs(&[]).is_empty());
}

#[test]
fn special_names_are_quoted_for_shell_and_yaml() {
    let keys = [key("it's, \"naïve\" 🦀", true, json!({"o\nps": 1}))];
    let text = config_file(&keys, "it's, \"naïve\" 🦀.trl.yaml");
    assert_eq!(
        value(&text, "dataset_config"),
        "\"it%27s%2C%20%22na%C3%AFve%22%20%F0%9F%A6%80\""
    );
    assert_eq!(
        value(&text, "output_dir"),
        r#""../trained/it's, \"na\u00EFve\" \U0001F980.trl""#
    );
    assert!(
        text.contains("#   trl sft --config 'it'\\''s, \"naïve\" 🦀.trl.yaml'\n"),
        "{text}"
    );
    assert_eq!(
        value(&text, "# Not taken over from the job's `train`"),
        r#""o\u000Aps""#
    );
}

#[test]
fn max_length_of_the_job_is_kept() {
    let text = config_file(&[key("a", false, json!({"max_length": 300}))], "a.trl.yaml");
    assert_eq!(value(&text, "max_length"), "300");
}

#[test]
fn is_config_recognises_its_files() {
    for (name, _) in configs(&[key("a.b@c", true, json!({}))]) {
        assert!(is_config(&name), "{name}");
    }
    for name in [
        "mine.yaml",
        "trl.yaml",
        "atrl.yaml",
        "a.trl.yml",
        "notes.md",
        "a.json",
    ] {
        assert!(!is_config(name), "{name}");
    }
}
