//! The job's `train` in words that every trainer has: services, DSPy and trainers call the same thing by several names.

use serde_json::{Map, Value as Json};

/// Passes over the data, where the job says nothing.
const EPOCHS: f64 = 3.0;

/// Rows to a step on one device, likewise.
const BATCH: u64 = 4;

/// How fast all weights learn, likewise.
const FULL_RATE: f64 = 2e-5;

/// How fast an adapter learns, likewise: it starts from nothing and needs about ten times as much.
const LORA_RATE: f64 = 2e-4;

/// What a trainer is told.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerArguments {
    /// Passes over the data.
    pub epochs: f64,
    /// The learning rate at its peak.
    pub learning_rate: f64,
    /// Rows to a step on one device.
    pub batch_size: u64,
    /// Steps whose gradients are added up before the weights change.
    pub accumulation: u64,
    /// Steps in which the learning rate rises.
    pub warmup_steps: Option<u64>,
    /// How much weights are drawn to zero.
    pub weight_decay: Option<f64>,
    /// The most tokens of a row, where the job sets a limit.
    pub max_length: Option<u64>,
    /// What an adapter is like; none: all weights learn.
    pub lora: Option<Lora>,
    /// Keys of `train` that are none of these.
    pub left_out: Vec<String>,
}

/// What an adapter is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lora {
    /// Its rank.
    pub rank: u64,
    /// How much it weighs, times its rank.
    pub alpha: u64,
    /// Which part of it is left out at random (0..1).
    pub dropout: f64,
}

const LORA: Lora = Lora {
    rank: 16,
    alpha: 32,
    dropout: 0.05,
};

impl TrainerArguments {
    /// Reads `train`. The value `"auto"` is nothing said.
    pub fn of(train: &Map<String, Json>) -> TrainerArguments {
        let mut said = TrainTable(train.clone());
        said.0.retain(|_, value| *value != "auto");
        let lora = lora(&mut said);
        let rate = if lora.is_some() { LORA_RATE } else { FULL_RATE };
        TrainerArguments {
            epochs: said
                .number(&["n_epochs", "num_train_epochs", "num_epochs", "epochs"])
                .unwrap_or(EPOCHS),
            learning_rate: said.number(&["learning_rate"]).unwrap_or(rate),
            batch_size: said
                .count(&["batch_size", "per_device_train_batch_size", "micro_batch_size"])
                .unwrap_or(BATCH),
            accumulation: said.count(&["gradient_accumulation_steps"]).unwrap_or(1),
            warmup_steps: said.count(&["warmup_steps"]),
            weight_decay: said.number(&["weight_decay"]),
            max_length: said.count(&["max_length", "max_seq_length"]),
            lora,
            left_out: said.0.into_iter().map(|(key, _)| key).collect(),
        }
    }
}

/// `lora = true`, `lora = { rank = 8 }`, `use_peft = true`, or any of `lora_rank`, `lora_alpha`, `lora_dropout`.
fn lora(said: &mut TrainTable) -> Option<Lora> {
    let table = match said.take(&["lora"], Json::as_object) {
        Some(table) => Some(table),
        None => said.wants(&["lora", "use_peft"]).then(Map::new),
    };
    let mut inner = TrainTable(table.clone().unwrap_or_default());
    let rank = inner
        .count(&["r", "rank"])
        .or_else(|| said.count(&["lora_r", "lora_rank"]));
    let alpha = inner.count(&["alpha"]).or_else(|| said.count(&["lora_alpha"]));
    let dropout = inner
        .number(&["dropout"])
        .or_else(|| said.number(&["lora_dropout"]));
    for (key, value) in inner.0 {
        said.0.insert(format!("lora.{key}"), value);
    }
    if table.is_none() && rank.is_none() && alpha.is_none() && dropout.is_none() {
        return None;
    }
    let rank = rank.unwrap_or(LORA.rank);
    Some(Lora {
        rank,
        alpha: alpha.unwrap_or(2 * rank),
        dropout: dropout.unwrap_or(LORA.dropout),
    })
}

/// What is not read yet.
struct TrainTable(Map<String, Json>);

impl TrainTable {
    /// Takes the first of the names whose value `read` can read; others stay and count as not taken over.
    fn take<T: ToOwned + ?Sized>(
        &mut self,
        names: &[&str],
        read: impl Fn(&Json) -> Option<&T>,
    ) -> Option<T::Owned> {
        let name = names
            .iter()
            .find(|name| self.0.get(**name).is_some_and(|value| read(value).is_some()))?;
        self.0
            .shift_remove(*name)
            .as_ref()
            .and_then(read)
            .map(T::to_owned)
    }

    fn number(&mut self, names: &[&str]) -> Option<f64> {
        let is_number = |value: &Json| value.as_f64().is_some_and(|n| n >= 0.0);
        let taken = self.take(names, |value| is_number(value).then_some(value))?;
        taken.as_f64()
    }

    fn count(&mut self, names: &[&str]) -> Option<u64> {
        let taken = self.take(names, |value| value.as_u64().filter(|n| *n > 0).map(|_| value))?;
        taken.as_u64()
    }

    /// Whether one of the names says so; what says no is taken, too.
    fn wants(&mut self, names: &[&str]) -> bool {
        let mut wants = false;
        for name in names {
            let taken = self.take(&[name], |value| value.is_boolean().then_some(value));
            wants |= taken == Some(Json::Bool(true));
        }
        wants
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(train: Json) -> TrainerArguments {
        TrainerArguments::of(train.as_object().expect("a table"))
    }

    #[test]
    fn nothing_said_is_three_passes_over_all_weights() {
        let arguments = of(json!({}));
        assert_eq!(arguments.epochs, EPOCHS);
        assert_eq!(arguments.learning_rate, FULL_RATE);
        assert_eq!(arguments.lora, None);
        assert_eq!(
            of(json!({"n_epochs": "auto", "batch_size": "auto", "lora": false})),
            arguments
        );
    }

    #[test]
    fn the_names_of_services_and_of_trainers_mean_the_same() {
        let ours = of(json!({"n_epochs": 2, "batch_size": 8, "learning_rate": 1e-4, "max_length": 900}));
        let theirs = of(
            json!({"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-4, "max_seq_length": 900}),
        );
        assert_eq!(ours, theirs);
        assert!(ours.left_out.is_empty());
    }

    #[test]
    fn an_adapter_is_asked_for_in_many_ways() {
        for train in [
            json!({"lora": true}),
            json!({"use_peft": true}),
            json!({"lora": {"rank": 16, "alpha": 32}}),
            json!({"lora_r": 16}),
            json!({"lora_alpha": 32, "lora_dropout": 0.05}),
        ] {
            let arguments = of(train.clone());
            assert_eq!(arguments.lora, Some(LORA), "{train}");
            assert_eq!(arguments.learning_rate, LORA_RATE, "{train}");
            assert!(arguments.left_out.is_empty(), "{train}");
        }
        assert_eq!(of(json!({"lora_rank": 8})).lora.map(|lora| lora.alpha), Some(16));
    }

    #[test]
    fn what_no_trainer_knows_is_said() {
        let arguments = of(
            json!({"learning_rate_multiplier": 2, "n_epochs": "three", "lora": {"r": 4, "targets": "all"}}),
        );
        assert_eq!(
            arguments.left_out,
            ["learning_rate_multiplier", "n_epochs", "lora.targets"]
        );
    }
}
