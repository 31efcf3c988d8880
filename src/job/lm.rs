//! `[lm.NAME]`: language models and their fine-tune tables.

use super::access::open_arguments;
use super::endpoints;
use super::finetune::{self, FinetuneSpec};
use super::keys::{LmTable, PriceTable, SimulateTable};
use crate::lm::{LEAST_MAX_TOKENS, LmSettings, Price, Simulation, is_reasoning_model};
use crate::schema::form::{NamedEntry, Read};
use crate::schema::{Problems, Section};
use indexmap::IndexMap;
use serde_json::{Map, Value as Json};

/// The LMs and their fine-tune tables.
#[derive(Default)]
pub(super) struct Lms {
    pub(super) settings: IndexMap<String, LmSettings>,
    pub(super) finetune: IndexMap<String, FinetuneSpec>,
    /// The line of each `[lm.NAME]`, invalid ones included.
    pub(super) lines: IndexMap<String, u32>,
    /// The LMs whose fine-tune table is present but invalid.
    pub(super) spoilt: Vec<String>,
    /// The environment variables that the file names for API keys.
    pub(super) key_variables: Vec<KeyVariable>,
}

/// An environment variable that the job names, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyVariable {
    pub name: String,
    /// The dotted name of the key that names the variable.
    pub key: String,
    /// The key's line in the job file.
    pub line: u32,
}

impl Lms {
    pub(super) fn new(tables: Vec<NamedEntry<'_, LmTable<'_>>>, problems: &mut Problems) -> Lms {
        let mut lms = Lms::default();
        for entry in tables {
            let name = entry.name.to_owned();
            lms.lines.insert(name.clone(), entry.item.place.line);
            if let Some(why) = unfit_for_a_file_name(&name) {
                let message = format!("the LM name `{name}` {why}");
                entry.item.place.report(
                    problems,
                    message,
                    "use letters, digits, `-`, `_` and `.`: files are named after it",
                );
            }
            let Some(lm) = entry.value else { continue };
            let settings = settings(&name, &lm, problems);
            let is_simulated = settings
                .as_ref()
                .is_some_and(|lm| lm.model.starts_with("simulated/"));
            if let Some(settings) = &settings {
                endpoints::report_repeated(&lm, settings, problems);
            }
            let of_endpoints = lm.endpoints.iter().flat_map(|list| &list.value);
            let variables = of_endpoints.filter_map(|endpoint| endpoint.value.api_key_env.as_ref());
            for variable in variables.chain(&lm.api_key_env).filter(|_| !is_simulated) {
                lms.note_variable(Some(variable));
            }
            if lm.section.get("finetune").is_some() {
                let table = lm.finetune.map(|table| table.value);
                lms.note_variable(table.as_ref().and_then(|table| table.api_key_env.as_ref()));
                match table.and_then(|table| finetune::spec(table, settings.as_ref(), problems)) {
                    Some(spec) => drop(lms.finetune.insert(name.clone(), spec)),
                    None => lms.spoilt.push(name.clone()),
                }
            }
            if let Some(settings) = settings {
                lms.settings.insert(name, settings);
            }
        }
        lms
    }

    fn note_variable(&mut self, key: Option<&Read<'_, &str>>) {
        self.key_variables.extend(key.map(|key| KeyVariable {
            name: key.value.to_owned(),
            key: key.name().to_owned(),
            line: key.place().line,
        }));
    }
}

/// Why files cannot be named after `name`. `None` if they can.
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

fn settings(name: &str, lm: &LmTable<'_>, problems: &mut Problems) -> Option<LmSettings> {
    let model = lm.model.as_ref().and_then(|text| model(text, problems));
    let mut endpoints = endpoints::endpoints(lm, problems).into_iter();
    let first = endpoints.next()?;
    if model.as_deref().is_some_and(is_reasoning_model) {
        fits_reasoning_model(lm, problems);
    }
    let extra = lm
        .extra
        .as_ref()
        .map(|table| lm_arguments(&table.value, problems));
    let retries = lm.num_retries.as_ref();
    Some(LmSettings {
        name: name.to_owned(),
        model: model?,
        api_base: first.api_base,
        api_key_env: first.api_key_env,
        account: first.account,
        more_endpoints: endpoints.collect(),
        temperature: lm.temperature.as_ref().map(|t| t.value),
        max_tokens: lm.max_tokens.as_ref().map(|n| n.value),
        extra: extra.unwrap_or_default(),
        timeout_secs: lm.timeout_secs.as_ref().map(|secs| secs.value),
        min_timeout_secs: lm.min_timeout_secs.as_ref().map(|secs| secs.value),
        num_retries: retries.map(|n| u32::try_from(n.value).unwrap_or(u32::MAX)),
        price: lm.price.as_ref().and_then(|table| price(&table.value)),
        simulate: lm
            .simulate
            .as_ref()
            .map_or_else(Simulation::default, |table| simulation(&table.value)),
    })
}

/// The limits of `dspy.LM`, which would otherwise refuse to load the compiled student.
fn fits_reasoning_model(lm: &LmTable<'_>, problems: &mut Problems) {
    if let Some(temperature) = &lm.temperature
        && temperature.value != 0.0
        && temperature.value != 1.0
    {
        let message = format!(
            "`{}` is {}: a reasoning model takes 1.0 or none",
            temperature.name(),
            temperature.value
        );
        temperature.report(problems, message, "write `temperature = 1.0`, or leave it out");
    }
    if let Some(most) = &lm.max_tokens
        && most.value < LEAST_MAX_TOKENS
    {
        let message = format!(
            "`{}` is {}: a reasoning model needs room to think",
            most.name(),
            most.value
        );
        most.report(
            problems,
            message,
            format!("write `max_tokens = {LEAST_MAX_TOKENS}` or more, or leave it out"),
        );
    }
}

fn model(text: &Read<'_, &str>, problems: &mut Problems) -> Option<String> {
    let (text, item) = (text.value, &text.item);
    match text.split_once('/') {
        Some(("openai" | "hosted_vllm" | "simulated", rest)) if !rest.is_empty() => Some(text.to_owned()),
        _ => {
            let remedy = format!(
                "write `model = \"openai/{}\"` for an OpenAI-compatible server (its address is `api_base`), or `simulated/…`",
                text.rsplit('/').next().unwrap_or(text)
            );
            item.place.report(
                problems,
                format!(
                    "`{}` is `{text}`, which this version has no client for",
                    item.name
                ),
                remedy,
            );
            None
        }
    }
}

/// Arguments of `dspy.LM` and its HTTP clients that are not part of a request. A server would refuse them; those that this version
/// supports have a key of their own in the job file.
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

/// Arguments that are copied into an LM's requests unchanged.
pub(super) fn lm_arguments(table: &Section<'_>, problems: &mut Problems) -> Map<String, Json> {
    for (key, value) in table.items() {
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
    open_arguments(table, problems)
}

fn price(table: &PriceTable<'_>) -> Option<Price> {
    Some(Price {
        input: table.input.as_ref()?.value,
        output: table.output.as_ref()?.value,
    })
}

fn simulation(table: &SimulateTable<'_>) -> Simulation {
    let base = Simulation::default();
    let number = |key: &Option<Read<'_, f64>>, default| key.as_ref().map_or(default, |read| read.value);
    let count = |key: &Option<Read<'_, u64>>, default| key.as_ref().map_or(default, |read| read.value);
    Simulation {
        accuracy: number(&table.accuracy, base.accuracy),
        malformed_rate: number(&table.malformed_rate, base.malformed_rate),
        error_rate: number(&table.error_rate, base.error_rate),
        latency_ms: count(&table.latency_ms, base.latency_ms),
        seed: count(&table.seed, base.seed),
    }
}
