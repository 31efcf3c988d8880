//! The trainings of a job, as the store keeps them beside its program: workers look them up by LM and predictor.

use super::TrainingSpec;
use serde::{Deserialize, Serialize};

/// The trainings of a job, one for each LM key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recipes {
    /// Empty in a job that version 0.1.0 stored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trainings: Vec<TrainingSpec>,
}

impl Recipes {
    /// The training of an LM key; `None` if the job has none.
    pub fn find(&self, lm: &str, predictor: Option<&str>) -> Option<&TrainingSpec> {
        let mut trainings = self.trainings.iter();
        trainings.find(|training| training.lm == lm && training.predictor.as_deref() == predictor)
    }
}
