//! What is done when a trainer has ended: is there a result, where is it served, what is it called.

use super::config::Trainer;
use super::environment::{arguments, variables, without_secrets};
use super::progress;
use super::result::{self, OUTPUT, ResultFile};
use super::serve;
use super::stop::end_group;
use super::subprocess;
use super::template::plain;
use super::values::Values;
use super::workdir::WorkDir;
use crate::finetune::{TrainingResult, TrainingState};
use serde_json::Value as Json;
use std::fs;
use std::io;
use std::time::Duration;
use tracing::warn;

/// What children that a trainer leaves behind have to end: they have nothing to do any more.
pub(super) const LEFTOVERS: Duration = Duration::from_secs(2);

/// How long `upload` may take: a large model over a slow line.
const UPLOAD: Duration = Duration::from_secs(12 * 3600);

/// Finds out how the training ended, and does what makes its result usable.
pub(super) async fn finish(trainer: &Trainer, work: &WorkDir) -> io::Result<TrainingState> {
    end_group(work, Some(LEFTOVERS)).await;
    if let Some(stop) = work.stop() {
        return Ok(stop.outcome());
    }
    let Some(prepared) = work.prepared() else {
        return Ok(TrainingState::Failed(format!(
            "{} holds no prepared.json any more",
            work.root().display()
        )));
    };
    match work.exit_code() {
        Some(0) => {}
        Some(code) => return Ok(TrainingState::Failed(result::failure(trainer, work, code))),
        None => {
            return Ok(TrainingState::Failed(format!(
                "{} holds no exit code any more",
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

/// Uploads and serves the result.
async fn publish(trainer: &Trainer, work: &WorkDir, values: &mut Values) -> Result<TrainingResult, String> {
    let mut told = result::result_file(work)?;
    if !trainer.upload.is_empty() {
        let uploaded = upload(trainer, work, values).await?;
        let after = result::result_file(work)?;
        told = ResultFile {
            model: uploaded.model.or(after.model),
            artefact: uploaded.artefact.or(after.artefact),
            api_base: uploaded.api_base.or(after.api_base),
            tokens: uploaded.tokens.or(after.tokens),
        };
    }
    if let Some(artefact) = &told.artefact {
        values.set("artefact", artefact.as_str());
    }
    let mut api_base = told.api_base;
    if let Some(rule) = &trainer.serve {
        serve::serve(rule, trainer, work, values).await?;
        let value_of = |name: &str| values.get(name).map(plain);
        api_base = rule
            .api_base
            .as_ref()
            .and_then(|template| template.fill(value_of))
            .or(api_base);
    }
    let model = told
        .model
        .or_else(|| trainer.model.fill(|name| values.get(name).map(plain)));
    let progress = progress::read(&trainer.progress, work, values);
    Ok(TrainingResult {
        model,
        api_base,
        tokens: told.tokens,
        loss: progress.loss.or_else(|| last_loss(trainer, work)),
    })
}

/// The trainer's own progress file has moved with the output.
fn last_loss(trainer: &Trainer, work: &WorkDir) -> Option<f64> {
    let name = trainer.progress.jsonl.as_ref()?;
    let text = progress::tail(&work.path(OUTPUT).join(name), progress::TAIL).ok()?;
    let lines = text
        .lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Json>(line).ok());
    lines.filter_map(|line| line.get("loss")?.as_f64()).next()
}

/// Runs `upload`. Its last line is where the result is, or says more as JSON.
async fn upload(trainer: &Trainer, work: &WorkDir, values: &Values) -> Result<ResultFile, String> {
    let argv = arguments(&trainer.upload, values);
    let ended = subprocess::run(&argv, variables(trainer, values), work.root(), UPLOAD).await;
    let ended = ended.map_err(|error| format!("uploading it failed: {error}"))?;
    let log = format!("{}\n{}", ended.stdout, ended.stderr);
    if let Err(error) = fs::write(work.path("upload.log"), log) {
        warn!(%error, "upload.log could not be written");
    }
    match ended.code {
        Some(0) => {}
        Some(code) => {
            return Err(format!(
                "uploading it failed with exit code {code}: {}",
                ended.last_words()
            ));
        }
        None => return Err(format!("a signal ended its upload: {}", ended.last_words())),
    }
    let Some(line) = ended.last_line() else {
        return Ok(ResultFile::default());
    };
    Ok(serde_json::from_str(line).unwrap_or_else(|_| ResultFile {
        artefact: Some(line.to_owned()),
        ..ResultFile::default()
    }))
}

/// Does what blocks where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|gone| Err(io::Error::other(gone)))
}
