//! Exports the state of the fine-tune jobs as metrics.

use super::training::TrackedTraining;
use crate::finetune::{TrainingProgress, TrainingState, key_name};
use crate::metrics::{JobCounts, RunMetrics, TrainingMetrics};

pub(super) fn export(trainings: &[TrackedTraining], metrics: &RunMetrics) {
    let mut counts = JobCounts::default();
    for training in trainings {
        let mut progress = TrainingMetrics::default();
        match training.ending() {
            None => {
                counts.open += 1;
                if let Some(known) = &training.known.progress {
                    progress = training_metrics(known);
                }
            }
            Some(TrainingState::Succeeded(_)) => counts.trained += 1,
            Some(_) => counts.failed += 1,
        }
        let recipe = &training.shard.recipe;
        let lm_key = key_name(&recipe.lm, recipe.predictor.as_deref());
        metrics.training(&lm_key, progress);
    }
    metrics.jobs(counts);
}

fn training_metrics(progress: &TrainingProgress) -> TrainingMetrics {
    let steps = || Some(progress.step? as f64 / progress.total_steps.filter(|total| *total > 0)? as f64);
    let ratio = progress.percent.map(|percent| percent / 100.0).or_else(steps);
    TrainingMetrics {
        ratio: ratio.map(|ratio| ratio.clamp(0.0, 1.0)),
        step: progress.step,
        loss: progress.loss,
    }
}
