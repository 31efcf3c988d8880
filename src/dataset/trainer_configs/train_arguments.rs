//! The job's `train` table in neutral terms: services, DSPy and trainers use different names for the same argument.

use serde_json::{Map, Value as Json};

/// The default number of epochs.
const EPOCHS: f64 = 3.0;

/// The default number of rows per step and device.
const BATCH: u64 = 4;

/// The default learning rate of a full fine-tune.
const FULL_RATE: f64 = 2e-5;

/// The default learning rate of an adapter: it starts at zero and needs about ten times the rate.
const LORA_RATE: f64 = 2e-4;

/// The arguments of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainerArguments {
    pub epochs: f64,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Rows per step and device.
    pub batch_size: u64,
    /// The number of steps whose gradients are accumulated.
    pub accumulation: u64,
    /// The number of warm-up steps of the learning rate.
    pub warmup_steps: Option<u64>,
    /// The weight decay.
    pub weight_decay: Option<f64>,
    /// The maximum number of tokens of a row. `None` if the job sets no limit.
    pub max_length: Option<u64>,
    /// The LoRA adapter. `None` for a full fine-tune.
    pub lora: Option<Lora>,
    /// Keys of `train` that are not recognised.
    pub left_out: Vec<String>,
}

/// The settings of a LoRA adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lora {
    pub rank: u64,
    /// The scaling factor times the rank.
    pub alpha: u64,
    /// The dropout probability (0..1).
    pub dropout: f64,
}

const LORA: Lora = Lora {
    rank: 16,
    alpha: 32,
    dropout: 0.05,
};

impl TrainerArguments {
    /// Reads `train`. The value `"auto"` selects the default.
    pub fn from_train(train: &Map<String, Json>) -> TrainerArguments {
        let mut unread = TrainTable(train.clone());
        unread.0.retain(|_, value| *value != "auto");
        let lora = lora(&mut unread);
        let rate = if lora.is_some() { LORA_RATE } else { FULL_RATE };
        TrainerArguments {
            epochs: unread
                .number(&["n_epochs", "num_train_epochs", "num_epochs", "epochs"])
                .unwrap_or(EPOCHS),
            learning_rate: unread.number(&["learning_rate"]).unwrap_or(rate),
            batch_size: unread
                .count(&["batch_size", "per_device_train_batch_size", "micro_batch_size"])
                .unwrap_or(BATCH),
            accumulation: unread.count(&["gradient_accumulation_steps"]).unwrap_or(1),
            warmup_steps: unread.count(&["warmup_steps"]),
            weight_decay: unread.number(&["weight_decay"]),
            max_length: unread.count(&["max_length", "max_seq_length"]),
            lora,
            left_out: unread.0.into_iter().map(|(key, _)| key).collect(),
        }
    }
}

/// `lora = true`, `lora = { rank = 8 }`, `use_peft = true`, or any of `lora_rank`, `lora_alpha`, `lora_dropout`.
fn lora(unread: &mut TrainTable) -> Option<Lora> {
    let table = match unread.take(&["lora"], Json::as_object) {
        Some(table) => Some(table),
        None => unread.wants(&["lora", "use_peft"]).then(Map::new),
    };
    let mut inner = TrainTable(table.clone().unwrap_or_default());
    let rank = inner
        .count(&["r", "rank"])
        .or_else(|| unread.count(&["lora_r", "lora_rank"]));
    let alpha = inner.count(&["alpha"]).or_else(|| unread.count(&["lora_alpha"]));
    let dropout = inner
        .number(&["dropout"])
        .or_else(|| unread.number(&["lora_dropout"]));
    for (key, value) in inner.0 {
        unread.0.insert(format!("lora.{key}"), value);
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

/// The keys that are not read yet.
struct TrainTable(Map<String, Json>);

impl TrainTable {
    /// Takes the first of the names whose value `read` can parse. The others remain and count as not recognised.
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

    /// Whether one of the names is true. Names that are false are taken as well.
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

    fn read(train: Json) -> TrainerArguments {
        TrainerArguments::from_train(train.as_object().expect("a table"))
    }

    #[test]
    fn from_train_of_an_empty_table_is_three_epochs_of_full_fine_tuning() {
        let arguments = read(json!({}));
        assert_eq!(arguments.epochs, EPOCHS);
        assert_eq!(arguments.learning_rate, FULL_RATE);
        assert_eq!(arguments.lora, None);
        assert_eq!(
            read(json!({"n_epochs": "auto", "batch_size": "auto", "lora": false})),
            arguments
        );
    }

    #[test]
    fn from_train_accepts_the_names_of_services_and_of_trainers() {
        let ours = read(json!({"n_epochs": 2, "batch_size": 8, "learning_rate": 1e-4, "max_length": 900}));
        let theirs = read(
            json!({"num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 1e-4, "max_seq_length": 900}),
        );
        assert_eq!(ours, theirs);
        assert!(ours.left_out.is_empty());
    }

    #[test]
    fn from_train_reads_a_lora_adapter_from_every_spelling() {
        for train in [
            json!({"lora": true}),
            json!({"use_peft": true}),
            json!({"lora": {"rank": 16, "alpha": 32}}),
            json!({"lora_r": 16}),
            json!({"lora_alpha": 32, "lora_dropout": 0.05}),
        ] {
            let arguments = read(train.clone());
            assert_eq!(arguments.lora, Some(LORA), "{train}");
            assert_eq!(arguments.learning_rate, LORA_RATE, "{train}");
            assert!(arguments.left_out.is_empty(), "{train}");
        }
        assert_eq!(
            read(json!({"lora_rank": 8})).lora.map(|lora| lora.alpha),
            Some(16)
        );
    }

    #[test]
    fn from_train_lists_unknown_keys_and_invalid_values_in_left_out() {
        let arguments = read(
            json!({"learning_rate_multiplier": 2, "n_epochs": "three", "lora": {"r": 4, "targets": "all"}}),
        );
        assert_eq!(
            arguments.left_out,
            ["learning_rate_multiplier", "n_epochs", "lora.targets"]
        );
    }
}
