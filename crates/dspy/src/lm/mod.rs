//! `dspy.LM` without its transport: the arguments, the request body and the token counts.

mod body;
mod reasoning_models;

pub use body::{BodyError, RequestBody};
pub use reasoning_models::{LEAST_MAX_TOKENS, is_reasoning_model};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The properties of a `dspy.LM` that the request body and the saved state need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LmArguments<'a> {
    /// The name by which predictors refer to the LM. DSPy itself has no such name.
    pub name: &'a str,
    /// The full model name, such as `openai/gpt-4.1`.
    pub model: &'a str,
    /// The server's address up to and including `/v1`, `None` for the provider's own.
    pub api_base: Option<&'a str>,
    /// The sampling temperature, `None` for the server's default.
    pub temperature: Option<f64>,
    /// The most tokens that an answer may have, `None` for the server's default.
    pub max_tokens: Option<u64>,
    /// The number of retries after the first request, `None` for DSPy's default of 3.
    pub num_retries: Option<u32>,
    /// Further keyword arguments, passed on unchanged.
    pub extra: &'a Map<String, Json>,
}

/// Token counts as the server reports them, 0 if it reports none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the request.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub completion_tokens: u64,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.prompt_tokens += other.prompt_tokens;
        self.completion_tokens += other.completion_tokens;
    }
}
