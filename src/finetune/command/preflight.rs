//! Checks before a training: can this trainer run on this machine, and does it accept the training's settings?

use super::process::environment::{arguments, unreadable, variables, without_secrets};
use super::process::short_command;
use super::template::values::{Values, unfit_text, unfit_value};
use super::trainers::{Trainer, Trainers};
use super::trainers_file::train_keys;
use crate::finetune::TrainingSpec;
use crate::schema::nearest;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// How long `check` may take. Python imports its largest libraries within a minute.
const CHECK_TIMEOUT: Duration = Duration::from_secs(180);

impl Trainers {
    /// Why secrets of `pass_env` cannot be read here, with the trainer's name.
    pub fn unreadable_secrets(&self) -> Vec<String> {
        let trainers = self.trainers.iter();
        let errors = trainers.flat_map(|(name, trainer)| {
            unreadable(trainer).map(move |error| format!("trainer {name}: {error}"))
        });
        errors.collect()
    }
}

/// Checks that the trainer's program exists and that its `check` command succeeds in `dir`. The error is the reason it cannot run.
pub(super) async fn check_runnable(trainer: &Trainer, spec: &TrainingSpec, dir: &Path) -> Result<(), String> {
    check_program(trainer)?;
    if trainer.check.is_empty() {
        return Ok(());
    }
    let values = Values::before_rows(&trainer.defaults, &trainer.config_dir, spec);
    let argv = arguments(&trainer.check, &values);
    let output = short_command::run(&argv, variables(trainer, &values), dir, CHECK_TIMEOUT).await;
    let output = output.map_err(|error| format!("its `check` cannot be run: {error}"))?;
    if output.code == Some(0) {
        return Ok(());
    }
    let message = without_secrets(trainer, output.message().to_owned());
    Err(format!("its `check` failed: {message}"))
}

/// Checks that the program of `argv` is an executable file on this machine.
fn check_program(trainer: &Trainer) -> Result<(), String> {
    let mut values = Values::default();
    values.set("config_dir", trainer.config_dir.to_string_lossy());
    let argv = arguments(&trainer.argv[..1], &values);
    let name = argv.first().cloned().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_found = if name.contains('/') {
        is_executable(name.as_ref())
    } else {
        std::env::split_paths(&path).any(|folder| is_executable(&folder.join(&name)))
    };
    if is_found {
        Ok(())
    } else {
        Err(format!(
            "its program {name} is not on this machine, or not executable"
        ))
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// Every reason why the trainer does not accept the settings of `spec`, each with what to write instead.
pub(super) fn rejected_settings(name: &str, trainer: &Trainer, spec: &TrainingSpec) -> Vec<String> {
    let mut reasons = Vec::new();
    let model = spec.base_model();
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
    for (key, value) in &spec.train {
        if !keys.contains(&key.as_str()) {
            let remedy = nearest(key, keys.iter().copied());
            reasons.push(format!(
                "trainer {name} does not accept `{key}` in train: {remedy}"
            ));
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

/// Whether one of the patterns matches `model`. A pattern that ends with `*` matches every name with that prefix.
fn is_allowed(model: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => model == pattern,
    })
}
