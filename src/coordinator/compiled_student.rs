//! The last phase: writes the student with its new models, in the form in which DSPy saves it.

use super::context::RunContext;
use super::error::RunError;
use super::run_json;
use super::train::Trained;
use crate::dataset::lm_keys;
use crate::program::{TrainedModel, has_private_models, saved_state};
use crate::report::{Manifest, Phase};
use crate::run_dir::write_whole;

pub(super) async fn compile(run: RunContext<'_>, trained: Trained) -> Result<Manifest, RunError> {
    let Trained {
        spec,
        models,
        mut manifest,
    } = trained;
    let keys = lm_keys(&spec);
    let by_predictor: Vec<TrainedModel<'_>> = (spec.student.predictors.iter().enumerate())
        .map(|(index, predictor)| {
            let key = keys.iter().position(|key| key.serves(&predictor.lm, index));
            let trained = &models[key.expect("every predictor of the student has an LM key")];
            TrainedModel {
                model: trained.model.as_deref(),
                api_base: trained.api_base.as_deref(),
            }
        })
        .collect();
    let path = run.coordinator.dir.compiled();
    let settings = spec.program_settings();
    let state = saved_state(&spec.student, &settings, &by_predictor)?;
    write_whole(&path, state.as_bytes()).map_err(RunError::with_path(&path))?;
    let flag = if has_private_models(&spec.student, &settings, &by_predictor) {
        ", allow_unsafe_lm_state=True"
    } else {
        ""
    };
    manifest.load = Some(format!("program.load({:?}{flag})", path.display().to_string()));
    manifest.phase = Phase::Compiled;
    run_json::publish(run, &mut manifest).await?;
    Ok(manifest)
}
