//! The files of one LM key: its rows, those that are kept back, and both in other formats.

use super::RunError;
use super::prepare::Prepared;
use crate::dataset::configs::Trainable;
use crate::dataset::{Checks, DataFile, ExportRequest, LmKey, Split, write_data};
use crate::finetune::{DataPart, FinetuneJob, ProviderSpec, TrainingFile, file_name};
use crate::report::{FileReport, ShardReport};
use crate::run_dir::{RunDir, take_place, unfinished};
use std::iter;
use tracing::{info, warn};

/// What was made of an LM key's rows.
pub(super) struct ShardFiles {
    pub(super) shard: FinetuneJob,
    pub(super) checks: Checks,
    /// The files' names in DIR's `data`.
    pub(super) files: Vec<String>,
    /// What configurations are made of, where the user trains.
    pub(super) trainable: Option<Trainable>,
}

/// Writes the files of a key.
pub(super) fn make(dir: &RunDir, prepared: &Prepared, key: &LmKey) -> Result<ShardFiles, RunError> {
    let (job, rows) = (&prepared.job, &prepared.outcome_log.rows);
    let spec = &job.finetune[&key.lm];
    let (name, formats) = (key.name(), spec.formats());
    let example = |task: u32| {
        let (_, example) = prepared.place(task as usize);
        job.trainset.row_digest(example as usize).unwrap_or_default()
    };
    let split = Split::draw(
        rows.of(key).map(|(task, _)| example(task)),
        spec.validation_fraction,
        job.spec.seed,
    );
    let path = |part, format| dir.data(&file_name(&name, part, format));
    let wanted = ExportRequest {
        key,
        split: &split,
        example: &example,
        formats: &formats,
        path: &|part, format| unfinished(&path(part, format)),
    };
    let main = path(DataPart::Training, None);
    let written = write_data(prepared.outcome_log.traces(), rows, &wanted).map_err(RunError::at(&main))?;
    let parts = [
        Some((DataPart::Training, &written.training)),
        written
            .validation
            .as_ref()
            .map(|file| (DataPart::Validation, file)),
    ];
    let mut files = Vec::new();
    for (part, _) in parts.iter().flatten() {
        for format in iter::once(None).chain(formats.iter().copied().map(Some)) {
            let path = path(*part, format);
            take_place(&path).map_err(RunError::at(&path))?;
            files.push(file_name(&name, *part, format));
        }
    }
    let shard = FinetuneJob {
        recipe: key.recipe(job),
        data: training_file(file_name(&name, DataPart::Training, None), &written.training),
        validation: written
            .validation
            .as_ref()
            .map(|file| training_file(file_name(&name, DataPart::Validation, None), file)),
    };
    let trainable = matches!(spec.provider, ProviderSpec::Export(_)).then(|| Trainable {
        key: name,
        recipe: shard.recipe.clone(),
        has_validation: shard.validation.is_some(),
        longest_tokens: written.checks.longest_tokens,
        room: written.room,
    });
    let made = ShardFiles {
        shard,
        checks: written.checks,
        files,
        trainable,
    };
    made.tell(spec.validation_fraction);
    Ok(made)
}

fn training_file(name: String, file: &DataFile) -> TrainingFile {
    TrainingFile {
        name,
        rows: file.rows,
        bytes: file.bytes,
        sha256: file.sha256.clone(),
    }
}

impl ShardFiles {
    /// Says what the rows are like, before anybody pays for training on them.
    fn tell(&self, fraction: f64) {
        let (shard, checks) = (&self.shard, &self.checks);
        let validation = shard.validation.as_ref().map_or(0, |file| file.rows);
        info!(
            rows = checks.rows,
            validation,
            estimated_tokens = checks.estimated_tokens,
            longest_tokens = checks.longest_tokens,
            duplicates = checks.duplicates,
            "training rows of {shard}"
        );
        if fraction > 0.0 && shard.validation.is_none() && checks.rows > 0 {
            warn!("{shard}: no rows are kept back to measure with, since they are all of one example");
        }
        for warning in checks.warnings(&shard.recipe.provider) {
            warn!("{shard}: {warning}");
        }
    }

    /// What the manifest says of it before it is trained.
    pub(super) fn report(&self) -> ShardReport {
        let shard = &self.shard;
        ShardReport {
            lm: shard.recipe.lm.clone(),
            predictor: shard.recipe.predictor.clone(),
            file: in_data(&shard.data.name),
            rows: shard.data.rows,
            sha256: shard.data.sha256.clone(),
            validation: shard.validation.as_ref().map(|file| FileReport {
                file: in_data(&file.name),
                rows: file.rows,
                sha256: file.sha256.clone(),
            }),
            checks: self.checks.clone(),
            provider: shard.recipe.provider.name().to_owned(),
            training: None,
            model: None,
            api_base: None,
            progress: None,
            failure: None,
            trained_tokens: None,
            loss: None,
        }
    }
}

fn in_data(name: &str) -> String {
    format!("data/{name}")
}
