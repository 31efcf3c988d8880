//! `--trainers FILE`: the trainers of this machine.

use super::exit::Exit;
use super::ui;
use crate::finetune::Trainers;
use std::path::Path;

/// Reads the trainers file, if one was given. All problems have been printed when this fails.
pub(super) fn read(path: Option<&Path>) -> Result<Option<Trainers>, Exit> {
    let Some(path) = path else { return Ok(None) };
    Trainers::read(path).map(Some).map_err(|problems| {
        ui::problem(problems);
        Exit::Usage
    })
}
