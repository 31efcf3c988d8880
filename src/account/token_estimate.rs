//! Estimates the tokens of a call before it is sent, from the usage of earlier answers.

use crate::lm::Usage;

/// Prompt tokens per byte of the request, before the first answer.
const FIRST_RATIO: f64 = 0.25;

/// Completion tokens of an answer, before the first answer.
const FIRST_ANSWER: f64 = 500.0;

/// The weight of the newest answer in the moving averages.
const WEIGHT: f64 = 0.1;

/// The number of answers from which the completion tokens are estimated.
const ANSWERS: usize = 64;

/// The number of answers after which that estimate is updated.
const RENEWED_EVERY: usize = 8;

/// Estimates the tokens of calls to one LM.
#[derive(Debug)]
pub(super) struct TokenEstimate {
    tokens_per_byte: f64,
    answers: Vec<u64>,
    seen: usize,
    /// The 90th percentile of the completion tokens.
    answer: f64,
    /// The moving average of prompt and completion tokens of a call.
    mean: f64,
}

impl Default for TokenEstimate {
    fn default() -> TokenEstimate {
        TokenEstimate {
            tokens_per_byte: FIRST_RATIO,
            answers: Vec::new(),
            seen: 0,
            answer: FIRST_ANSWER,
            mean: 0.0,
        }
    }
}

impl TokenEstimate {
    /// The tokens to reserve for a request of `bytes` bytes and its answer.
    pub(super) fn tokens(&self, bytes: usize) -> f64 {
        bytes as f64 * self.tokens_per_byte + self.answer
    }

    /// The mean of prompt and completion tokens of a call; `None` before the first answer.
    pub(super) fn mean(&self) -> Option<f64> {
        (self.mean > 0.0).then_some(self.mean)
    }

    pub(super) fn observe(&mut self, bytes: usize, usage: Usage) {
        let ratio = usage.prompt_tokens as f64 / bytes.max(1) as f64;
        let weight = if self.seen == 0 { 1.0 } else { WEIGHT };
        self.tokens_per_byte += weight * (ratio - self.tokens_per_byte);
        let all = usage.tokens() as f64;
        self.mean += weight * (all - self.mean);
        if self.answers.len() < ANSWERS {
            self.answers.push(usage.completion_tokens);
        } else {
            self.answers[self.seen % ANSWERS] = usage.completion_tokens;
        }
        self.seen += 1;
        if self.seen <= RENEWED_EVERY || self.seen.is_multiple_of(RENEWED_EVERY) {
            let mut sorted = self.answers.clone();
            sorted.sort_unstable();
            self.answer = sorted[(sorted.len() * 9 / 10).min(sorted.len() - 1)] as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_estimate_follows_the_usage_of_answers() {
        let mut estimate = TokenEstimate::default();
        assert_eq!(estimate.tokens(400), 600.0);
        for tokens in 1..=64 {
            estimate.observe(400, Usage::known(200, tokens));
        }
        let tokens = estimate.tokens(800);
        assert!((tokens - (400.0 + 58.0)).abs() < 1.5, "{tokens}");
    }
}
