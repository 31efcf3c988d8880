//! Resource names at Fireworks: `accounts/ACCOUNT/KIND/ID`, with ids derived from the idempotency key.

use crate::finetune::slug::slug;
use crate::finetune::{FireworksSpec, TrainingRequest, TrainingSpec};

/// The maximum length of an id, which has lower-case letters, digits and hyphens.
const LONGEST_ID: usize = 63;

/// How many characters of the key an id contains: all of them.
const KEY_CHARS: usize = 32;

/// The id of the job and its model. It always starts with a letter.
pub(super) fn job_id(order: &TrainingRequest<'_>, spec: &FireworksSpec) -> String {
    let recipe = &order.shard.recipe;
    let wanted = match &spec.service.suffix {
        Some(suffix) => suffix.clone(),
        None => format!("{}-{}", recipe.job, recipe.lm),
    };
    let start = if wanted.starts_with(|char: char| char.is_ascii_alphabetic()) {
        wanted
    } else {
        format!("ft-{wanted}")
    };
    let name = slug(&start, LONGEST_ID - KEY_CHARS - 1);
    format!("{name}-{}", slug(order.key, KEY_CHARS))
}

/// The ids of the training dataset and the validation dataset.
pub(super) fn dataset_ids(order: &TrainingRequest<'_>) -> [String; 2] {
    ["train", "validation"].map(|what| format!("{what}-{}", slug(order.key, KEY_CHARS)))
}

/// The full name of a resource of the account.
pub(super) fn full(spec: &FireworksSpec, kind: &str, id: &str) -> String {
    format!("accounts/{}/{kind}/{id}", account(spec))
}

/// The account, without the prefix `accounts/` that the job file may contain.
pub(super) fn account(spec: &FireworksSpec) -> &str {
    spec.account.strip_prefix("accounts/").unwrap_or(&spec.account)
}

/// The full name of the base model. Short names are Fireworks' own models. The provider prefix of litellm and DSPy is removed.
pub(super) fn base_model(recipe: &TrainingSpec) -> String {
    let model = recipe.base_model();
    let model = model.strip_prefix("fireworks_ai/").unwrap_or(model);
    if model.starts_with("accounts/") {
        model.to_owned()
    } else {
        format!("accounts/fireworks/models/{model}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifacts::DirArtifacts;
    use crate::finetune::{FinetuneJob, ProviderSpec, ServiceSpec};
    use crate::task::RunId;
    use crate::training_file::TrainingFile;
    use serde_json::Map;

    fn id(job: &str, suffix: Option<&str>) -> String {
        let spec = FireworksSpec {
            account: "acme".to_owned(),
            service: ServiceSpec {
                suffix: suffix.map(str::to_owned),
                ..ServiceSpec::default()
            },
        };
        let shard = FinetuneJob {
            recipe: TrainingSpec {
                job: job.to_owned(),
                lm: "student".to_owned(),
                predictor: None,
                model: "openai/m".to_owned(),
                seed: 0,
                train: Map::new(),
                provider: ProviderSpec::Fireworks(spec.clone()),
            },
            data: TrainingFile {
                name: "train.jsonl".to_owned(),
                rows: 0,
                bytes: 0,
                sha256: String::new(),
            },
            validation: None,
        };
        let order = TrainingRequest {
            key: "0123456789abcdef0123456789abcdef",
            run: &RunId("run".to_owned()),
            shard: &shard,
            artifacts: &DirArtifacts::new(".".into()),
        };
        job_id(&order, &spec)
    }

    #[test]
    fn job_id_is_valid_and_ends_with_the_whole_key() {
        assert_eq!(id("Hop", None), "hop-student-0123456789abcdef0123456789abcdef");
        assert_eq!(
            id("2nd try", None),
            "ft-2nd-try-student-0123456789abcdef0123456789abcdef"
        );
        assert_eq!(id("Hop", Some("日本")), "ft-0123456789abcdef0123456789abcdef");
        let long = id(&"x".repeat(200), None);
        assert_eq!(
            (long.len(), long.ends_with("-0123456789abcdef0123456789abcdef")),
            (LONGEST_ID, true)
        );
    }
}
