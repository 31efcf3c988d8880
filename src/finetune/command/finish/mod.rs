//! Finishes a training whose trainer has exited: checks the result, uploads and serves the model, and determines its name.

mod result;
mod serve;
mod upload;

use crate::finetune::command::background_tasks::blocking;
use crate::finetune::command::process::environment::without_secrets;
use crate::finetune::command::process::stop::{LEFTOVER_GRACE, end_group};
use crate::finetune::command::template::plain;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::Trainer;
use crate::finetune::command::work_dir::WorkDir;
use crate::finetune::command::work_dir::progress;
use crate::finetune::{TrainingResult, TrainingState};
use result::{OUTPUT, ResultFile};
use serde_json::Value as Json;
use std::io;

/// Determines the outcome, and publishes the model of a successful training.
pub(crate) async fn finish(trainer: &Trainer, work: &WorkDir) -> io::Result<TrainingState> {
    end_group(work, Some(LEFTOVER_GRACE)).await;
    if let Some(stop) = work.stop() {
        return Ok(stop.outcome());
    }
    let Some(prepared) = work.prepared() else {
        return Ok(TrainingState::Failed(format!(
            "{} has lost its prepared.json",
            work.root().display()
        )));
    };
    match work.exit_code() {
        Some(0) => {}
        Some(code) => return Ok(TrainingState::Failed(result::failure(trainer, work, code))),
        None => {
            return Ok(TrainingState::Failed(format!(
                "{} has lost its exit_code",
                work.root().display()
            )));
        }
    }
    let mut values = prepared.values;
    let checked = {
        let (trainer, work, values) = (trainer.clone(), work.clone(), values.clone());
        blocking(move || match result::check(&trainer, &work, &values) {
            Ok(()) => result::keep(&work).map(|()| Ok(())),
            Err(why) => Ok(Err(why)),
        })
        .await?
    };
    if let Err(why) = checked {
        return Ok(TrainingState::Failed(why));
    }
    let output = work.path(OUTPUT);
    values.set("output_dir", output.to_string_lossy());
    values.set("artefact", output.to_string_lossy());
    Ok(match publish(trainer, work, &mut values).await {
        Ok(trained) => TrainingState::Succeeded(trained),
        Err(why) => {
            let why = without_secrets(trainer, why);
            TrainingState::Failed(format!(
                "the model was trained and is in {}, but {why}",
                output.display()
            ))
        }
    })
}

/// Uploads and serves the model. The error is the reason why it cannot be used.
async fn publish(trainer: &Trainer, work: &WorkDir, values: &mut Values) -> Result<TrainingResult, String> {
    let mut reported = result::result_file(work)?;
    if !trainer.upload.is_empty() {
        let uploaded = upload::upload(trainer, work, values).await?;
        let after = result::result_file(work)?;
        reported = ResultFile {
            model: uploaded.model.or(after.model),
            artefact: uploaded.artefact.or(after.artefact),
            api_base: uploaded.api_base.or(after.api_base),
            tokens: uploaded.tokens.or(after.tokens),
        };
    }
    if let Some(artefact) = &reported.artefact {
        values.set("artefact", artefact.as_str());
    }
    let mut api_base = reported.api_base;
    if let Some(rule) = &trainer.serve {
        serve::serve(rule, trainer, work, values).await?;
        let value_of = |name: &str| values.get(name).map(plain);
        api_base = rule
            .api_base
            .as_ref()
            .and_then(|template| template.fill(value_of))
            .or(api_base);
    }
    let model = reported
        .model
        .or_else(|| trainer.model.fill(|name| values.get(name).map(plain)));
    let progress = progress::read(&trainer.progress, work, values);
    Ok(TrainingResult {
        model,
        api_base,
        tokens: reported.tokens,
        loss: progress.loss.or_else(|| last_loss(trainer, work)),
    })
}

/// The last loss in the trainer's own log file, which was moved with the output.
fn last_loss(trainer: &Trainer, work: &WorkDir) -> Option<f64> {
    let name = trainer.progress.jsonl.as_ref()?;
    let text = progress::tail(&work.path(OUTPUT).join(name), progress::TAIL).ok()?;
    let lines = text
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines.filter_map(|line| line.get("loss")?.as_f64()).next()
}
