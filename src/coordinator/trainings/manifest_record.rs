//! Records the state of the fine-tune jobs in the manifest.

use super::training::TrackedTraining;
use crate::report::{Manifest, TrainingReport};

/// Brings the manifest's shards, which are in the same order, and its trainings up to date.
pub(super) fn record(trainings: &[TrackedTraining], manifest: &mut Manifest) {
    for (training, shard) in trainings.iter().zip(&mut manifest.shards) {
        let id = training.ending.as_ref().and_then(|ending| ending.id.as_ref());
        let id = id.or(training.known.id.as_ref());
        match training.ending() {
            Some(ending) => shard.record_ending(id, ending),
            None => {
                shard.training = id.map(|id| id.0.clone());
                shard.progress.clone_from(&training.known.progress);
            }
        }
        // It was not requested.
        if training.has_too_few_rows() {
            continue;
        }
        let report = manifest.trainings.entry(training.name.clone());
        let report = report.or_insert_with(|| TrainingReport::new(&training.shard));
        report.id = id.cloned();
        report.ending = training.ending().cloned();
        report.shard.get_or_insert_with(|| training.shard.clone());
    }
}
