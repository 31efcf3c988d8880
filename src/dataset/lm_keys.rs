//! LM keys: which LM is trained on whose rows.

use crate::finetune::{TrainingSpec, key_name};
use crate::job::Job;
use crate::spec::JobSpec;
use indexmap::IndexSet;

/// One LM and the predictor whose rows it is trained on; none: all of them (`multitask`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LmKey {
    /// The LM's name in the job file.
    pub lm: String,
    /// Index and name of the predictor.
    pub predictor: Option<(u16, String)>,
}

impl LmKey {
    /// What the key's files are named after.
    pub fn name(&self) -> String {
        let predictor = self.predictor.as_ref().map(|(_, name)| name.as_str());
        key_name(&self.lm, predictor)
    }

    /// What is trained on the key's rows, how and by whom.
    pub fn recipe(&self, job: &Job) -> TrainingSpec {
        let finetune = &job.finetune[&self.lm];
        let own = &job.spec.lms[&self.lm].model;
        TrainingSpec {
            job: job.spec.name.clone(),
            lm: self.lm.clone(),
            predictor: self.predictor.as_ref().map(|(_, name)| name.clone()),
            model: finetune.model.as_ref().unwrap_or(own).clone(),
            seed: job.spec.seed,
            train: finetune.train.clone(),
            provider: finetune.provider.clone(),
        }
    }

    /// Whether a predictor of the student is served by the model of this key.
    pub fn serves(&self, lm: &str, predictor: usize) -> bool {
        self.lm == lm
            && self
                .predictor
                .as_ref()
                .is_none_or(|(index, _)| usize::from(*index) == predictor)
    }
}

/// The job's LM keys, in the order in which DSPy makes them: by the student's predictors.
pub fn lm_keys(spec: &JobSpec) -> Vec<LmKey> {
    let keys: IndexSet<LmKey> = spec
        .student
        .predictors
        .iter()
        .enumerate()
        .map(|(index, predictor)| LmKey {
            lm: predictor.lm.clone(),
            predictor: (!spec.multitask).then(|| (index as u16, predictor.predictor_name())),
        })
        .collect();
    keys.into_iter().collect()
}
