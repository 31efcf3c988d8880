//! The wording of messages about fine-tune jobs: their progress, their failures, and what a changed job means for them.

use super::training::TrackedTraining;
use crate::finetune::{FinetuneJob, ProviderSpec, Trainers, TrainingId, TrainingResult, TrainingState};
use crate::report::{Manifest, OutcomeCounts, TrainingReport};
use crate::run_dir::RunDir;
use std::collections::HashSet;
use std::fmt::Write as _;
use tracing::{info, warn};

/// The progress of each open training, one line each.
pub(super) fn progress<'a>(open: impl Iterator<Item = &'a TrackedTraining>) -> Vec<String> {
    let lines = open.map(|training| {
        let mut line = training.shard.to_string();
        match &training.known.progress {
            // Writing to a String cannot fail.
            Some(progress) => drop(write!(line, " {progress}")),
            None if training.known.may_be_started() => line.push_str(" started"),
            None => line.push_str(" waiting for a worker"),
        }
        line
    });
    lines.collect()
}

/// Names the open trainings that a cancelled run could not cancel.
pub(super) fn left_running<'a>(open: impl Iterator<Item = &'a TrackedTraining>) -> String {
    let running = open.filter(|training| training.known.may_be_started());
    let names: Vec<String> = running
        .map(|training| match &training.known.id {
            Some(id) => format!("{} ({})", id.0, training.shard),
            None => training.shard.to_string(),
        })
        .collect();
    names.join(", ")
}

/// Why a training has no model. `ending` is `None` if it has not ended.
pub(super) fn failure(shard: &FinetuneJob, ending: Option<&TrainingState>) -> String {
    let reason = match ending {
        Some(TrainingState::Failed(reason)) => reason,
        Some(TrainingState::Cancelled) => "the training was cancelled at the provider",
        _ => "the training has not ended",
    };
    format!("fine-tune job of {shard}: {reason}")
}

/// How to run failed trainings again.
pub(super) fn retry(succeeded: usize, retry_command: &str) -> String {
    let kept = match succeeded {
        0 => String::new(),
        n => format!("; the models of the {n} that succeeded are kept"),
    };
    format!("fix the cause, then run the failed trainings again{kept}:\n  {retry_command}")
}

/// Why a job with too few rows is not requested.
pub(super) fn too_few_rows(
    shard: &FinetuneJob,
    counts: &OutcomeCounts,
    dir: &RunDir,
    retry_command: &str,
) -> String {
    let (rows, minimum) = (shard.data.rows, shard.recipe.provider.least_rows());
    if rows > 0 {
        let validation = match shard.validation.as_ref().map_or(0, |file| file.rows) {
            0 => String::new(),
            n => format!(" beside {n} validation rows"),
        };
        format!(
            "{rows} training rows{validation}, but provider {} needs at least {minimum}: add examples, or use a less strict metric or \
             a better teacher",
            shard.recipe.provider.name()
        )
    } else if counts.traces == 0 {
        format!(
            "no training rows: every example failed; see {}. Fix the cause, then run: {retry_command}",
            dir.failures().display()
        )
    } else if counts.kept == 0 {
        "no training rows: the metric kept no trace. See the scores in traces.jsonl; use a less strict metric or a better teacher"
            .to_owned()
    } else {
        "no training rows: this predictor was never called".to_owned()
    }
}

/// Logs trainings of an earlier form of the job that have not ended as far as is known: they cost money.
pub(super) fn report_others(manifest: &Manifest, trainings: &[TrackedTraining]) {
    for (name, report) in &manifest.trainings {
        let is_ours = trainings.iter().any(|training| training.name == *name);
        if let (false, None, Some(TrainingId(id))) = (is_ours, &report.ending, &report.id) {
            info!(
                training = id,
                provider = report.provider,
                lm = report.lm,
                "training of the earlier job may still run"
            );
        }
    }
}

/// Warns where a changed job makes another training necessary. `before` are the names of trainings that were requested earlier.
pub(super) fn report_changes(manifest: &Manifest, trainings: &[TrackedTraining], before: &HashSet<String>) {
    let is_new =
        |training: &&TrackedTraining| !training.has_too_few_rows() && !before.contains(&training.name);
    for training in trainings.iter().filter(is_new) {
        let recipe = &training.shard.recipe;
        let mut reports = manifest.trainings.iter();
        let earlier = reports.rfind(|(name, report)| {
            before.contains(*name) && (&report.lm, &report.predictor) == (&recipe.lm, &recipe.predictor)
        });
        let Some((_, earlier)) = earlier else { continue };
        let change = match &earlier.shard {
            Some(shard) if shard.recipe == *recipe => "the training rows have changed".to_owned(),
            Some(shard) => format!(
                "the fine-tune settings have changed ({})",
                shard.recipe.differences(recipe).join(", ")
            ),
            None => "the fine-tune settings or the training rows have changed".to_owned(),
        };
        warn!(
            job = %training.shard,
            reason = change,
            earlier = earlier_training(earlier),
            "new training; run.json keeps the earlier one"
        );
    }
}

fn earlier_training(report: &TrainingReport) -> String {
    let id = report.id.as_ref().map(|TrainingId(id)| format!(" {id}"));
    let id = id.unwrap_or_default();
    match &report.ending {
        Some(TrainingState::Succeeded(TrainingResult {
            model: Some(model), ..
        })) => format!("training{id} with model {model}"),
        _ => format!("training{id}"),
    }
}

/// Warns about models that are kept although the definition of their trainer has changed.
pub(super) fn report_changed_trainers(trainers: Option<&Trainers>, trainings: &[TrackedTraining]) {
    let Some(trainers) = trainers else { return };
    for training in trainings {
        if let (Some(TrainingState::Succeeded(_)), ProviderSpec::Command(command)) =
            (training.ending(), &training.shard.recipe.provider)
            && let Some(why) = trainers.other_definition(&command.trainer, &training.task.to_string())
        {
            warn!("fine-tune job of {}: {why}", training.shard);
        }
    }
}
