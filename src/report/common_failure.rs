//! The failure that most failed examples have in common, with one of them.

use super::figures::count;
use crate::http::shorten;
use crate::trace::FailureIndex;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fmt;

/// The maximum number of different messages that are counted. Further ones are not common.
const MAX_MESSAGES: usize = 256;

/// A failure and how often it happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommonFailure {
    /// The kind in `failures.jsonl`.
    pub kind: String,
    /// The message of the first such failure, shortened.
    pub message: String,
    /// Failed tasks with this message; numbers in it may differ.
    pub failures: usize,
    /// The index of an example that failed with it.
    pub example: u32,
}

impl fmt::Display for CommonFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failures = count(self.failures as u64);
        write!(f, "{failures} × {} (example {})", self.message, self.example)
    }
}

/// Failures by message.
#[derive(Debug, Default)]
pub struct FailureMessages(HashMap<String, CommonFailure>);

impl FailureMessages {
    /// Counts a failure.
    pub fn enter(&mut self, failure: &FailureIndex) {
        let message = shorten(&failure.message);
        let key = kind_of(&message);
        if let Some(known) = self.0.get_mut(&key) {
            known.failures += 1;
        } else if self.0.len() < MAX_MESSAGES {
            let first = CommonFailure {
                kind: failure.kind.name().to_owned(),
                message,
                failures: 1,
                example: failure.example,
            };
            self.0.insert(key, first);
        }
    }

    /// The most frequent failure; of several, that of the first example.
    pub fn commonest(&self) -> Option<&CommonFailure> {
        let failures = self.0.values();
        failures.max_by_key(|failure| (failure.failures, std::cmp::Reverse(failure.example)))
    }

    /// So many of the most frequent failures, in this order.
    pub fn most_common(&self, most: usize) -> Vec<CommonFailure> {
        let mut failures: Vec<&CommonFailure> = self.0.values().collect();
        failures.sort_by_key(|failure| (std::cmp::Reverse(failure.failures), failure.example));
        failures.into_iter().take(most).cloned().collect()
    }
}

/// The message without what differs from example to example: numbers, quoted values, and the words of a refusal.
fn kind_of(message: &str) -> String {
    let end = message
        .find("a refusal")
        .map_or(message.len(), |at| at + "a refusal".len());
    let mut kind = String::with_capacity(end);
    let mut rest = message[..end].chars();
    let mut is_after_space = true;
    while let Some(c) = rest.next() {
        // An apostrophe within a word opens no quotation.
        if matches!(c, '\'' | '"') && is_after_space {
            let mut quoted = rest.clone();
            if quoted.any(|other| other == c) {
                rest = quoted;
            } else {
                // The message was shortened within the quotation.
                break;
            }
        } else if !c.is_ascii_digit() {
            kind.push(c);
        }
        is_after_space = c.is_whitespace() || c == '(';
    }
    kind
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(example: u32, message: &str) -> FailureIndex {
        let line = serde_json::json!({
            "teacher": 0, "example": example, "kind": "lm", "message": message, "attempts": 1,
            "task": "0".repeat(32), "made_by": "",
        });
        FailureIndex::parse(&line.to_string()).expect("a failure")
    }

    #[test]
    fn commonest_failure_ignores_numbers_in_messages() {
        let mut messages = FailureMessages::default();
        assert_eq!(messages.commonest(), None);
        messages.enter(&failure(3, "no field `label`"));
        messages.enter(&failure(5, "5123 tokens are too many"));
        messages.enter(&failure(9, "6001 tokens are too many"));
        let commonest = messages.commonest().expect("three failures");
        assert_eq!(commonest.to_string(), "2 × 5123 tokens are too many (example 5)");
        let all: Vec<u32> = messages
            .most_common(9)
            .iter()
            .map(|failure| failure.example)
            .collect();
        assert_eq!(all, [5, 3]);
        assert_eq!(messages.most_common(1).len(), 1);
    }

    #[test]
    fn commonest_failure_ignores_values_and_words_of_refusals() {
        let mut messages = FailureMessages::default();
        for (example, message) in [
            "the answer's field `score` cannot be read: '85%' is not a valid float; the JSON retry: no object",
            "the answer's field `score` cannot be read: 'high, I\u{2019}d say' is not a valid float; the JSON retry: no object",
            "the answer is a refusal: I cannot help with that",
            "the answer is a refusal: Sorry, no",
            "the answer's field `label` cannot be read: 'x' is not a valid float; the JSON retry: no object",
        ]
        .into_iter()
        .enumerate()
        {
            messages.enter(&failure(example as u32, message));
        }
        let counted: Vec<u64> = messages
            .most_common(9)
            .iter()
            .map(|failure| failure.failures as u64)
            .collect();
        assert_eq!(counted, [2, 2, 1]);
    }

    #[test]
    fn messages_are_bounded() {
        let mut messages = FailureMessages::default();
        for example in 0..1000u32 {
            let letters: String = example
                .to_string()
                .bytes()
                .map(|b| char::from(b - b'0' + b'a'))
                .collect();
            messages.enter(&failure(example, &letters));
        }
        assert_eq!(messages.0.len(), MAX_MESSAGES);
    }
}
