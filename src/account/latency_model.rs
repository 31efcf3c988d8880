//! Predicts the latency of an answer from its tokens, by linear regression over the last answers.
//!
//! Where the latency grows with the length of the answer, latency per token makes answers comparable. Where it does not, latency per token
//! would only add noise. The regression line covers both cases and those between.

/// The latency and the length of one answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct TimedAnswer {
    pub(super) secs: f64,
    /// Tokens of the completion, without those of the prompt.
    pub(super) tokens: f64,
}

/// The fewest answers from which a line is fitted.
const LEAST_ANSWERS: usize = 16;

/// A regression line of latency over tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LatencyModel {
    mean_secs: f64,
    mean_tokens: f64,
    /// The share of the mean latency that grows with the tokens, from 0 to 1.
    proportional: f64,
}

impl LatencyModel {
    /// Fits the line by least squares. `None` if there are fewer than [`LEAST_ANSWERS`] answers.
    pub(super) fn fit(answers: &[TimedAnswer]) -> Option<LatencyModel> {
        if answers.len() < LEAST_ANSWERS {
            return None;
        }
        let count = answers.len() as f64;
        let mean = |value: fn(&TimedAnswer) -> f64| answers.iter().map(value).sum::<f64>() / count;
        let mean_secs = mean(|answer| answer.secs);
        let mean_tokens = mean(|answer| answer.tokens);
        let (mut covariance, mut variance) = (0.0, 0.0);
        for answer in answers {
            let tokens = answer.tokens - mean_tokens;
            covariance += tokens * (answer.secs - mean_secs);
            variance += tokens * tokens;
        }
        let slope = if variance > 0.0 {
            covariance / variance
        } else {
            0.0
        };
        let proportional = if mean_secs > 0.0 {
            (slope * mean_tokens / mean_secs).clamp(0.0, 1.0)
        } else {
            0.0
        };
        Some(LatencyModel {
            mean_secs,
            mean_tokens,
            proportional,
        })
    }

    /// The predicted latency, in seconds, of an answer with `tokens` tokens.
    pub(super) fn secs(&self, tokens: f64) -> f64 {
        self.mean_secs * self.weight(tokens, self.mean_tokens)
    }

    pub(super) fn mean_tokens(&self) -> f64 {
        self.mean_tokens
    }

    /// The predicted latency of an answer with `tokens` tokens, as a multiple of that of an answer with `reference` tokens.
    pub(super) fn weight(&self, tokens: f64, reference: f64) -> f64 {
        if reference <= 0.0 {
            return 1.0;
        }
        1.0 - self.proportional + self.proportional * tokens / reference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(secs: impl Fn(f64) -> f64) -> Vec<TimedAnswer> {
        let tokens = (1..=100).map(f64::from);
        tokens
            .map(|tokens| TimedAnswer {
                secs: secs(tokens),
                tokens,
            })
            .collect()
    }

    #[test]
    fn latency_in_proportion_to_tokens_is_found() {
        let model = LatencyModel::fit(&answers(|tokens| 0.02 * tokens)).unwrap();
        assert!((model.secs(1000.0) - 20.0).abs() < 1e-6, "{model:?}");
        assert!((model.weight(20.0, 10.0) - 2.0).abs() < 1e-6, "{model:?}");
    }

    #[test]
    fn latency_that_does_not_depend_on_tokens_is_found() {
        let model = LatencyModel::fit(&answers(|_| 0.3)).unwrap();
        assert!((model.secs(1000.0) - 0.3).abs() < 1e-6, "{model:?}");
        assert_eq!(model.weight(20.0, 10.0), 1.0);
    }

    #[test]
    fn few_answers_and_answers_without_usage_have_no_slope() {
        assert_eq!(LatencyModel::fit(&answers(|_| 1.0)[..15]), None);
        let without = [TimedAnswer {
            secs: 2.0,
            tokens: 0.0,
        }; 20];
        assert_eq!(LatencyModel::fit(&without).unwrap().secs(500.0), 2.0);
    }
}
