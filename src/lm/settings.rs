//! The settings of an LM in a job file.

use super::{DEFAULT_MIN_TIMEOUT, DEFAULT_TIMEOUT, OPENAI_BASE, OPENAI_KEY};
use crate::http;
use crate::metrics::{DollarsPerMillion, LmMetrics, Metrics};
use bsft_dspy::lm::LmArguments;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::time::Duration;

/// One `[lm.NAME]` table, checked. Holds the name of the key's variable, never the key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LmSettings {
    /// `NAME`.
    pub name: String,
    /// Such as `openai/gpt-4.1` or `simulated/teacher`.
    pub model: String,
    /// The server's address up to and including `/v1`; `None` for OpenAI's. Of several endpoints, the first one's.
    pub api_base: Option<String>,
    /// The environment variable that holds the API key.
    pub api_key_env: Option<String>,
    /// The `[account.NAME]` that it belongs to; `None` for an account of its own address and key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Further servers of the same model. Workers of earlier versions ignore them and use the first endpoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_endpoints: Vec<LmEndpoint>,
    /// Sampling temperature; `None` for the server's default.
    pub temperature: Option<f64>,
    /// The most tokens that an answer may have.
    pub max_tokens: Option<u64>,
    /// Further arguments of the request, passed through.
    pub extra: Map<String, Json>,
    /// Timeout of a request in seconds; `None` for [`super::DEFAULT_TIMEOUT`].
    pub timeout_secs: Option<f64>,
    /// The shortest timeout in seconds that is learnt from the latencies of answers; `None` for [`super::DEFAULT_MIN_TIMEOUT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_timeout_secs: Option<f64>,
    /// How often a request may fail on the server's side while others are answered; `None` for 3, as in DSPy.
    pub num_retries: Option<u32>,
    /// Prices; `None` if unknown: then no cost is reported.
    pub price: Option<Price>,
    /// How a `simulated/…` LM behaves.
    pub simulate: Simulation,
}

/// One of several servers of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LmEndpoint {
    /// As [`LmSettings::api_base`].
    pub api_base: Option<String>,
    /// As [`LmSettings::api_key_env`].
    pub api_key_env: Option<String>,
    /// As [`LmSettings::account`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
}

impl LmSettings {
    /// Settings with a name and a model, and defaults for the rest.
    pub fn new(name: impl Into<String>, model: impl Into<String>) -> LmSettings {
        LmSettings {
            name: name.into(),
            model: model.into(),
            api_base: None,
            api_key_env: None,
            account: None,
            more_endpoints: Vec::new(),
            temperature: None,
            max_tokens: None,
            extra: Map::new(),
            timeout_secs: None,
            min_timeout_secs: None,
            num_retries: None,
            price: None,
            simulate: Simulation::default(),
        }
    }

    /// The settings for each of its endpoints, in the order of the job file. Each of them has one endpoint.
    pub fn endpoints(&self) -> Vec<LmSettings> {
        let first = LmSettings {
            more_endpoints: Vec::new(),
            ..self.clone()
        };
        let at = |endpoint: &LmEndpoint| LmSettings {
            api_base: endpoint.api_base.clone(),
            api_key_env: endpoint.api_key_env.clone(),
            account: endpoint.account.clone(),
            ..first.clone()
        };
        // A simulated LM has no server.
        let is_simulated = self.model.starts_with("simulated/");
        let more = self.more_endpoints.iter().filter(|_| !is_simulated);
        let more: Vec<LmSettings> = more.map(at).collect();
        [first].into_iter().chain(more).collect()
    }

    /// The name of each of its [endpoints](Self::endpoints): the address, and the variable of the key if two endpoints have the same
    /// address.
    pub fn endpoint_labels(&self) -> Vec<String> {
        let endpoints = self.endpoints();
        let addresses: Vec<String> = endpoints.iter().map(LmSettings::shown_address).collect();
        let label = |(endpoint, address): (&LmSettings, &String)| {
            let is_repeated = addresses.iter().filter(|other| *other == address).count() > 1;
            match endpoint.key_variable() {
                Some(variable) if is_repeated => format!("{address} with {variable}"),
                _ => address.clone(),
            }
        };
        endpoints.iter().zip(&addresses).map(label).collect()
    }

    /// The settings that DSPy's own `LM` has, too.
    pub fn arguments(&self) -> LmArguments<'_> {
        LmArguments {
            name: &self.name,
            model: &self.model,
            api_base: self.api_base.as_deref(),
            temperature: self.temperature,
            max_tokens: self.max_tokens,
            num_retries: self.num_retries,
            extra: &self.extra,
        }
    }

    /// Its prices; zero for a simulated LM, `None` if unknown.
    pub fn known_price(&self) -> Option<Price> {
        let free = self.model.starts_with("simulated/").then_some(Price {
            input: 0.0,
            output: 0.0,
        });
        self.price.or(free)
    }

    /// The server's address without credentials and query, as statuses contain it. Empty for a simulated LM.
    pub fn shown_address(&self) -> String {
        if self.model.starts_with("simulated/") {
            return String::new();
        }
        let base = self.api_base.as_deref().unwrap_or(OPENAI_BASE);
        http::address(base).map_or_else(
            |_| String::new(),
            |mut url| {
                url.set_query(None);
                url.to_string().trim_end_matches('/').to_owned()
            },
        )
    }

    /// The variable that must hold the API key; `None` if no key is sent. If the job file names no variable, `OPENAI_API_KEY` is required
    /// for OpenAI's own address, and other servers get no key.
    pub fn key_variable(&self) -> Option<&str> {
        if self.model.starts_with("simulated/") {
            return None;
        }
        let address = self.api_base.as_deref().unwrap_or(OPENAI_BASE);
        let is_openai = address.trim_end_matches('/') == OPENAI_BASE;
        self.api_key_env.as_deref().or(is_openai.then_some(OPENAI_KEY))
    }

    /// The timeout of a request.
    pub fn timeout(&self) -> Duration {
        duration(self.timeout_secs, DEFAULT_TIMEOUT)
    }

    /// The shortest timeout that is learnt from the latencies of answers.
    pub fn min_timeout(&self) -> Duration {
        duration(self.min_timeout_secs, DEFAULT_MIN_TIMEOUT)
    }

    /// Its counters in `metrics`.
    pub fn metrics(&self, metrics: &Metrics) -> LmMetrics {
        let price = self.price.map(|price| DollarsPerMillion {
            prompt: price.input,
            completion: price.output,
        });
        metrics.lm(&self.name, &self.model, price)
    }
}

fn duration(secs: Option<f64>, default: Duration) -> Duration {
    let duration = secs.and_then(|secs| Duration::try_from_secs_f64(secs).ok());
    duration.filter(|duration| !duration.is_zero()).unwrap_or(default)
}

/// One `[account.NAME]` table: the limits that the provider sets. `None` for a limit that is not declared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountLimits {
    /// Requests per minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u64>,
    /// Tokens per minute, of prompts and completions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm: Option<u64>,
    /// Requests per day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpd: Option<u64>,
    /// Requests in flight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u64>,
}

/// Prices in US dollars per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Of prompts.
    pub input: f64,
    /// Of completions.
    pub output: f64,
}

/// The behaviour of a simulated LM, which is a pure function of the request and the seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Simulation {
    /// The probability that an answer agrees with the example's labels, from 0 to 1.
    pub accuracy: f64,
    /// The latency of an answer in milliseconds.
    pub latency_ms: u64,
    /// The probability that an answer does not parse, from 0 to 1.
    pub malformed_rate: f64,
    /// The probability that the first try of a request gets 429 or 500, from 0 to 1.
    pub error_rate: f64,
    /// A different seed gives different answers.
    pub seed: u64,
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation {
            accuracy: 0.8,
            latency_ms: 0,
            malformed_rate: 0.0,
            error_rate: 0.0,
            seed: 0,
        }
    }
}
