//! The job as workers get it: checked, free of paths and secrets, straight data.

use crate::adapter::AdapterKind;
use crate::lm::LmSettings;
use crate::metric::MetricSpec;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The version of [`JobSpec`]'s own layout; a worker leaves other versions alone.
pub const JOB_SPEC_VERSION: u32 = 1;

/// Everything a worker needs to run a job's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// [`JOB_SPEC_VERSION`].
    pub version: u32,
    /// The job's name.
    pub name: String,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Input columns of the trainset; every other column is a label.
    pub inputs: Vec<String>,
    /// `[program.types]` as written: name to definition.
    pub types: Map<String, Json>,
    /// The LMs by name.
    pub lms: IndexMap<String, LmSettings>,
    /// The program that is compiled, with the student's LMs.
    pub student: ProgramSpec,
    /// The programs that are run, in order; the student itself where the job names no teacher.
    pub teachers: Vec<ProgramSpec>,
    /// What is kept.
    pub metric: Option<MetricSpec>,
    /// How programs talk to LMs and training rows are written.
    pub adapter: AdapterKind,
    /// Whether one LM is trained on the rows of all predictors.
    pub multitask: bool,
    /// Whether rows and the compiled student go without demos.
    pub exclude_demos: bool,
}

/// A declarative program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProgramSpec {
    /// In DSPy's `predictors()` order.
    pub predictors: Vec<PredictorSpec>,
}

/// One predictor of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictorSpec {
    /// The attribute's name, such as `classify`.
    pub name: String,
    /// Which DSPy module it is.
    pub module: ModuleKind,
    /// DSPy's mini-language.
    pub signature: String,
    /// None: DSPy's default.
    pub instructions: Option<String>,
    /// Field descriptions by field.
    pub desc: IndexMap<String, String>,
    /// Field prefixes by field, where a saved state gave some.
    pub prefix: IndexMap<String, String>,
    /// Demos, each one JSON object as text (numbers keep their Python meaning).
    pub demos: Vec<String>,
    /// LM arguments of this predictor's calls.
    pub config: Map<String, Json>,
    /// Field to name in the namespace, where they differ.
    pub inputs: IndexMap<String, String>,
    /// How many times in a row it is called.
    pub repeat: u32,
    /// The LM's name in the job file.
    pub lm: String,
}

impl PredictorSpec {
    /// The name that DSPy's `named_predictors()` gives: a ChainOfThought owns a predictor called `predict`.
    pub fn predictor_name(&self) -> String {
        match self.module {
            ModuleKind::Predict => self.name.clone(),
            ModuleKind::ChainOfThought => format!("{}.predict", self.name),
        }
    }
}

/// The DSPy modules that a declarative program is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModuleKind {
    /// `dspy.Predict`.
    Predict,
    /// `dspy.ChainOfThought`.
    ChainOfThought,
}
