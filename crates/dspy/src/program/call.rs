//! A call of a program: what was asked, and what came of it.

use crate::lm::LmResponse;
use bsft_pycompat::value::Record;

/// One invocation of a predictor.
#[derive(Clone, Debug)]
pub struct Call {
    /// The predictor's name in DSPy's `named_predictors()`.
    pub predictor: String,
    /// The LM's name in the settings.
    pub lm: String,
    /// The predictor's inputs.
    pub inputs: Record,
    /// The predictor's outputs.
    pub outputs: Record,
    /// The exchange whose answer was used.
    pub used: Exchange,
    /// The earlier exchanges whose answers did not parse.
    pub unparsed: Vec<Exchange>,
    /// The training row's messages before the assistant turn, as a JSON array; `None` if they are `used.messages`.
    pub prompt: Option<String>,
    /// The training row's assistant turn.
    pub assistant: String,
}

/// One request to an LM and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The messages sent, as a compact JSON array.
    pub messages: String,
    /// The answer, with its tokens.
    pub answer: LmResponse,
}
