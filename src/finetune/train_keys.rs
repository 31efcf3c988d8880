//! What `train` may say, for services that would only complain once the rows are uploaded, or not at all.

use super::ProviderError;
use crate::schema::nearest;
use serde_json::{Map, Value as Json};

/// What a value may be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allowed {
    /// A whole number from here on.
    Whole(u64),
    /// A number from here on.
    AtLeast(f64),
    /// A number above 0.
    Positive,
    /// A number from 0 to 1.
    Fraction,
    /// `true` or `false`.
    Flag,
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A whole number from here on, or this word.
    WholeOr(u64, &'static str),
    /// `true`, `false`, or this word.
    FlagOr(&'static str),
}

/// A key of `train`, and what its value may be.
pub(super) type TrainKey = (&'static str, Allowed);

impl Allowed {
    fn takes(self, value: &Json) -> bool {
        let from = |least: f64| value.as_f64().is_some_and(|number| number >= least);
        match self {
            Allowed::Whole(least) => value.as_u64().is_some_and(|number| number >= least),
            Allowed::AtLeast(least) => from(least),
            Allowed::Positive => value.as_f64().is_some_and(|number| number > 0.0),
            Allowed::Fraction => from(0.0) && value.as_f64().is_some_and(|number| number <= 1.0),
            Allowed::Flag => value.is_boolean(),
            Allowed::Text => value.as_str().is_some_and(|text| !text.is_empty()),
            Allowed::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Allowed::WholeOr(least, word) => value == word || Allowed::Whole(least).takes(value),
            Allowed::FlagOr(word) => value == word || value.is_boolean(),
        }
    }

    fn words(self) -> String {
        match self {
            Allowed::Whole(least) => format!("a whole number from {least} on"),
            Allowed::AtLeast(least) => format!("a number from {least} on"),
            Allowed::Positive => "a number above 0".to_owned(),
            Allowed::Fraction => "a number from 0 to 1".to_owned(),
            Allowed::Flag => "true or false".to_owned(),
            Allowed::Text => "a text".to_owned(),
            Allowed::Word(words) => format!("one of \"{}\"", words.join("\", \"")),
            Allowed::WholeOr(least, word) => format!("a whole number from {least} on, or \"{word}\""),
            Allowed::FlagOr(word) => format!("true, false or \"{word}\""),
        }
    }
}

/// What is wrong with one of its keys.
pub(super) fn problem(key: &str, value: &Json, known: &[TrainKey], provider: &str) -> Option<String> {
    match known.iter().find(|(name, _)| *name == key) {
        Some((_, allowed)) if allowed.takes(value) => None,
        Some((_, allowed)) => Some(format!(
            "train.{key} = {value} cannot be: write {}",
            allowed.words()
        )),
        None => {
            let advice = nearest(key, known.iter().map(|(name, _)| *name));
            Some(format!(
                "train.{key} means nothing to provider {provider}: {advice}"
            ))
        }
    }
}

/// Whether `train` says only what the provider knows; tells everything that is wrong.
pub(super) fn check(
    train: &Map<String, Json>,
    known: &[TrainKey],
    provider: &str,
) -> Result<(), ProviderError> {
    let problems: Vec<String> = train
        .iter()
        .filter_map(|(key, value)| problem(key, value, known, provider))
        .collect();
    match problems.is_empty() {
        true => Ok(()),
        false => Err(ProviderError::Refused(problems.join("; "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KNOWN: [TrainKey; 5] = [
        ("n_epochs", Allowed::Whole(1)),
        ("learning_rate", Allowed::Positive),
        ("warmup_ratio", Allowed::Fraction),
        ("batch_size", Allowed::WholeOr(1, "max")),
        ("lr_scheduler_type", Allowed::Word(&["linear", "cosine"])),
    ];

    fn problem(train: Json) -> String {
        let Json::Object(train) = train else {
            panic!("{train}")
        };
        check(&train, &KNOWN, "together").map_or_else(|error| error.to_string(), |()| "none".to_owned())
    }

    #[test]
    fn what_is_meant_is_said_of_an_unknown_key() {
        assert_eq!(
            problem(json!({"n_epoch": 3})),
            "train.n_epoch means nothing to provider together: did you mean `n_epochs`?"
        );
    }

    #[test]
    fn every_value_that_cannot_be_is_told() {
        assert_eq!(
            problem(
                json!({"n_epochs": 0, "learning_rate": "low", "warmup_ratio": 2, "batch_size": "min",
                "lr_scheduler_type": "step"})
            ),
            "train.n_epochs = 0 cannot be: write a whole number from 1 on; \
             train.learning_rate = \"low\" cannot be: write a number above 0; \
             train.warmup_ratio = 2 cannot be: write a number from 0 to 1; \
             train.batch_size = \"min\" cannot be: write a whole number from 1 on, or \"max\"; \
             train.lr_scheduler_type = \"step\" cannot be: write one of \"linear\", \"cosine\""
        );
    }

    #[test]
    fn good_values_pass() {
        assert_eq!(
            problem(json!({"n_epochs": 3, "learning_rate": 1e-5, "warmup_ratio": 0, "batch_size": "max"})),
            "none"
        );
    }
}
