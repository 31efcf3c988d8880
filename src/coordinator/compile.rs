//! Phase five: the student with its new models, as DSPy saves it.

use super::train::AllTrained;
use super::{Coordinator, RunError};
use crate::finetune::Trained;
use crate::program::saved_state;
use crate::report::{Manifest, Phase};
use crate::run_dir::write_whole;

/// Runs the phase.
pub(super) fn compile(coordinator: &Coordinator, trained: AllTrained) -> Result<Manifest, RunError> {
    let AllTrained { mut prepared, models } = trained;
    let job = &prepared.job.spec;
    let by_predictor: Vec<&Trained> = (job.student.predictors.iter().enumerate())
        .map(|(index, predictor)| {
            let key = prepared
                .keys
                .iter()
                .position(|key| key.serves(&predictor.lm, index));
            &models[key.expect("every predictor of the student has an LM key")]
        })
        .collect();
    let path = coordinator.dir.compiled();
    write_whole(&path, saved_state(job, &by_predictor)?.as_bytes()).map_err(RunError::at(&path))?;
    prepared.manifest.phase = Phase::Compiled;
    prepared.write_manifest(coordinator)?;
    Ok(prepared.manifest)
}
