//! `[lm.NAME]`: language models and how they are fine-tuned.

use super::finetune::{self, FinetuneSpec};
use crate::lm::{LEAST_MAX_TOKENS, LmSettings, Price, Simulation, is_reasoning_model};
use crate::schema::Problems;
use crate::schema::{Item, Section};
use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use url::Url;

const KEYS: [&str; 12] = [
    "model",
    "api_base",
    "api_key_env",
    "temperature",
    "max_tokens",
    "extra",
    "timeout_secs",
    "num_retries",
    "price",
    "simulate",
    "finetune",
    "api_key",
];

/// The LMs and the fine-tune tables.
#[derive(Default)]
pub(super) struct Lms {
    pub(super) settings: IndexMap<String, LmSettings>,
    pub(super) finetune: IndexMap<String, FinetuneSpec>,
    /// The line of each `[lm.NAME]`, also of those that could not be read.
    pub(super) lines: IndexMap<String, u32>,
    /// Those whose fine-tune table is there but wrong.
    pub(super) spoilt: Vec<String>,
}

pub(super) fn read(root: &Section<'_>, problems: &mut Problems) -> Lms {
    let mut lms = Lms::default();
    let example = "{ student = { model = \"openai/…\" } }";
    let Some(section) = root
        .need("lm", example, problems)
        .and_then(|item| item.section(problems))
    else {
        return lms;
    };
    for (name, item) in section.items() {
        lms.lines.insert(name.to_owned(), item.place.line);
        if let Some(why) = unfit_for_a_file_name(name) {
            let message = format!("the LM name `{name}` {why}");
            item.place.report(
                problems,
                message,
                "use letters, digits, `-`, `_` and `.`: files are named after it",
            );
        }
        let Some(lm) = item.section(problems) else {
            continue;
        };
        let settings = settings(name, &lm, problems);
        if let Some(item) = lm.get("finetune") {
            match finetune::read(&item, settings.as_ref(), problems) {
                Some(spec) => drop(lms.finetune.insert(name.to_owned(), spec)),
                None => lms.spoilt.push(name.to_owned()),
            }
        }
        if let Some(settings) = settings {
            lms.settings.insert(name.to_owned(), settings);
        }
    }
    lms
}

/// Why files cannot be named after `name`, if they cannot.
pub(super) fn unfit_for_a_file_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("is empty"),
        "." | ".." => Some("is not a file name"),
        _ if name.len() > 100 => Some("is longer than 100 bytes"),
        _ if name.contains(['/', '\\', '@']) || name.contains(char::is_control) => {
            Some("has a slash, an `@` or a control character in it")
        }
        _ => None,
    }
}

fn settings(name: &str, lm: &Section<'_>, problems: &mut Problems) -> Option<LmSettings> {
    lm.only(&KEYS, problems);
    if let Some(item) = lm.get("api_key") {
        let message = format!("`{}` puts a key into the file", item.name);
        item.place.report(
            problems,
            message,
            "write `api_key_env = \"OPENAI_API_KEY\"`, the name of a variable, and set that",
        );
    }
    let model = lm
        .need("model", "\"openai/gpt-4.1-mini\"", problems)
        .and_then(|item| model(&item, problems));
    let api_base = lm.get("api_base").and_then(|item| api_base(&item, problems));
    let api_key_env = lm
        .get("api_key_env")
        .and_then(|item| key_variable(&item, problems));
    let temperature = lm
        .get("temperature")
        .and_then(|item| item.number(0.0, f64::INFINITY, problems));
    let max_tokens = lm.get("max_tokens").and_then(|item| item.count(1, problems));
    if model.as_deref().is_some_and(is_reasoning_model) {
        // As `dspy.LM` insists, which could not load the compiled student otherwise.
        if let (Some(item), Some(t)) = (lm.get("temperature"), temperature)
            && t != 0.0
            && t != 1.0
        {
            let message = format!("`{}` is {t}: a reasoning model takes 1.0 or none", item.name);
            item.place
                .report(problems, message, "write `temperature = 1.0`, or leave it out");
        }
        if let (Some(item), Some(n)) = (lm.get("max_tokens"), max_tokens)
            && n < LEAST_MAX_TOKENS
        {
            let message = format!("`{}` is {n}: a reasoning model needs room to think", item.name);
            item.place.report(
                problems,
                message,
                format!("write `max_tokens = {LEAST_MAX_TOKENS}` or more, or leave it out"),
            );
        }
    }
    let timeout_secs = lm
        .get("timeout_secs")
        .and_then(|item| item.number(0.001, 1e6, problems));
    let num_retries = lm.get("num_retries").and_then(|item| item.count(0, problems));
    let price = lm
        .get("price")
        .and_then(|item| item.section(problems))
        .and_then(|s| price(&s, problems));
    let simulate = lm.get("simulate").and_then(|item| item.section(problems));
    let extra = lm
        .get("extra")
        .map(|item| lm_arguments(&item, problems))
        .unwrap_or_default();
    Some(LmSettings {
        name: name.to_owned(),
        model: model?,
        api_base,
        api_key_env,
        temperature,
        max_tokens,
        extra,
        timeout_secs,
        num_retries: num_retries.map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        price,
        simulate: simulate.map(|s| simulation(&s, problems)).unwrap_or_default(),
    })
}

fn model(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let text = item.word(problems)?;
    match text.split_once('/') {
        Some(("openai" | "hosted_vllm" | "simulated", rest)) if !rest.is_empty() => Some(text.to_owned()),
        _ => {
            let remedy = format!(
                "write `model = \"openai/{}\"` for an OpenAI-compatible server (its address is `api_base`), or `simulated/…`",
                text.rsplit('/').next().unwrap_or(text)
            );
            item.place.report(
                problems,
                format!("`{}` is `{text}`, which no client here speaks to", item.name),
                remedy,
            );
            None
        }
    }
}

pub(super) fn api_base(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let text = item.word(problems)?;
    let example = "write an address such as `http://127.0.0.1:8000/v1`";
    let fault = match Url::parse(text) {
        Err(error) => format!("is not a URL: {error}"),
        Ok(url) if !matches!(url.scheme(), "http" | "https") => "is not an http or https URL".to_owned(),
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            "has a user name or password in it".to_owned()
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() => "has a `?` or `#` part".to_owned(),
        Ok(_) => return Some(text.to_owned()),
    };
    item.place
        .report(problems, format!("`{}` {fault}", item.name), example);
    None
}

pub(super) fn key_variable(item: &Item<'_>, problems: &mut Problems) -> Option<String> {
    let text = item.word(problems)?;
    let is_name = !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.len() <= 64;
    if is_name && !looks_secret(text) {
        return Some(text.to_owned());
    }
    // The value may be a key: it is never repeated.
    let message = format!(
        "`{}` is not the name of an environment variable (a key itself must not be in the file)",
        item.name
    );
    item.place.report(
        problems,
        message,
        "write `api_key_env = \"OPENAI_API_KEY\"` and set that variable",
    );
    None
}

/// Whether a value looks like an API key.
fn looks_secret(text: &str) -> bool {
    let text = text.strip_prefix("Bearer ").unwrap_or(text);
    [
        "sk-", "sk_", "sess-", "gsk_", "hf_", "AIza", "xai-", "ghp_", "fw_",
    ]
    .iter()
    .any(|p| text.starts_with(p))
        && text.len() >= 8
}

/// A table that is passed through, unless there is a key in it.
pub(super) fn open_arguments(item: &Item<'_>, problems: &mut Problems) -> Map<String, Json> {
    let section = item.section(problems);
    for (key, value) in section.iter().flat_map(Section::items) {
        refuse_secrets(key, &value, problems);
    }
    item.free(&mut Problems::default())
}

/// Arguments of `dspy.LM` and of the clients under it that are no part of a request: a server would refuse them, and what they
/// mean is said elsewhere in the file, if at all.
const CLIENT_OPTIONS: [&str; 31] = [
    "model",
    "messages",
    "api_base",
    "base_url",
    "api_version",
    "organization",
    "headers",
    "extra_headers",
    "extra_body",
    "timeout",
    "request_timeout",
    "num_retries",
    "max_retries",
    "cache",
    "rollout_id",
    "model_type",
    "provider",
    "engine",
    "callbacks",
    "finetuning_model",
    "launch_kwargs",
    "train_kwargs",
    "use_developer_role",
    "drop_params",
    "additional_drop_params",
    "allowed_openai_params",
    "custom_llm_provider",
    "mock_response",
    "num_generations",
    "stream_options",
    "prompt_cache",
];

/// Arguments that go into an LM's requests as they are.
pub(super) fn lm_arguments(item: &Item<'_>, problems: &mut Problems) -> Map<String, Json> {
    for (key, value) in item.section(problems).iter().flat_map(Section::items) {
        if CLIENT_OPTIONS.contains(&key) {
            let message = format!("`{}` is no part of a request", value.name);
            let remedy = match key {
                "num_retries" | "max_retries" => "write `num_retries` into [lm.NAME] itself",
                "timeout" | "request_timeout" => "write `timeout_secs` into [lm.NAME] itself",
                "api_base" | "base_url" => "write `api_base` into [lm.NAME] itself",
                "model" => "write another [lm.NAME] and name that",
                "train_kwargs" => "write `train` into [lm.NAME.finetune]",
                _ => "take it out: this version does not have it",
            };
            value.place.report(problems, message, remedy);
        }
    }
    open_arguments(item, problems)
}

fn refuse_secrets(key: &str, item: &Item<'_>, problems: &mut Problems) {
    if item.is_table() {
        for (key, value) in item.section(problems).iter().flat_map(Section::items) {
            refuse_secrets(key, &value, problems);
        }
        return;
    }
    let lower = key.to_lowercase().replace('-', "_");
    let named = [
        "api_key",
        "apikey",
        "authorization",
        "access_token",
        "auth_token",
        "secret",
        "password",
        "x_api_key",
    ]
    .contains(&lower.as_str());
    let valued = item.is_text() && item.text(problems).is_some_and(looks_secret);
    if named || valued {
        let message = format!("`{}` looks like a key or password", item.name);
        item.place.report(
            problems,
            message,
            "write `api_key_env = \"OPENAI_API_KEY\"` in [lm.NAME] and set that variable",
        );
    }
}

fn price(section: &Section<'_>, problems: &mut Problems) -> Option<Price> {
    section.only(&["input", "output"], problems);
    let mut of = |key| {
        section
            .need(key, "2.0", problems)
            .and_then(|item| item.number(0.0, 1e9, problems))
    };
    let (input, output) = (of("input"), of("output"));
    Some(Price {
        input: input?,
        output: output?,
    })
}

fn simulation(section: &Section<'_>, problems: &mut Problems) -> Simulation {
    section.only(
        &["accuracy", "latency_ms", "malformed_rate", "error_rate", "seed"],
        problems,
    );
    let base = Simulation::default();
    let mut rate = |key: &str, default: f64| {
        section
            .get(key)
            .and_then(|item| item.number(0.0, 1.0, problems))
            .unwrap_or(default)
    };
    let (accuracy, malformed_rate, error_rate) = (
        rate("accuracy", base.accuracy),
        rate("malformed_rate", 0.0),
        rate("error_rate", 0.0),
    );
    let mut count = |key| {
        section
            .get(key)
            .and_then(|item| item.count(0, problems))
            .unwrap_or(0)
    };
    Simulation {
        accuracy,
        malformed_rate,
        error_rate,
        latency_ms: count("latency_ms"),
        seed: count("seed"),
    }
}
