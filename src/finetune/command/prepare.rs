//! All that is done before a trainer is started: rows fetched, converted and measured, values fixed.

use super::config::Trainer;
use super::convert::{ConvertError, ConvertedRows, convert};
use super::environment::set_paths;
use super::finish::blocking;
use super::measure::{self, decide, measure};
use super::values::Values;
use super::workdir::{PreparedTraining, WorkDir, WorkLock};
use crate::finetune::{ProviderError, TrainingRequest, TrainingSpec};
use crate::training_file::TrainingFile;
use std::fs;
use std::io;
use std::sync::Arc;
use tracing::warn;

/// How long the name of a model is at most, its key aside: servers and file systems like short ones.
const LONGEST_NAME: usize = 48;

/// How much of the key a model's name carries.
const NAME_KEY: usize = 8;

/// Prepares the training and writes down how. Whoever calls holds the lock; what goes on after the caller is gone holds it, too.
pub(super) async fn prepare(
    trainer: &Trainer,
    work: &WorkDir,
    order: &TrainingRequest<'_>,
    lock: &Arc<WorkLock>,
) -> Result<PreparedTraining, ProviderError> {
    let shard = order.shard;
    let mut values = Values::of(trainer, &shard.recipe);
    set_paths(&mut values, work, shard.validation.is_some());
    values.set("key", order.key);
    values.set("name", name(&shard.recipe, order.key));
    let rows = rows(trainer, work, order, &shard.data, "train", lock).await?;
    if rows.rows == 0 {
        return Err(ProviderError::Refused("the training file has no rows".to_owned()));
    }
    if let Some(validation) = &shard.validation {
        self::rows(trainer, work, order, validation, "validation", lock).await?;
    }
    values.set("rows", rows.rows);
    fs::write(work.path("measure.py"), measure::SCRIPT).map_err(passing(work))?;
    let measured = match trainer.measure.is_empty() {
        true => None,
        false => Some(
            measure(trainer, work, &values)
                .await
                .map_err(ProviderError::Refused)?,
        ),
    };
    let given = values.get("max_length").and_then(serde_json::Value::as_u64);
    let length = decide(given, &rows, measured.as_ref()).map_err(ProviderError::Refused)?;
    if let Some(message) = &length.message {
        warn!(%shard, why = message, "not all rows will be learned whole");
    }
    values.set("max_length", length.max_length);
    let prepared = PreparedTraining {
        values,
        message: length.message,
    };
    work.write_json("prepared.json", &prepared)
        .map_err(passing(work))?;
    Ok(prepared)
}

/// Brings the rows to `FOLDER/FOLDER.jsonl`, alone in their folder: trainers read whole folders.
async fn rows(
    trainer: &Trainer,
    work: &WorkDir,
    order: &TrainingRequest<'_>,
    file: &TrainingFile,
    folder: &'static str,
    lock: &Arc<WorkLock>,
) -> Result<ConvertedRows, ProviderError> {
    let fetched = work.path("rows.jsonl");
    order.fetch(file, &fetched).await?;
    let (format, work, lock) = (trainer.train_format, work.clone(), Arc::clone(lock));
    let inner = work.clone();
    let converted = blocking(move || {
        let _held = lock;
        inner.remove(folder)?;
        fs::create_dir(inner.path(folder))?;
        let to = inner.path(folder).join(format!("{folder}.jsonl"));
        let converted = convert(&fetched, &to, format);
        inner.remove("rows.jsonl")?;
        match converted {
            Ok(rows) => Ok(Ok(rows)),
            Err(ConvertError::Io(error)) => Err(error),
            Err(why @ ConvertError::Row { .. }) => Ok(Err(why.to_string())),
        }
    });
    converted
        .await
        .map_err(passing(&work))?
        .map_err(ProviderError::Refused)
}

/// What the model will be called, by servers that are told a name: unlike any other training's.
fn name(recipe: &TrainingSpec, key: &str) -> String {
    let parts = [
        Some(recipe.job.as_str()),
        Some(recipe.lm.as_str()),
        recipe.predictor.as_deref(),
    ];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("-");
    let plain = text.chars().map(|c| {
        if c.is_ascii_alphanumeric() || "._".contains(c) {
            c
        } else {
            '-'
        }
    });
    let plain: String = plain.take(LONGEST_NAME).collect();
    let key: String = key.chars().take(NAME_KEY).collect();
    format!("{}-{key}", plain.trim_matches(['-', '.']))
        .trim_start_matches('-')
        .to_owned()
}

/// An I/O error of a training's folder: a full disk may be emptied.
pub(super) fn passing(work: &WorkDir) -> impl Fn(io::Error) -> ProviderError + use<> {
    let root = work.root().to_owned();
    move |error| ProviderError::Passing(format!("{}: {error}", root.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::{CommandSpec, ProviderSpec};

    #[test]
    fn a_models_name_is_plain_and_its_own() {
        let recipe = |job: &str, predictor: Option<&str>| TrainingSpec {
            job: job.to_owned(),
            lm: "student".to_owned(),
            predictor: predictor.map(str::to_owned),
            model: "openai/m".to_owned(),
            seed: 0,
            train: serde_json::Map::new(),
            provider: ProviderSpec::Command(CommandSpec {
                trainer: "t".to_owned(),
            }),
        };
        let key = "0123456789abcdef";
        assert_eq!(name(&recipe("intents", None), key), "intents-student-01234567");
        assert_eq!(
            name(&recipe("--a b/../$(c)", Some("d.predict")), key),
            "a-b-..---c--student-d.predict-01234567"
        );
        assert_eq!(name(&recipe("ä", None), key), "student-01234567");
    }
}
