//! The name of a new model: its suffix at the server, and the name that DSPy uses.

use super::super::http::Http;
use super::super::{ServiceSpec, TrainingSpec};

/// The longest suffix that the protocol allows, and Azure's.
const LONGEST: usize = 64;
const LONGEST_ON_AZURE: usize = 40;

/// Where the names of Azure's servers end.
const AZURE: [&str; 3] = [".azure.com", ".azure.us", ".azure.cn"];

/// Whether it is Azure: it wants a byte order mark, and shorter suffixes.
pub(super) fn is_azure(http: &Http) -> bool {
    AZURE.iter().any(|end| http.host().ends_with(end))
}

/// The longest suffix there.
pub(super) fn longest(azure: bool) -> usize {
    if azure { LONGEST_ON_AZURE } else { LONGEST }
}

/// The suffix of the new model's name: the job's own, or job, LM and predictor in characters that every server accepts.
pub(super) fn suffix(spec: &ServiceSpec, recipe: &TrainingSpec, azure: bool) -> String {
    if let Some(given) = &spec.suffix {
        return given.clone();
    }
    let parts = [Some(&recipe.job), Some(&recipe.lm), recipe.predictor.as_ref()];
    let words: Vec<String> = parts
        .into_iter()
        .flatten()
        .flat_map(|part| part.split(|c: char| !c.is_ascii_alphanumeric()))
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    let whole = words.join("-");
    // ASCII only, so every byte is a character.
    let cut = &whole[..whole.len().min(longest(azure))];
    match cut.trim_end_matches('-') {
        "" => "bsft".to_owned(),
        suffix => suffix.to_owned(),
    }
}

/// As DSPy's `LM(model=…)` takes it: `ft:…` is OpenAI's; every other model needs a prefix.
pub(super) fn model(name: &str) -> String {
    if name.starts_with("ft:") {
        name.to_owned()
    } else {
        format!("openai/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::ProviderSpec;

    fn recipe(job: &str, lm: &str) -> TrainingSpec {
        TrainingSpec {
            job: job.to_owned(),
            lm: lm.to_owned(),
            predictor: None,
            model: "openai/m".to_owned(),
            seed: 0,
            train: serde_json::Map::new(),
            provider: ProviderSpec::Openai(ServiceSpec::default()),
        }
    }

    #[test]
    fn suffix_has_only_characters_that_every_server_accepts() {
        let derived = |job: &str, lm: &str, azure| suffix(&ServiceSpec::default(), &recipe(job, lm), azure);
        assert_eq!(derived("HotpotQA  v2", "small_lm", false), "hotpotqa-v2-small-lm");
        assert_eq!(derived("日本", "…", false), "bsft");
        assert_eq!(derived(&"a".repeat(99), "b", false), "a".repeat(64));
        assert_eq!(derived(&"a".repeat(39), "b", true), "a".repeat(39));
        let given = ServiceSpec {
            suffix: Some("Mine".to_owned()),
            ..ServiceSpec::default()
        };
        assert_eq!(suffix(&given, &recipe("j", "l"), false), "Mine");
    }

    #[test]
    fn is_azure_recognises_the_hosts_of_azure() {
        let is = |address: &str| is_azure(&Http::new(address, crate::key_ring::Access::default()).unwrap());
        assert!(is("http://mine.openai.azure.com/openai/v1"));
        assert!(is("http://mine.services.ai.azure.com/openai/v1"));
        assert!(!is("http://azure.com.example.org/v1"));
        assert!(!is("http://127.0.0.1:8000/v1"));
    }

    #[test]
    fn model_prefixes_all_names_but_those_of_openai() {
        assert_eq!(model("ft:gpt-4.1-mini:org::1"), "ft:gpt-4.1-mini:org::1");
        assert_eq!(model("Qwen/Qwen3-0.6B-ft-1"), "openai/Qwen/Qwen3-0.6B-ft-1");
    }
}
