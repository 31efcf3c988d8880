//! Phase five: the student with its new models, as DSPy saves it.

use super::train::AllTrained;
use super::{Coordinator, RunError};
use crate::program::{TrainedModel, has_private_models, saved_state};
use crate::report::{Manifest, Phase};
use crate::run_dir::write_whole;

/// Runs the phase.
pub(super) async fn compile(coordinator: &Coordinator, trained: AllTrained) -> Result<Manifest, RunError> {
    let AllTrained { mut prepared, models } = trained;
    let job = &prepared.job.spec;
    let by_predictor: Vec<TrainedModel<'_>> = (job.student.predictors.iter().enumerate())
        .map(|(index, predictor)| {
            let key = prepared
                .keys
                .iter()
                .position(|key| key.serves(&predictor.lm, index));
            let trained = &models[key.expect("every predictor of the student has an LM key")];
            TrainedModel {
                model: trained.model.as_deref(),
                api_base: trained.api_base.as_deref(),
            }
        })
        .collect();
    let settings = job.program_settings();
    let path = coordinator.dir.compiled();
    write_whole(
        &path,
        saved_state(&job.student, &settings, &by_predictor)?.as_bytes(),
    )
    .map_err(RunError::at(&path))?;
    let flag = match has_private_models(&job.student, &settings, &by_predictor) {
        true => ", allow_unsafe_lm_state=True",
        false => "",
    };
    prepared.manifest.load = Some(format!("program.load({:?}{flag})", path.display().to_string()));
    prepared.manifest.phase = Phase::Compiled;
    prepared.tell(coordinator).await?;
    Ok(prepared.manifest)
}
