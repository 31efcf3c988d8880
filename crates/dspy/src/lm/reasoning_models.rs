//! OpenAI's reasoning models, which DSPy recognises by their names.

/// The minimum `max_tokens` that DSPy accepts for a reasoning model.
pub const LEAST_MAX_TOKENS: u64 = 16_000;

/// Whether DSPy treats the model as a reasoning model: the `o` families and `gpt-5`, but neither chat nor fine-tuned
/// models. Ports a regular expression of `dspy.clients.lm`.
pub fn is_reasoning_model(model: &str) -> bool {
    let family = model.rsplit('/').next().unwrap_or(model).to_lowercase();
    is_o_family(&family) || is_gpt_5(&family)
}

/// `o[1345](-(mini|nano|pro))?(-\d{4}-\d{2}-\d{2})?`
fn is_o_family(name: &str) -> bool {
    let Some(rest) = ["o1", "o3", "o4", "o5"].iter().find_map(|o| name.strip_prefix(o)) else {
        return false;
    };
    let rest = ["-mini", "-nano", "-pro"]
        .iter()
        .find_map(|size| rest.strip_prefix(size))
        .unwrap_or(rest);
    let is_date = |date: &str| {
        let shape: Vec<usize> = date.split('-').map(str::len).collect();
        shape == [4, 2, 2] && date.bytes().all(|b| b == b'-' || b.is_ascii_digit())
    };
    rest.is_empty() || rest.strip_prefix('-').is_some_and(is_date)
}

/// `gpt-5(\.\d+)*(?!-chat)(-.*)?`
fn is_gpt_5(name: &str) -> bool {
    let Some(mut rest) = name.strip_prefix("gpt-5") else {
        return false;
    };
    while let Some(version) = rest.strip_prefix('.') {
        let after = version.trim_start_matches(|c: char| c.is_ascii_digit());
        if after.len() == version.len() {
            break;
        }
        rest = after;
    }
    rest.is_empty() || (rest.starts_with('-') && !rest.starts_with("-chat") && !rest.contains('\n'))
}

#[cfg(test)]
mod tests {
    use super::is_reasoning_model;

    /// Recorded from `_is_openai_reasoning_model` of DSPy 3.4.1.
    #[test]
    fn is_reasoning_model_agrees_with_dspy() {
        for yes in [
            "openai/o3",
            "o1-mini",
            "openai/o4-mini-2025-04-16",
            "azure/openai/O3-Pro",
            "gpt-5",
            "openai/gpt-5.6-luna",
            "openai/gpt-5.1.2",
            "gpt-5-",
        ] {
            assert!(is_reasoning_model(yes), "{yes}");
        }
        for no in [
            "openai/o2",
            "o3x",
            "o3-mini-",
            "o3-2025-4-16",
            "openai/gpt-5-chat",
            "gpt-5.1-chat-latest",
            "gpt-5o",
            "gpt-5.",
            "openai/ft:o3:org::id",
            "gpt-4o",
            "",
        ] {
            assert!(!is_reasoning_model(no), "{no}");
        }
    }
}
