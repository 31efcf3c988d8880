//! The values of a training's placeholders. Values of `train` arrive over the queue and are validated before any command runs.

use super::placeholders::is_train_key;
use crate::finetune::TrainingSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use std::path::Path;

/// The maximum length of a string in `train` or of a model name, in bytes: longer than any path.
const MAX_TEXT_BYTES: usize = 4096;

/// Why `value` must not be used in a command. `None` if it may.
pub(crate) fn unfit_value(value: &Json) -> Option<&'static str> {
    match value {
        Json::Number(_) | Json::Bool(_) => None,
        Json::String(text) => unfit_text(text),
        Json::Null | Json::Array(_) | Json::Object(_) => {
            Some("is neither a number nor true, false or a string")
        }
    }
}

/// Why `text` must not be used in a command. `None` if it may. A leading dash would turn it into an option.
pub(crate) fn unfit_text(text: &str) -> Option<&'static str> {
    match text {
        _ if text.starts_with('-') => Some("begins with a dash"),
        _ if text.contains(char::is_control) => Some("has a control character in it"),
        _ if text.len() > MAX_TEXT_BYTES => Some("is longer than 4096 bytes"),
        _ => None,
    }
}

/// The values of a training's placeholders, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Values(pub(crate) Map<String, Json>);

impl Values {
    /// The values of the training's settings and the trainer's defaults, which do not depend on the rows.
    pub(crate) fn before_rows(
        defaults: &Map<String, Json>,
        config_dir: &Path,
        recipe: &TrainingSpec,
    ) -> Values {
        let mut values = Values(defaults.clone());
        values.set("seed", recipe.seed);
        for (key, value) in recipe.train.iter().filter(|(key, _)| is_train_key(key)) {
            values.set(key, value.clone());
        }
        values.set("base_model", recipe.base_model());
        values.set("config_dir", config_dir.to_string_lossy());
        values
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Json::as_f64)
    }

    /// The content of `hyperparams.json`: the values of `train` and the defaults, `max_length` and `seed`.
    pub(crate) fn hyperparams(&self) -> Map<String, Json> {
        let own = self.0.iter().filter(|(name, _)| is_train_key(name));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The requested number of epochs, under any name that trainers use. `None` if it is unset or if `max_steps` decides.
    pub(crate) fn epochs(&self) -> Option<f64> {
        const NAMES: [&str; 4] = ["n_epochs", "num_train_epochs", "num_epochs", "epochs"];
        let steps = self.number("max_steps").filter(|steps| *steps > 0.0);
        let epochs = NAMES.iter().find_map(|name| self.number(name));
        epochs.filter(|epochs| steps.is_none() && *epochs > 0.0)
    }
}
