//! `--trainers FILE`: what trainers this machine has.

use super::exit::Exit;
use super::ui;
use crate::finetune::Trainers;
use std::path::Path;

/// The trainers of the file, if one was given; everything that is wrong with it is said.
pub(super) fn read(path: Option<&Path>) -> Result<Option<Trainers>, Exit> {
    let Some(path) = path else { return Ok(None) };
    Trainers::read(path).map(Some).map_err(|problems| {
        problems.iter().for_each(ui::problem);
        Exit::Usage
    })
}
