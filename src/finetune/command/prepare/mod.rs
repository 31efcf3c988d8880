//! Prepares a training before its trainer starts: fetches, converts and measures the rows, and fixes the placeholders' values.

mod convert;
mod measure;

use crate::finetune::command::background_tasks::blocking;
use crate::finetune::command::process::environment::set_paths;
use crate::finetune::command::template::values::Values;
use crate::finetune::command::trainers::Trainer;
use crate::finetune::command::work_dir::{PreparedTraining, WorkDir, WorkLock};
use crate::finetune::{ProviderError, TrainingRequest, TrainingSpec};
use crate::training_file::TrainingFile;
use convert::{ConvertError, ConvertedRows, convert};
use measure::{max_length, measure};
use std::fs;
use std::sync::Arc;
use tracing::warn;

/// The maximum length of a model name without its key, in characters. Servers and file systems limit names.
const MAX_NAME_CHARS: usize = 48;

/// How many characters of the key a model name contains.
const NAME_KEY_CHARS: usize = 8;

/// Prepares the training and writes `prepared.json`. The caller holds the lock; blocking work that outlives the caller holds it too.
pub(super) async fn prepare(
    trainer: &Trainer,
    work: &WorkDir,
    order: &TrainingRequest<'_>,
    lock: &Arc<WorkLock>,
) -> Result<PreparedTraining, ProviderError> {
    let shard = order.shard;
    let mut values = Values::before_rows(&trainer.defaults, &trainer.config_dir, &shard.recipe);
    set_paths(&mut values, work, shard.validation.is_some());
    values.set("key", order.key);
    values.set("name", model_name(&shard.recipe, order.key));
    let rows = fetch_rows(trainer, work, order, &shard.data, "train", lock).await?;
    if rows.rows == 0 {
        return Err(ProviderError::Refused("the training file has no rows".to_owned()));
    }
    if let Some(validation) = &shard.validation {
        fetch_rows(trainer, work, order, validation, "validation", lock).await?;
    }
    values.set("rows", rows.rows);
    fs::write(work.path("measure.py"), measure::SCRIPT).map_err(work.io_error())?;
    let measured = if trainer.measure.is_empty() {
        None
    } else {
        let measured = measure(trainer, work, &values).await;
        Some(measured.map_err(ProviderError::Refused)?)
    };
    let given = values.get("max_length").and_then(serde_json::Value::as_u64);
    let length = max_length(given, &rows, measured.as_ref()).map_err(ProviderError::Refused)?;
    if let Some(message) = &length.message {
        warn!(job = %shard, why = message, "some rows exceed max_length and will be truncated");
    }
    values.set("max_length", length.max_length);
    let prepared = PreparedTraining {
        values,
        message: length.message,
    };
    work.write_json("prepared.json", &prepared)
        .map_err(work.io_error())?;
    Ok(prepared)
}

/// Fetches and converts a file of rows to `FOLDER/FOLDER.jsonl`, in a folder of its own because trainers read whole folders.
async fn fetch_rows(
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
        .map_err(work.io_error())?
        .map_err(ProviderError::Refused)
}

/// The name of the new model for servers that need one: job, LM, predictor and part of the key, so it is unique.
fn model_name(recipe: &TrainingSpec, key: &str) -> String {
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
    let plain: String = plain.take(MAX_NAME_CHARS).collect();
    let key: String = key.chars().take(NAME_KEY_CHARS).collect();
    format!("{}-{key}", plain.trim_matches(['-', '.']))
        .trim_start_matches('-')
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::{CommandSpec, ProviderSpec};

    #[test]
    fn model_name_is_plain_and_unique() {
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
        assert_eq!(
            model_name(&recipe("intents", None), key),
            "intents-student-01234567"
        );
        assert_eq!(
            model_name(&recipe("--a b/../$(c)", Some("d.predict")), key),
            "a-b-..---c--student-d.predict-01234567"
        );
        assert_eq!(model_name(&recipe("ä", None), key), "student-01234567");
    }
}
