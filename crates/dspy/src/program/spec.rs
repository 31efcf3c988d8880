//! A declarative program as data, and the settings that turn it into a [`Program`](super::Program).

use crate::adapter::AdapterKind;
use crate::lm::LmArguments;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The settings that all programs of a job share; DSPy keeps them in `dspy.settings`.
#[derive(Clone, Debug)]
pub struct ProgramSettings<'a> {
    /// Named types: name to definition, as [`parse_types`](crate::signature::parse_types) reads them.
    pub types: &'a Map<String, Json>,
    /// The adapter that writes prompts and training rows and reads answers.
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
    /// The predictors, in DSPy's `predictors()` order.
    pub predictors: Vec<PredictorSpec>,
}

/// One predictor of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictorSpec {
    /// The attribute's name, such as `classify`; `self` if the module is the whole program.
    pub name: String,
    /// The predictor's DSPy module.
    pub module: ModuleKind,
    /// The signature in DSPy's mini-language.
    pub signature: String,
    /// The instructions, `None` for DSPy's default.
    pub instructions: Option<String>,
    /// Field descriptions, by field name.
    pub desc: IndexMap<String, String>,
    /// Field prefixes from a saved state, by field name.
    pub prefix: IndexMap<String, String>,
    /// The demos, each one JSON object as text (which keeps Python's number types).
    pub demos: Vec<String>,
    /// The LM arguments of this predictor's calls, which override the LM's own.
    pub config: Map<String, Json>,
    /// The names of inputs in the namespace, by field name, where they differ.
    pub inputs: IndexMap<String, String>,
    /// How many times in a row the predictor is called.
    pub repeat: u32,
    /// The LM's name in the job file.
    pub lm: String,
}

impl PredictorSpec {
    /// The name that DSPy's `named_predictors()` gives: a ChainOfThought owns a predictor called `predict`, and a bare
    /// Predict is its own predictor, `self`.
    pub fn predictor_name(&self) -> String {
        match self.module {
            ModuleKind::Predict => self.name.clone(),
            ModuleKind::ChainOfThought if self.is_program() => "predict".to_owned(),
            ModuleKind::ChainOfThought => format!("{}.predict", self.name),
        }
    }

    /// Whether the module is the whole program, such as `dspy.ChainOfThought("question -> answer")`.
    pub fn is_program(&self) -> bool {
        self.name == "self"
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
