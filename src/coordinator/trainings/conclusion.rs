//! Decides what the ended fine-tune jobs lead to: the models of the student, or the run's error.

use super::log_messages;
use super::training::TrackedTraining;
use crate::coordinator::error::RunError;
use crate::finetune::{TrainingResult, TrainingState};

/// The models in the order of the trainings, or why some trainings have none.
pub(super) fn conclude(
    trainings: &[TrackedTraining],
    retry_command: &str,
) -> Result<Vec<TrainingResult>, RunError> {
    let (mut models, mut failures) = (Vec::new(), Vec::new());
    let mut can_be_retried = false;
    for training in trainings {
        match training.ending() {
            Some(TrainingState::Succeeded(trained)) => models.push(trained.clone()),
            ending => {
                failures.push(log_messages::failure(&training.shard, ending));
                can_be_retried |= !training.has_too_few_rows();
            }
        }
    }
    if failures.is_empty() {
        return Ok(models);
    }
    if can_be_retried {
        failures.push(log_messages::retry(models.len(), retry_command));
    }
    Err(RunError::Training(failures))
}
