//! Programs: predictors wired through a namespace, ready to run on examples.
//!
//! A program is built once per teacher and job. The build renders the parts that do not depend on the example: system
//! message, demos and request head.
//!
//! # Example
//!
//! The program has one predictor, which maps `text` to `label`. The caller takes each request, gets an answer from the
//! LM, and passes the answer back until the program is done:
//!
//! ```
//! use bsft_dspy::adapter::AdapterKind;
//! use bsft_dspy::lm::{LmArguments, LmResponse};
//! use bsft_dspy::program::{ModuleKind, PredictorSpec, Program, ProgramSettings, ProgramSpec, Step};
//! use bsft_pycompat::value::{Record, Value};
//!
//! let spec = ProgramSpec {
//!     predictors: vec![PredictorSpec {
//!         name: "classify".to_owned(),
//!         module: ModuleKind::Predict,
//!         signature: "text -> label".to_owned(),
//!         instructions: None,
//!         desc: Default::default(),
//!         prefix: Default::default(),
//!         demos: vec![r#"{"text": "Hello", "label": "ham"}"#.to_owned()],
//!         config: Default::default(),
//!         inputs: Default::default(),
//!         repeat: 1,
//!         lm: "small".to_owned(),
//!     }],
//! };
//! let none = serde_json::Map::new();
//! let lm = LmArguments {
//!     name: "small",
//!     model: "openai/gpt-4.1-mini",
//!     api_base: None,
//!     temperature: Some(0.0),
//!     max_tokens: None,
//!     num_retries: None,
//!     extra: &none,
//! };
//! let settings = ProgramSettings {
//!     types: &none,
//!     adapter: AdapterKind::Chat,
//!     exclude_demos: false,
//!     lms: vec![lm],
//! };
//! let program = Program::build(&spec, &settings)?;
//!
//! let example = Record::from([("text".to_owned(), Value::from("Win a prize!"))]);
//! let inputs = ["text".to_owned()];
//! let mut step = program.start(&example, &inputs).map_err(|failure| failure.message)?;
//! let result = loop {
//!     match step {
//!         Step::Ask(call) => {
//!             // A client sends `body` to the LM and returns the answer.
//!             let body = call.request().body;
//!             assert!(body.starts_with(r#"{"model":"gpt-4.1-mini","messages":[{"role":"system""#));
//!             let answer = LmResponse {
//!                 text: "[[ ## label ## ]]\nspam\n\n[[ ## completed ## ]]".to_owned(),
//!                 ..LmResponse::default()
//!             };
//!             step = call.answer(answer).map_err(|failure| failure.message)?;
//!         }
//!         Step::Done(result) => break result,
//!     }
//! };
//! assert_eq!(result.output("label"), Some(&Value::from("spam")));
//! assert_eq!(result.calls[0].predictor, "classify");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod call;
mod demo_warnings;
mod prediction;
mod prompt_differences;
mod run;
mod saved_state;
mod spec;

pub use build::BuildError;
pub use call::{Call, Exchange};
pub use demo_warnings::unread_demo_keys;
pub use prediction::Prediction;
pub use prompt_differences::{PromptPart, prompt_differences};
pub use run::{
    CallRequest, PendingCall, ProgramFailure, ProgramFailureKind, ProgramResult, Step, UnparsedCall,
    UnusedExchange,
};
pub use saved_state::{TrainedModel, has_private_models, saved_state};
pub use spec::{ModuleKind, PredictorSpec, ProgramSettings, ProgramSpec};

use crate::adapter::AdapterKind;
use crate::lm::RequestBody;
use crate::signature::Signature;

/// A declarative program.
pub struct Program {
    predictors: Vec<Predictor>,
}

/// One predictor of a program.
struct Predictor {
    /// The name in DSPy's `named_predictors()`.
    name: String,
    /// The LM's name in the job file.
    lm: String,
    signature: Signature,
    adapter: AdapterKind,
    body: RequestBody,
    /// System message and demos: a JSON array without its closing bracket.
    prelude: String,
    /// The prelude of training rows, if they omit the demos.
    row_prelude: Option<String>,
    /// The prelude of the one retry that DSPy makes with its JSON adapter when an answer does not parse.
    retry_prelude: Option<String>,
    /// The `response_format` of requests by the JSON adapter.
    response_format: Option<serde_json::Value>,
    /// Pairs of an input field and its name in the namespace.
    wiring: Vec<(String, String)>,
    repeat: u32,
}

impl Program {
    /// The annotation of an output field, from the last predictor that has a field of this name.
    pub fn output_type(&self, field: &str) -> Option<&crate::signature::Type> {
        let outputs = self.predictors.iter().rev().flat_map(|p| &p.signature.outputs);
        outputs
            .into_iter()
            .find(|output| output.name == field)
            .map(|output| &output.ty)
    }

    /// For each call: the LM's name and the number of characters in its messages, without inputs that an earlier call
    /// produces.
    pub fn prompt_sizes<'a>(
        &'a self,
        example: &'a bsft_pycompat::value::Record,
    ) -> impl Iterator<Item = (&'a str, usize)> + 'a {
        self.predictors.iter().flat_map(move |p| {
            let user = p.user(p.adapter.adapter(), example).map_or(0, |turn| turn.len());
            std::iter::repeat_n((p.lm.as_str(), p.prelude.len() + user), p.repeat as usize)
        })
    }
}
