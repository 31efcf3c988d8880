//! LM keys: an LM and the predictors whose rows it is trained on.

use crate::finetune::key_name;
use crate::spec::JobSpec;
use indexmap::IndexSet;

/// One LM and the predictor whose rows it is trained on, or all predictors (`multitask`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LmKey {
    /// The LM's name in the job file.
    pub lm: String,
    /// The index and name of the predictor. `None` for all predictors.
    pub predictor: Option<(u16, String)>,
}

impl LmKey {
    /// The name of the key, which prefixes its files.
    pub fn name(&self) -> String {
        let predictor = self.predictor.as_ref().map(|(_, name)| name.as_str());
        key_name(&self.lm, predictor)
    }

    /// Whether a predictor of the student uses the model of this key.
    pub fn serves(&self, lm: &str, predictor: usize) -> bool {
        self.lm == lm
            && self
                .predictor
                .as_ref()
                .is_none_or(|(index, _)| usize::from(*index) == predictor)
    }
}

/// The LM keys of a job, in DSPy's order: by the student's predictors.
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
