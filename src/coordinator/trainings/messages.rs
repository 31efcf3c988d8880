//! What users are told of the fine-tune jobs: how far they are, which may go on, why some have no model.

use super::{TrackedTraining, Trainings};
use crate::coordinator::prepare::Prepared;
use crate::coordinator::{Coordinator, RunError};
use crate::finetune::{
    FinetuneJob, ProviderSpec, TrainingId, TrainingOutcome, TrainingResult, TrainingState,
};
use crate::report::TrainingReport;
use std::collections::HashSet;
use std::fmt::Write as _;
use tracing::{info, warn};

impl Trainings {
    /// How far each open job is, on a line.
    pub(in crate::coordinator) fn progress(&self) -> Vec<String> {
        let lines = self.open().map(|job| {
            let mut line = job.shard.to_string();
            match &job.known.progress {
                // Writing to a String cannot fail.
                Some(progress) => drop(write!(line, " {progress}")),
                None if job.known.may_be_started() => line.push_str(" started"),
                None => line.push_str(" waiting for a worker"),
            }
            line
        });
        lines.collect()
    }

    /// What a cancelled run could not stop.
    pub(in crate::coordinator) fn left_running(&self) -> String {
        let running = self.open().filter(|job| job.known.may_be_started());
        let names: Vec<String> = running
            .map(|job| match &job.known.id {
                Some(id) => format!("{} ({})", id.0, job.shard),
                None => job.shard.to_string(),
            })
            .collect();
        format!(
            "no worker has stopped these trainings, which may still go on: {}",
            names.join(", ")
        )
    }

    /// The models, or what kept some jobs from having one.
    pub(in crate::coordinator) fn conclude(
        &mut self,
        prepared: &mut Prepared,
        coordinator: &Coordinator,
    ) -> Result<Vec<TrainingResult>, RunError> {
        self.enter(prepared);
        let (mut models, mut failures) = (Vec::new(), Vec::new());
        let mut is_to_be_retried = false;
        for job in &self.jobs {
            match job.ending.as_ref().map(|ending| &ending.training) {
                Some(TrainingState::Succeeded(trained)) => models.push(trained.clone()),
                ending => {
                    let reason = match ending {
                        Some(TrainingState::Failed(reason)) => reason,
                        Some(TrainingState::Cancelled) => "the training was stopped at the provider",
                        _ => "it has not ended",
                    };
                    failures.push(format!("fine-tune job of {}: {reason}", job.shard));
                    is_to_be_retried |= !job.is_empty();
                }
            }
        }
        if failures.is_empty() {
            return Ok(models);
        }
        if is_to_be_retried {
            let kept = match models.len() {
                0 => String::new(),
                n => format!("; the models of the {n} that succeeded are kept"),
            };
            failures.push(format!(
                "mend it, then train what failed anew{kept}:\n  {}",
                coordinator.retry_command()
            ));
        }
        Err(RunError::Training(failures))
    }

    /// Writes down in the manifest what is known of every job.
    pub(super) fn enter(&mut self, prepared: &mut Prepared) {
        for (job, report) in self.jobs.iter().zip(&mut prepared.manifest.shards) {
            let ending = job.ending.as_ref().map(|ending| &ending.training);
            let id = job.ending.as_ref().and_then(|ending| ending.id.as_ref());
            let id = id.or(job.known.id.as_ref());
            match ending {
                Some(training) => report.show(id, training),
                None => {
                    report.training = id.map(|id| id.0.clone());
                    report.progress.clone_from(&job.known.progress);
                }
            }
            // Without rows nothing is asked for.
            if job.is_empty() {
                continue;
            }
            let training = prepared.manifest.trainings.entry(job.name.clone());
            let training = training.or_insert_with(|| TrainingReport::of(&job.shard));
            training.id = id.cloned();
            training.ending = ending.cloned();
            training.shard.get_or_insert_with(|| job.shard.clone());
        }
    }
}

/// Says which trainings were asked for by an earlier form of the job and have not ended as far as is known: they cost money.
pub(super) fn report_others(prepared: &Prepared, jobs: &[TrackedTraining]) {
    for (name, training) in &prepared.manifest.trainings {
        let is_ours = jobs.iter().any(|job| job.name == *name);
        if let (false, None, Some(TrainingId(id))) = (is_ours, &training.ending, &training.id) {
            info!(
                training = id,
                provider = training.provider,
                lm = training.lm,
                "the job has changed since this training was started; it may still go on: stop it at the provider if it is not wanted"
            );
        }
    }
}

/// Says where a job that changed makes another training necessary. `before` are the trainings that were known already.
pub(super) fn report_changes(prepared: &Prepared, jobs: &[TrackedTraining], before: &HashSet<String>) {
    let is_new = |job: &&TrackedTraining| !job.is_empty() && !before.contains(&job.name);
    for job in jobs.iter().filter(is_new) {
        let recipe = &job.shard.recipe;
        let mut trainings = prepared.manifest.trainings.iter();
        let earlier = trainings.rfind(|(name, training)| {
            before.contains(*name) && (&training.lm, &training.predictor) == (&recipe.lm, &recipe.predictor)
        });
        let Some((_, earlier)) = earlier else { continue };
        let what = match &earlier.shard {
            Some(shard) if shard.recipe == *recipe => "the training rows have changed".to_owned(),
            Some(shard) => format!(
                "the fine-tune settings have changed ({})",
                shard.recipe.differences(recipe).join(", ")
            ),
            None => "the fine-tune settings or the training rows have changed".to_owned(),
        };
        warn!(
            "fine-tune job of {}: {what}, so this is a new training; {} is kept in run.json",
            job.shard,
            shown(earlier)
        );
    }
}

fn shown(training: &TrainingReport) -> String {
    let id = training.id.as_ref().map(|TrainingId(id)| format!(" {id}"));
    let id = id.unwrap_or_default();
    match &training.ending {
        Some(TrainingState::Succeeded(TrainingResult {
            model: Some(model), ..
        })) => {
            format!("the earlier training{id} with its model {model}")
        }
        _ => format!("the earlier training{id}"),
    }
}

/// Says which models are kept although their trainer has changed.
pub(super) fn report_trainers(coordinator: &Coordinator, jobs: &[TrackedTraining]) {
    let Some(trainers) = &coordinator.trainers else {
        return;
    };
    for job in jobs {
        let ending = job.ending.as_ref().map(|ending| &ending.training);
        if let (Some(TrainingState::Succeeded(_)), ProviderSpec::Command(command)) =
            (ending, &job.shard.recipe.provider)
            && let Some(why) = trainers.other_definition(&command.trainer, &job.task.to_string())
        {
            warn!("fine-tune job of {}: {why}", job.shard);
        }
    }
}

/// How a job ends that nobody is asked to carry out.
pub(super) fn without_rows(
    prepared: &Prepared,
    coordinator: &Coordinator,
    shard: &FinetuneJob,
) -> TrainingOutcome {
    let counts = prepared.outcome_log.counts();
    let (rows, least) = (shard.data.rows, shard.recipe.provider.least_rows());
    let kept_back = shard.validation.as_ref().map_or(0, |file| file.rows);
    let reason = if rows > 0 {
        let kept_back = match kept_back {
            0 => String::new(),
            n => format!(" beside {n} that are kept back"),
        };
        format!(
            "{rows} training rows{kept_back}, but provider {} takes no fewer than {least}: more examples, a weaker metric or a better \
             teacher give more",
            shard.recipe.provider.name()
        )
    } else if counts.traces == 0 {
        format!(
            "no training rows: every example failed; {} says why. Mend it, then: {}",
            coordinator.dir.failures().display(),
            coordinator.retry_command()
        )
    } else if counts.kept == 0 {
        "no training rows: the metric kept no trace. Look at the scores in traces.jsonl; a weaker metric or a \
         better teacher keeps more"
            .to_owned()
    } else {
        "no training rows: this predictor was never called".to_owned()
    };
    TrainingOutcome {
        id: None,
        training: TrainingState::Failed(reason),
    }
}
