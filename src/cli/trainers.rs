//! `--trainers FILE`: the trainers of this machine.

use super::exit::Exit;
use super::ui;
use crate::finetune::Trainers;
use std::path::Path;

/// Reads the trainers file, if one was given. All problems have been printed when this fails.
pub(super) fn read(path: Option<&Path>) -> Result<Option<Trainers>, Exit> {
    let Some(path) = path else { return Ok(None) };
    let trainers = Trainers::read(path).map_err(|problems| {
        ui::problem(problems);
        Exit::Usage
    })?;
    let unreadable = trainers.unreadable_secrets();
    if unreadable.is_empty() {
        return Ok(Some(trainers));
    }
    for error in unreadable {
        ui::error(format_args!("{}: {error}", path.display()));
    }
    Err(Exit::Usage)
}

/// Warns of trainers that any model of a job is passed to, where jobs of others may come.
pub(super) fn warn_of_any_model(trainers: Option<&Trainers>) {
    let Some(trainers) = trainers else { return };
    for name in trainers.without_base_models() {
        ui::warn(format_args!(
            "{}: trainer {name} trains any model that a job names, also one whose files contain code; list the models in \
             base_models, such as [\"Qwen/*\"], or write [\"*\"] to allow all",
            trainers.file().display()
        ));
    }
}
