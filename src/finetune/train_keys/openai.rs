//! The keys of `train` that OpenAI's protocol accepts. Servers ignore a misspelt key silently.

use crate::schema::nearest;
use serde_json::{Map, Value as Json};

/// The hyperparameters of the protocol.
const KNOWN: [&str; 3] = ["n_epochs", "batch_size", "learning_rate_multiplier"];

/// The published limits.
const MOST_EPOCHS: u64 = 50;
const LARGEST_BATCH: u64 = 256;

/// Every problem with the keys of `train`.
pub(in crate::finetune) fn problems(train: &Map<String, Json>) -> Vec<String> {
    train
        .iter()
        .filter_map(|(key, value)| problem(key, value))
        .collect()
}

/// The problem with one key. `None` if its value is accepted.
pub(super) fn problem(key: &str, value: &Json) -> Option<String> {
    let within = |most: u64| value.as_u64().is_some_and(|n| (1..=most).contains(&n));
    let (fits, wanted) = match key {
        "n_epochs" => (
            within(MOST_EPOCHS),
            format!("a whole number from 1 to {MOST_EPOCHS}"),
        ),
        "batch_size" => (
            within(LARGEST_BATCH),
            format!("a whole number from 1 to {LARGEST_BATCH}"),
        ),
        "learning_rate_multiplier" => {
            let positive = value.as_f64().is_some_and(|n| n > 0.0 && n.is_finite());
            (positive, "a number above 0".to_owned())
        }
        _ => {
            let hint = nearest(key, KNOWN.into_iter());
            return Some(format!(
                "train: provider openai does not accept `{key}`: {hint}, or put it into `extra` if this server accepts it"
            ));
        }
    };
    let is_auto = value.as_str() == Some("auto");
    (!fits && !is_auto).then(|| format!("train: {key} = {value} is neither \"auto\" nor {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn found(train: Json) -> Vec<String> {
        problems(train.as_object().unwrap())
    }

    #[test]
    fn problems_accepts_the_limits_of_the_protocol() {
        let least = json!({"n_epochs": 1, "batch_size": 1, "learning_rate_multiplier": 1e-9});
        let most = json!({"n_epochs": 50, "batch_size": 256, "learning_rate_multiplier": 2});
        let auto = json!({"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"});
        for fine in [json!({}), least, most, auto] {
            assert_eq!(found(fine), Vec::<String>::new());
        }
    }

    #[test]
    fn problems_reports_every_problem() {
        let wrong = json!({"n_epochs": 51, "batch_size": 0, "learning_rate_multiplier": 0, "n_epoch": 3});
        let found = found(wrong);
        assert_eq!(found.len(), 4, "{found:?}");
        assert_eq!(
            found[0],
            "train: n_epochs = 51 is neither \"auto\" nor a whole number from 1 to 50"
        );
        assert!(
            found[3].contains("`n_epoch`") && found[3].contains("n_epochs"),
            "{}",
            found[3]
        );
    }

    #[test]
    fn problems_rejects_quoted_numbers() {
        assert_eq!(found(json!({"n_epochs": "3"})).len(), 1);
        assert_eq!(found(json!({"batch_size": 2.5})).len(), 1);
        assert_eq!(found(json!({"learning_rate_multiplier": null})).len(), 1);
    }
}
