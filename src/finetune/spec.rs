//! The settings of a training: the part of a job that one LM key needs, as it is sent to workers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fmt;

/// The model, provider and settings of a training. It names trainers and variables, and never contains a command or an API key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpec {
    /// The job's name.
    pub job: String,
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor of the rows, by DSPy's name. `None` for all predictors (`multitask`).
    pub predictor: Option<String>,
    /// The base model, as the job file names it: `openai/Qwen/Qwen3-0.6B`.
    pub model: String,
    /// The random seed.
    pub seed: u64,
    /// DSPy's `train_kwargs`.
    pub train: Map<String, Json>,
    /// The provider and its settings.
    pub provider: ProviderSpec,
}

impl TrainingSpec {
    /// The model's name without the client prefix such as `openai/`, as trainers and servers use it.
    pub fn base_model(&self) -> &str {
        match self.model.split_once('/') {
            Some(("openai" | "hosted_vllm" | "simulated", name)) => name,
            _ => &self.model,
        }
    }
}

impl TrainingSpec {
    /// The names of the settings that differ from `other`, which has the same LM key.
    pub fn differences(&self, other: &TrainingSpec) -> Vec<&'static str> {
        let differ = [
            ("provider", self.provider != other.provider),
            ("model", self.model != other.model),
            ("train", self.train != other.train),
            ("seed", self.seed != other.seed),
            ("the job's name", self.job != other.job),
        ];
        differ
            .iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| *name)
            .collect()
    }
}

impl fmt::Display for TrainingSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.predictor {
            None => write!(f, "lm {}", self.lm),
            Some(predictor) => write!(f, "lm {}, predictor {predictor}", self.lm),
        }
    }
}

/// A provider and its settings in the job file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProviderSpec {
    /// No training: the user gets the rows.
    Export(ExportSpec),
    /// A training that ends at once.
    Simulated,
    /// A trainer on the worker's machine.
    Command(CommandSpec),
    /// Any server with OpenAI's fine-tuning API.
    Openai(ServiceSpec),
    /// Together AI.
    Together(ServiceSpec),
    /// Fireworks AI.
    Fireworks(FireworksSpec),
}

/// The settings of `export`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExportSpec {
    /// Additional formats of the rows.
    pub formats: Vec<RowFormat>,
}

/// The settings of `command`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// The name of a trainer in the worker's `--trainers` file.
    pub trainer: String,
}

/// The connection to a fine-tuning service, and its settings beside `train`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its address with `/v1`. `None` for the service's own.
    pub api_base: Option<String>,
    /// The variable with the API key. `None` for the service's default variable, which is used only for the service's own address.
    pub api_key_env: Option<String>,
    /// The header with the bare key, such as Azure's `api-key`. `None` for `Authorization: Bearer KEY`.
    pub auth_header: Option<String>,
    /// The suffix of the new model's name. `None` to derive it from job and LM.
    pub suffix: Option<String>,
    /// Members that are merged into the body of the request that creates the training.
    pub extra: Map<String, Json>,
}

/// The settings of `fireworks`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FireworksSpec {
    /// The account that trains and owns the model.
    pub account: String,
    /// The connection and settings that all services share.
    #[serde(flatten)]
    pub service: ServiceSpec,
}

/// A format of training rows beside DSPy's own `messages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFormat {
    /// `{"conversations": [{"from": "human", "value": …}, …]}`
    Sharegpt,
    /// `{"instruction": …, "input": …, "output": …}`
    Alpaca,
    /// `{"prompt": [messages], "completion": [messages]}`
    PromptCompletion,
}

impl RowFormat {
    /// All formats.
    pub const ALL: [RowFormat; 3] = [
        RowFormat::Sharegpt,
        RowFormat::Alpaca,
        RowFormat::PromptCompletion,
    ];

    /// Its name in the job file.
    pub fn name(self) -> &'static str {
        match self {
            RowFormat::Sharegpt => "sharegpt",
            RowFormat::Alpaca => "alpaca",
            RowFormat::PromptCompletion => "prompt_completion",
        }
    }
}

impl ProviderSpec {
    /// Its name in the job file.
    pub fn name(&self) -> &'static str {
        match self {
            ProviderSpec::Export(_) => "export",
            ProviderSpec::Simulated => "simulated",
            ProviderSpec::Command(_) => "command",
            ProviderSpec::Openai(_) => "openai",
            ProviderSpec::Together(_) => "together",
            ProviderSpec::Fireworks(_) => "fireworks",
        }
    }

    /// The minimum number of rows the provider accepts, from the documentation of OpenAI and Fireworks.
    pub fn least_rows(&self) -> u64 {
        match self {
            ProviderSpec::Openai(_) => 10,
            ProviderSpec::Fireworks(_) => 3,
            ProviderSpec::Export(_)
            | ProviderSpec::Simulated
            | ProviderSpec::Command(_)
            | ProviderSpec::Together(_) => 1,
        }
    }

    /// Whether the provider reads the rows.
    pub fn reads_rows(&self) -> bool {
        !matches!(self, ProviderSpec::Export(_) | ProviderSpec::Simulated)
    }
}
