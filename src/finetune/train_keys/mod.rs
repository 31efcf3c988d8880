//! The keys of `train` that each service accepts. Services report a wrong key only after the upload of the rows, or never.

mod fireworks;
mod openai;
mod together;

pub(super) use fireworks::{FIREWORKS_KEYS, fireworks_keys};
pub(super) use openai::problems as openai_problems;
pub(super) use together::TOGETHER_KEYS;

use super::{ProviderError, ProviderSpec};
use crate::schema::nearest;
use serde_json::{Map, Value as Json};

/// The values that a key accepts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Allowed {
    /// An integer of at least this.
    Whole(u64),
    /// A number of at least this.
    AtLeast(f64),
    /// A number above 0.
    Positive,
    /// A number from 0 to 1.
    Fraction,
    /// `true` or `false`.
    Flag,
    /// Any non-empty string.
    Text,
    /// One of these strings.
    Word(&'static [&'static str]),
    /// An integer of at least this, or this string.
    WholeOr(u64, &'static str),
    /// `true`, `false`, or this string.
    FlagOr(&'static str),
}

/// A key of `train` and the values that it accepts.
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

    fn description(self) -> String {
        match self {
            Allowed::Whole(least) => format!("an integer of at least {least}"),
            Allowed::AtLeast(least) => format!("a number of at least {least}"),
            Allowed::Positive => "a number above 0".to_owned(),
            Allowed::Fraction => "a number from 0 to 1".to_owned(),
            Allowed::Flag => "true or false".to_owned(),
            Allowed::Text => "a string".to_owned(),
            Allowed::Word(words) => format!("one of \"{}\"", words.join("\", \"")),
            Allowed::WholeOr(least, name) => format!("an integer of at least {least}, or \"{name}\""),
            Allowed::FlagOr(name) => format!("true, false or \"{name}\""),
        }
    }
}

impl ProviderSpec {
    /// The problem with a key of `train`. `None` if the provider accepts it, or if only its trainer can decide.
    pub fn unfit_train(&self, key: &str, value: &Json) -> Option<String> {
        match self {
            ProviderSpec::Openai(_) => openai::problem(key, value),
            ProviderSpec::Together(_) => problem(key, value, &TOGETHER_KEYS, "together"),
            ProviderSpec::Fireworks(_) => problem(key, value, &fireworks_keys(), "fireworks"),
            ProviderSpec::Export(_) | ProviderSpec::Simulated | ProviderSpec::Command(_) => None,
        }
    }
}

/// The problem with one key. `None` if its value is accepted.
fn problem(key: &str, value: &Json, known: &[TrainKey], provider: &str) -> Option<String> {
    match known.iter().find(|(name, _)| *name == key) {
        Some((_, allowed)) if allowed.takes(value) => None,
        Some((_, allowed)) => Some(format!(
            "train.{key} = {value} is not allowed: write {}",
            allowed.description()
        )),
        None => {
            let advice = nearest(key, known.iter().map(|(name, _)| *name));
            Some(format!(
                "provider {provider} does not accept train.{key}: {advice}"
            ))
        }
    }
}

/// Checks all keys of `train`. The error contains every problem.
pub(super) fn check(
    train: &Map<String, Json>,
    known: &[TrainKey],
    provider: &str,
) -> Result<(), ProviderError> {
    let problems: Vec<String> = train
        .iter()
        .filter_map(|(key, value)| problem(key, value, known, provider))
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(ProviderError::Refused(problems.join("; ")))
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
    fn check_suggests_the_nearest_key() {
        assert_eq!(
            problem(json!({"n_epoch": 3})),
            "provider together does not accept train.n_epoch: did you mean `n_epochs`?"
        );
    }

    #[test]
    fn check_reports_every_invalid_value() {
        assert_eq!(
            problem(
                json!({"n_epochs": 0, "learning_rate": "low", "warmup_ratio": 2, "batch_size": "min",
                "lr_scheduler_type": "step"})
            ),
            "train.n_epochs = 0 is not allowed: write an integer of at least 1; \
             train.learning_rate = \"low\" is not allowed: write a number above 0; \
             train.warmup_ratio = 2 is not allowed: write a number from 0 to 1; \
             train.batch_size = \"min\" is not allowed: write an integer of at least 1, or \"max\"; \
             train.lr_scheduler_type = \"step\" is not allowed: write one of \"linear\", \"cosine\""
        );
    }

    #[test]
    fn check_accepts_valid_values() {
        assert_eq!(
            problem(json!({"n_epochs": 3, "learning_rate": 1e-5, "warmup_ratio": 0, "batch_size": "max"})),
            "none"
        );
    }
}
