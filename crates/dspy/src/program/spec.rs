//! A declarative program as data, and the settings that turn it into a [`Program`](super::Program).

use crate::adapter::AdapterKind;
use crate::lm::LmArguments;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// What a program shares with the others of its job: DSPy keeps these in `dspy.settings`.
#[derive(Clone, Debug)]
pub struct ProgramSettings<'a> {
    /// Named types: name to definition, as [`parse_types`](crate::signature::parse_types) reads them.
    pub types: &'a Map<String, Json>,
    /// How prompts and training rows are written and answers are read.
    pub adapter: AdapterKind,
    /// Whether training rows and the saved state leave the demos out.
    pub exclude_demos: bool,
    /// The LMs that predictors may name.
    pub lms: Vec<LmArguments<'a>>,
}

impl<'a> ProgramSettings<'a> {
    /// The LM of this name, `None` if the settings define no such LM.
    pub(crate) fn lm(&self, name: &str) -> Option<&LmArguments<'a>> {
        self.lms.iter().find(|lm| lm.name == name)
    }
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
