//! Models whose own chat template refuses a system message, by their names.

/// The sizes of Gemma's first generation, and of the models made of it and of the second, in billions of parameters. Later
/// generations have others.
const GEMMA_SIZES: [&str; 3] = ["2b", "7b", "9b"];

/// Names of models of Mistral AI whose first templates refuse it. Copies of the models still have these.
const MISTRALS: [&str; 3] = [
    "mistral-7b-instruct-v0.1",
    "mistral-7b-instruct-v0.2",
    "mixtral-8x7b-instruct-v0.1",
];

/// Whether the chat template of this model is known to refuse the system role: those of Gemma 1 and 2 and of the early Mistral models
/// raise an exception. Every row of DSPy's begins with a system message.
pub fn refuses_system_role(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
    if MISTRALS.iter().any(|known| name.contains(known)) {
        return true;
    }
    let Some((before, after)) = name.split_once("gemma") else {
        return false;
    };
    let version: String = after
        .trim_start_matches(['-', '_', ':'])
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '.')
        .collect();
    // PaliGemma takes images and has no chat template.
    before != "pali"
        && (GEMMA_SIZES.contains(&version.as_str()) || ["1", "1.1", "2"].contains(&version.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_system_role_knows_gemma_1_and_2_and_early_mistrals() {
        for model in [
            "google/gemma-2b-it",
            "google/gemma-7b",
            "google/gemma-1.1-7b-it",
            "google/gemma-2-2b-it",
            "unsloth/gemma-2-9b-it-bnb-4bit",
            "gemma2:27b",
            "gemma:7b",
            "gemma2-9b-it",
            "accounts/fireworks/models/gemma2-9b-it",
            "google/codegemma-7b-it",
            "google/recurrentgemma-2b-it",
            "mistralai/Mistral-7B-Instruct-v0.2",
            "TheBloke/Mixtral-8x7B-Instruct-v0.1-GPTQ",
        ] {
            assert!(refuses_system_role(model), "{model}");
        }
    }

    #[test]
    fn refuses_system_role_leaves_other_models_alone() {
        for model in [
            "google/gemma-3-1b-it",
            "google/gemma-3-12b-it",
            "google/gemma-3n-E2B-it",
            "gemma3:4b",
            "google/gemma-4-31B-it",
            "google/medgemma-4b-it",
            "google/paligemma2-3b-pt-224",
            "google/functiongemma-270m-it",
            "mistralai/Mistral-7B-Instruct-v0.3",
            "mistralai/Ministral-8B-Instruct-2410",
            "Qwen/Qwen3-0.6B",
            "meta-llama/Llama-3.2-1B-Instruct",
            "gemma",
            "",
        ] {
            assert!(!refuses_system_role(model), "{model}");
        }
    }
}
