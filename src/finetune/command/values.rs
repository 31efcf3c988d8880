//! What stands for a training's placeholders. Values of `train` come over the queue: they are data, and looked at before anything is run.

use super::config::Trainer;
use super::placeholders::{self, is_train_key};
use super::reading::train_keys;
use crate::finetune::TrainingSpec;
use crate::schema::nearest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// How long a string of `train` or a model's name may be, in bytes: longer than any path.
const LONGEST_TEXT: usize = 4096;

/// Why `value` cannot stand in a command, if it cannot.
pub(super) fn unfit_value(value: &Json) -> Option<&'static str> {
    match value {
        Json::Number(_) | Json::Bool(_) => None,
        Json::String(text) => unfit_text(text),
        Json::Null | Json::Array(_) | Json::Object(_) => {
            Some("is neither a number nor true, false or a string")
        }
    }
}

/// Why `text` cannot stand in a command, if it cannot. A leading dash would make an option of it.
pub(super) fn unfit_text(text: &str) -> Option<&'static str> {
    match text {
        _ if text.starts_with('-') => Some("begins with a dash"),
        _ if text.contains(char::is_control) => Some("has a control character in it"),
        _ if text.len() > LONGEST_TEXT => Some("is longer than 4096 bytes"),
        _ => None,
    }
}

/// Why that trainer cannot train by that recipe: all reasons, each with what to write instead.
pub(super) fn unfit_recipe(name: &str, trainer: &Trainer, recipe: &TrainingSpec) -> Vec<String> {
    let mut reasons = Vec::new();
    let model = recipe.base_model();
    if model.is_empty() {
        reasons.push("the model to train has no name: write `model = \"openai/…\"`".to_owned());
    } else if let Some(why) = unfit_text(model) {
        reasons.push(format!("the model's name {model:?} {why}"));
    } else if let Some(allowed) = trainer
        .base_models
        .as_ref()
        .filter(|allowed| !is_allowed(model, allowed))
    {
        let allowed = allowed.join(", ");
        reasons.push(format!(
            "trainer {name} does not train {model}: its `base_models` are {allowed}"
        ));
    }
    let keys = train_keys(trainer);
    for (key, value) in &recipe.train {
        if !keys.contains(&key.as_str()) {
            let remedy = nearest(key, keys.iter().copied());
            reasons.push(format!("trainer {name} knows no `{key}` in train: {remedy}"));
        } else if let Some(why) = unfit_value(value) {
            reasons.push(format!(
                "`{key}` in train {why}: write a number, true, false or a plain string"
            ));
        } else if key == "max_length" && value.as_u64().is_none_or(|tokens| tokens == 0) {
            reasons.push(format!(
                "`max_length` in train is {value}: write a number of tokens, such as 2048"
            ));
        } else if key == "seed" && !value.is_u64() {
            reasons.push(format!(
                "`seed` in train is {value}: write an integer of at least 0"
            ));
        }
    }
    reasons
}

fn is_allowed(model: &str, allowed: &[String]) -> bool {
    allowed.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => model.starts_with(start),
        None => model == pattern,
    })
}

/// The values of a training's placeholders, by name. What is not in it has no value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Values(pub(super) Map<String, Json>);

impl Values {
    /// What the recipe and the trainer's defaults give: everything that is known before there are rows.
    pub(super) fn of(trainer: &Trainer, recipe: &TrainingSpec) -> Values {
        let mut values = Values(trainer.defaults.clone());
        values.set("seed", recipe.seed);
        for (key, value) in recipe.train.iter().filter(|(key, _)| is_train_key(key)) {
            values.set(key, value.clone());
        }
        values.set("base_model", recipe.base_model());
        values.set("config_dir", trainer.config_dir.to_string_lossy());
        values
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<Json>) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }

    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(Json::as_f64)
    }

    /// What a trainer's own script reads: values of `train` and defaults, length and seed; nothing of the machine.
    pub(super) fn hyperparams(&self) -> Map<String, Json> {
        let own = self.0.iter().filter(|(name, _)| is_train_key(name));
        own.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The passes over the data that were asked for, by any of the names that trainers have for it; none: not known, or steps count.
    pub(super) fn epochs(&self) -> Option<f64> {
        const NAMES: [&str; 4] = ["n_epochs", "num_train_epochs", "num_epochs", "epochs"];
        let steps = self.number("max_steps").filter(|steps| *steps > 0.0);
        let epochs = NAMES.iter().find_map(|name| self.number(name));
        epochs.filter(|epochs| steps.is_none() && *epochs > 0.0)
    }
}

/// Whether every built-in placeholder is one that [`Values`] can have: names are checked when the file is read.
pub(super) fn is_known(name: &str, trainer: &Trainer) -> bool {
    placeholders::is_built_in(name) || trainer.defaults.contains_key(name)
}
