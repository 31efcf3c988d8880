//! `dspy.LM` without its transport: the arguments, the request body, the answer and the token counts.

mod body;
mod reasoning_models;
mod response;

pub use body::{BodyError, RequestBody};
pub use reasoning_models::{LEAST_MAX_TOKENS, is_reasoning_model};
pub use response::{InsteadOfText, LmResponse, MissingPart, is_cut};

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

/// Token counts of one or more answers, as the servers report them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the requests.
    pub prompt_tokens: u64,
    /// Tokens of the answers.
    pub completion_tokens: u64,
    /// Answers whose tokens the server did not report, or not all of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unknown: u64,
}

impl Usage {
    /// The usage of an answer whose tokens are not known.
    pub const UNKNOWN: Usage = Usage {
        prompt_tokens: 0,
        completion_tokens: 0,
        unknown: 1,
    };

    /// The usage of an answer of which both numbers are known.
    pub fn known(prompt_tokens: u64, completion_tokens: u64) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            unknown: 0,
        }
    }

    /// Tokens of the requests and the answers, as far as they are known.
    pub fn tokens(self) -> u64 {
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}

impl std::ops::AddAssign for Usage {
    /// Sums saturate: a server may report any number.
    fn add_assign(&mut self, other: Usage) {
        self.prompt_tokens = self.prompt_tokens.saturating_add(other.prompt_tokens);
        self.completion_tokens = self.completion_tokens.saturating_add(other.completion_tokens);
        self.unknown = self.unknown.saturating_add(other.unknown);
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
