//! What is trained, how and by whom: an LM key's part of the job, as it travels to workers.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::fmt;

/// What is trained, how and by whom. Straight data: it names trainers and variables, never a command or a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingSpec {
    /// The job's name.
    pub job: String,
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor whose rows these are, as DSPy names it; none: of all predictors (`multitask`).
    pub predictor: Option<String>,
    /// The model that is trained, as the job file names it: `openai/Qwen/Qwen3-0.6B`.
    pub model: String,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// DSPy's `train_kwargs`.
    pub train: Map<String, Json>,
    /// Who trains.
    pub provider: ProviderSpec,
}

impl TrainingSpec {
    /// The model's name without the prefix that says which kind of client speaks to it: what a trainer or a server knows it by.
    pub fn base_model(&self) -> &str {
        match self.model.split_once('/') {
            Some(("openai" | "hosted_vllm" | "simulated", name)) => name,
            _ => &self.model,
        }
    }
}

impl TrainingSpec {
    /// Which settings of the same LM key are others in `other`.
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

/// A fine-tune provider and what the job tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ProviderSpec {
    /// Nobody trains: the rows are the user's.
    Export(ExportSpec),
    /// A training that takes no time.
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

/// What `export` is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExportSpec {
    /// In which other formats the rows are written, too.
    pub formats: Vec<RowFormat>,
}

/// What `command` is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// A name that the worker's own configuration maps to a command.
    pub trainer: String,
}

/// How a fine-tuning service is reached, and what it is told beside `train`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its address, `/v1` included; none: the service's own.
    pub api_base: Option<String>,
    /// The variable that holds its key; none: the service's usual one, for the service's own address, and no key for any other.
    pub api_key_env: Option<String>,
    /// The header that carries the key bare, such as Azure's `api-key`; none: `Authorization: Bearer KEY`.
    pub auth_header: Option<String>,
    /// What the new model's name ends with; none: derived from job and LM.
    pub suffix: Option<String>,
    /// Merged into the body of the request that creates the training.
    pub extra: Map<String, Json>,
}

/// What `fireworks` is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FireworksSpec {
    /// The account that trains and owns the model.
    pub account: String,
    /// The service.
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
    /// All of them.
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

    /// With how many rows it starts a training at all. OpenAI's and Fireworks' own documentation.
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

    /// Whether whoever trains reads the rows.
    pub fn reads_rows(&self) -> bool {
        !matches!(self, ProviderSpec::Export(_) | ProviderSpec::Simulated)
    }
}
