//! What metrics tell of the fine-tune jobs.

use super::Trainings;
use crate::finetune::{TrainingProgress, TrainingState, key_name};
use crate::metrics::{JobCounts, RunMetrics, TrainingMetrics};

impl Trainings {
    /// Shows how far the jobs are.
    pub(super) fn show(&self, metrics: &RunMetrics) {
        let mut counts = JobCounts::default();
        for job in &self.jobs {
            let standing = match job.ending.as_ref().map(|ending| &ending.training) {
                None => {
                    counts.open += 1;
                    job.known.progress.as_ref().map(standing)
                }
                Some(TrainingState::Succeeded(_)) => {
                    counts.trained += 1;
                    None
                }
                Some(_) => {
                    counts.failed += 1;
                    None
                }
            };
            let recipe = &job.shard.recipe;
            let lm_key = key_name(&recipe.lm, recipe.predictor.as_deref());
            metrics.training(&lm_key, standing.unwrap_or_default());
        }
        metrics.jobs(counts);
    }
}

fn standing(progress: &TrainingProgress) -> TrainingMetrics {
    let steps = || Some(progress.step? as f64 / progress.total_steps.filter(|total| *total > 0)? as f64);
    let ratio = progress.percent.map(|percent| percent / 100.0).or_else(steps);
    TrainingMetrics {
        ratio: ratio.map(|ratio| ratio.clamp(0.0, 1.0)),
        step: progress.step,
        loss: progress.loss,
    }
}
