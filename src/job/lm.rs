//! `[lm.NAME]`: language models and how they are fine-tuned.

use super::definition::LM;
use super::finetune::{self, FinetuneSpec};
use crate::lm::{LEAST_MAX_TOKENS, LmSettings, Price, Simulation, is_reasoning_model};
use crate::schema::Problems;
use crate::schema::{Item, Section, Values};
use indexmap::IndexMap;
use serde_json::{Map, Value as Json};
use url::Url;

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

pub(super) fn read(root: &Values<'_>, problems: &mut Problems) -> Lms {
    let mut lms = Lms::default();
    // What is no table is reported where the root is read.
    let section = root
        .section()
        .get("lm")
        .and_then(|item| item.section(&mut Problems::default()));
    for (name, item) in section.iter().flat_map(Section::items) {
        lms.lines.insert(name.to_owned(), item.place.line);
        if let Some(why) = unfit_for_a_file_name(name) {
            let message = format!("the LM name `{name}` {why}");
            item.place.report(
                problems,
                message,
                "use letters, digits, `-`, `_` and `.`: files are named after it",
            );
        }
        let Some(section) = item.section(&mut Problems::default()) else {
            continue;
        };
        let lm = section.read(&LM, problems);
        let settings = settings(name, &lm, problems);
        if section.get("finetune").is_some() {
            let table = lm.table("finetune", problems);
            match table.and_then(|table| finetune::read(&table, settings.as_ref(), problems)) {
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

fn settings(name: &str, lm: &Values<'_>, problems: &mut Problems) -> Option<LmSettings> {
    let model = lm.item("model").and_then(|item| model(item, problems));
    let api_base = lm.item("api_base").and_then(|item| api_base(item, problems));
    let api_key_env = lm
        .item("api_key_env")
        .and_then(|item| key_variable(item, problems));
    let temperature = lm.number("temperature");
    let max_tokens = lm.count("max_tokens");
    if model.as_deref().is_some_and(is_reasoning_model) {
        // As `dspy.LM` insists, which could not load the compiled student otherwise.
        if let (Some(item), Some(t)) = (lm.item("temperature"), temperature)
            && t != 0.0
            && t != 1.0
        {
            let message = format!("`{}` is {t}: a reasoning model takes 1.0 or none", item.name);
            item.place
                .report(problems, message, "write `temperature = 1.0`, or leave it out");
        }
        if let (Some(item), Some(n)) = (lm.item("max_tokens"), max_tokens)
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
    let price = lm.table("price", problems).and_then(|table| price(&table));
    let simulate = lm.table("simulate", problems);
    let extra = lm
        .item("extra")
        .map(|item| lm_arguments(item, problems))
        .unwrap_or_default();
    Some(LmSettings {
        name: name.to_owned(),
        model: model?,
        api_base,
        api_key_env,
        temperature,
        max_tokens,
        extra,
        timeout_secs: lm.number("timeout_secs"),
        num_retries: lm
            .count("num_retries")
            .map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        price,
        simulate: simulate.map(|table| simulation(&table)).unwrap_or_default(),
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

fn price(table: &Values<'_>) -> Option<Price> {
    Some(Price {
        input: table.number("input")?,
        output: table.number("output")?,
    })
}

fn simulation(table: &Values<'_>) -> Simulation {
    let base = Simulation::default();
    Simulation {
        accuracy: table.number("accuracy").unwrap_or(base.accuracy),
        malformed_rate: table.number("malformed_rate").unwrap_or(base.malformed_rate),
        error_rate: table.number("error_rate").unwrap_or(base.error_rate),
        latency_ms: table.count("latency_ms").unwrap_or(base.latency_ms),
        seed: table.count("seed").unwrap_or(base.seed),
    }
}
