//! What is known of a task's answers beside its line, whose bytes depend on nothing but the answers.

use indexmap::IndexMap;
use memchr::memmem;
use serde::{Deserialize, Serialize};

/// Travels from the worker to the spend log, beside the outcome.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerNotes {
    /// How long answers took, in milliseconds, by LM in the order of their calls.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub latency_ms: IndexMap<String, Vec<u32>>,
    /// Answers by LM and endpoint, of LMs with several endpoints.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub endpoints: IndexMap<String, IndexMap<String, u64>>,
    /// Calls that were sent by attempts which ended with their worker.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unsettled: Vec<UnsettledCall>,
}

/// A call that may have been answered and paid: what came of it died with a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsettledCall {
    /// Its place in its task.
    pub call: u32,
    /// The LM's name in the job file.
    pub lm: String,
    #[serde(flatten)]
    pub bound: TokenBound,
}

/// The most tokens that a call can have cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBound {
    /// A token is at least a byte of the request.
    pub prompt_tokens: u64,
    /// `max_tokens` of the request; `None` if it has none.
    pub completion_tokens: Option<u64>,
}

impl AnswerNotes {
    /// Whether nothing is noted.
    pub fn is_empty(&self) -> bool {
        self.latency_ms.is_empty() && self.endpoints.is_empty() && self.unsettled.is_empty()
    }

    /// Notes how long an answer took.
    pub fn answered(&mut self, lm: &str, latency_ms: u32) {
        match self.latency_ms.get_mut(lm) {
            Some(latencies) => latencies.push(latency_ms),
            None => drop(self.latency_ms.insert(lm.to_owned(), vec![latency_ms])),
        }
    }

    /// Notes which endpoint gave an answer.
    pub fn served(&mut self, lm: &str, endpoint: &str) {
        let endpoints = self.endpoints.entry(lm.to_owned()).or_default();
        *endpoints.entry(endpoint.to_owned()).or_default() += 1;
    }
}

impl TokenBound {
    /// The bound of a request with this body.
    pub fn from_body(body: &str) -> TokenBound {
        TokenBound {
            prompt_tokens: body.len() as u64,
            completion_tokens: max_tokens(body),
        }
    }
}

/// The value of `max_tokens` or `max_completion_tokens`. In a text of the body the quote after the key would be escaped.
fn max_tokens(body: &str) -> Option<u64> {
    const END: &str = "tokens\":";
    let is_key = |at: &usize| {
        let before = &body[..*at];
        before.ends_with("\"max_") || before.ends_with("\"max_completion_")
    };
    let key = memmem::find_iter(body.as_bytes(), END).find(is_key)?;
    let value = body[key + END.len()..].trim_start();
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    value[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_tokens_is_that_of_the_request() {
        let body = r#"{"messages":[{"content":"\"max_tokens\":9"}],"max_tokens":100}"#;
        assert_eq!(max_tokens(body), Some(100));
        assert_eq!(
            max_tokens(r#"{"max_completion_tokens": 16000, "n": 1}"#),
            Some(16_000)
        );
        assert_eq!(
            max_tokens(r#"{"messages":[{"content":"\"max_tokens\":5"}]}"#),
            None
        );
        assert_eq!(max_tokens(r#"{"max_tokens":null}"#), None);
        assert_eq!(max_tokens(r#"{"min_tokens":5,"max_tokens":7}"#), Some(7));
    }

    #[test]
    fn latencies_are_kept_by_lm() {
        let mut notes = AnswerNotes::default();
        assert!(notes.is_empty());
        for (lm, ms) in [("a", 3), ("b", 5), ("a", 4)] {
            notes.answered(lm, ms);
        }
        assert_eq!(
            serde_json::json!(notes),
            serde_json::json!({"latency_ms": {"a": [3, 4], "b": [5]}})
        );
    }
}
