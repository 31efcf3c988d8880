//! The files of one LM key: training rows, validation rows, and both in the formats of other tools.

use super::error::RunError;
use super::outcome_log::OutcomeLog;
use super::task_plan::TaskPlan;
use crate::dataset::trainer_configs::Trainable;
use crate::dataset::{Checks, DataFile, ExportRequest, ExportResult, LmKey, RowRules, Split, write_data};
use crate::finetune::{DataPart, FinetuneJob, ProviderSpec, RowFormat, file_name};
use crate::report::{FileReport, ShardReport};
use crate::run_dir::{RunDir, take_place, unfinished};
use crate::training_file::TrainingFile;
use std::iter;
use tracing::{info, warn};

/// What was written for an LM key.
pub(super) struct ShardFiles {
    pub(super) shard: FinetuneJob,
    pub(super) checks: Checks,
    /// The files' names in `data`.
    pub(super) names: Vec<String>,
    /// The input of trainer configurations, if the user trains.
    pub(super) trainable: Option<Trainable>,
}

/// Writes the files of an LM key. Each takes its place only when all of them are complete.
pub(super) fn write(
    dir: &RunDir,
    tasks: &TaskPlan,
    log: &OutcomeLog,
    key: &LmKey,
) -> Result<ShardFiles, RunError> {
    let (job, rows) = (&tasks.job, log.rows());
    let spec = &job.finetune[&key.lm];
    let (name, formats) = (key.name(), spec.formats());
    let example_digest = |task: u32| {
        let (_, example) = tasks.teacher_and_example(task as usize);
        job.trainset.row_digest(example as usize).unwrap_or_default()
    };
    let split = Split::draw(
        rows.kept_of(key).map(|(task, _)| example_digest(task)),
        spec.validation_fraction,
        job.spec.seed,
    );
    let path = |part, format| dir.data(&file_name(&name, part, format));
    let recipe = job.training_spec(key);
    let rules = RowRules {
        adapter: job.spec.adapter,
        length_limit: spec.length_limit(),
        refuses_system: spec.refuses_system_messages(&recipe.model),
    };
    let wanted = ExportRequest {
        key,
        split: &split,
        example: &example_digest,
        formats: &formats,
        rules,
        path: &|part, format| unfinished(&path(part, format)),
    };
    let main = path(DataPart::Training, None);
    let written = write_data(log.traces(), rows, &wanted).map_err(RunError::with_path(&main))?;
    let names = put_in_place(dir, &name, &formats, &written)?;
    let shard = FinetuneJob {
        recipe,
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
    let files = ShardFiles {
        shard,
        checks: written.checks,
        names,
        trainable,
    };
    files.log(spec.validation_fraction);
    Ok(files)
}

/// Renames the complete files. Returns their names.
fn put_in_place(
    dir: &RunDir,
    key: &str,
    formats: &[RowFormat],
    written: &ExportResult,
) -> Result<Vec<String>, RunError> {
    let validation = written.validation.as_ref().map(|_| DataPart::Validation);
    let mut names = Vec::new();
    for part in iter::once(DataPart::Training).chain(validation) {
        for format in iter::once(None).chain(formats.iter().copied().map(Some)) {
            let name = file_name(key, part, format);
            let path = dir.data(&name);
            take_place(&path).map_err(RunError::with_path(&path))?;
            names.push(name);
        }
    }
    Ok(names)
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
    /// Logs size and quality of the rows before they are paid for.
    fn log(&self, validation_fraction: f64) {
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
        if validation_fraction > 0.0 && shard.validation.is_none() && checks.rows > 0 {
            warn!(%shard, "no validation rows: all share one example");
        }
        for warning in checks.warnings(&shard.recipe) {
            warn!("{shard}: {warning}");
        }
    }

    /// The manifest's entry before the training.
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
            warnings: self.checks.warnings(&shard.recipe),
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
