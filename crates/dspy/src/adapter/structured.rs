//! The `response_format` of the JSON retry, chosen by the capabilities that DSPy lists for the model.

use crate::signature::{self, Signature, Type};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The kind of structured output that a model supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Support {
    /// JSON mode only.
    Object,
    /// A JSON Schema.
    Schema,
}

/// The capabilities by model name after `openai/`, from the model table of DSPy 3.4.1
/// (`LITELLM_LOCAL_MODEL_COST_MAP=true`).
static CAPABILITIES: LazyLock<HashMap<&str, Support>> = LazyLock::new(|| {
    let row = |line: &'static str| {
        let (model, support) = line.split_once('\t')?;
        Some((
            model,
            if support == "schema" {
                Support::Schema
            } else {
                Support::Object
            },
        ))
    };
    include_str!("capabilities.tsv").lines().filter_map(row).collect()
});

/// The capabilities of this model, `None` if DSPy does not list it (such as local models).
fn support(name: &str) -> Option<Support> {
    let by_family = || (is_claude(name) || is_gemini(name)).then_some(Support::Schema);
    CAPABILITIES.get(name).copied().or_else(by_family)
}

/// The table's rule for a whole family: `claude-[a-z]+-\d` anywhere in the name.
fn is_claude(name: &str) -> bool {
    name.match_indices("claude-").any(|(at, start)| {
        let family = &name[at + start.len()..];
        let version = family.trim_start_matches(|c: char| c.is_ascii_lowercase());
        version.len() < family.len() && starts_with_digit(version.strip_prefix('-'))
    })
}

/// The table's rule for Gemini from 2.5 on: `pro` or `flash`, unless the model is not for chat.
fn is_gemini(name: &str) -> bool {
    const OTHER: [&str; 9] = [
        "-tts",
        "-image",
        "-live",
        "-audio",
        "-embedding",
        "-computer-use",
        "-robotics",
        "-transcribe",
        "-translate",
    ];
    name.match_indices("gemini-").any(|(at, start)| {
        let rest = &name[at + start.len()..];
        // `2.5` to `2.9`, or `3` to `9` with up to two more digits after a full stop or a hyphen.
        let kind = match rest.as_bytes() {
            [b'2', b'.' | b'-', b'5'..=b'9', ..] => Some(&rest[3..]),
            [b'3'..=b'9', b'.' | b'-', b'0'..=b'9', b'0'..=b'9', b'-', ..] => Some(&rest[4..]),
            [b'3'..=b'9', b'.' | b'-', b'0'..=b'9', b'-', ..] => Some(&rest[3..]),
            [b'3'..=b'9', b'-', ..] => Some(&rest[1..]),
            _ => None,
        };
        let kind = kind.and_then(|k| k.strip_prefix("-pro").or_else(|| k.strip_prefix("-flash")));
        kind.is_some_and(|k| !k.starts_with(|c: char| c.is_ascii_lowercase()))
            && !OTHER.iter().any(|o| rest.contains(o))
    })
}

fn starts_with_digit(text: Option<&str>) -> bool {
    text.is_some_and(|t| t.starts_with(|c: char| c.is_ascii_digit()))
}

/// Returns the `response_format` of the JSON retry, `None` to omit the field. `model` is the full name, such as
/// `openai/gpt-4o-mini`.
pub fn response_format(model: &str, signature: &Signature) -> Option<Value> {
    let support = support(model.strip_prefix("openai/")?)?;
    // Like DSPy, treats only a dict with parameters as open-ended.
    let is_open = signature
        .outputs
        .iter()
        .any(|f| matches!(f.ty, Type::Dict(Some(_))));
    if is_open || support == Support::Object {
        return Some(json!({"type": "json_object"}));
    }
    Some(json!({
        "type": "json_schema",
        "json_schema": {
            "name": "DSPyProgramOutputs",
            "schema": signature::strict_schema(signature),
            "strict": true,
        },
    }))
}
