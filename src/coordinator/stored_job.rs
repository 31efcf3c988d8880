//! The job as the store has it for workers: its program, and the trainings of its LM keys.

use super::context::RunContext;
use super::error::RunError;
use crate::dataset::lm_keys;
use crate::finetune::Recipes;
use crate::job::Job;
use crate::spec::{JobSpec, spec_digest};
use serde::Serialize;

/// The job as the store has it. Messages name it by its digest.
pub(super) struct StoredJob {
    bytes: Vec<u8>,
    pub(super) digest: String,
}

/// The layout: a worker reads the spec and the recipes from the same object.
#[derive(Serialize)]
struct JobLayout<'a> {
    #[serde(flatten)]
    spec: &'a JobSpec,
    #[serde(flatten)]
    recipes: Recipes,
}

impl StoredJob {
    pub(super) fn new(job: &Job) -> StoredJob {
        let keys = lm_keys(&job.spec);
        let layout = JobLayout {
            spec: &job.spec,
            recipes: Recipes {
                trainings: keys.iter().map(|key| job.training_spec(key)).collect(),
            },
        };
        let bytes = serde_json::to_vec(&layout).expect("a job is plain data with string keys");
        StoredJob {
            digest: spec_digest(&bytes),
            bytes,
        }
    }

    /// Stores the job, in place of another version of it.
    pub(super) async fn put(&self, run: RunContext<'_>) -> Result<(), RunError> {
        Ok(run.backends().store.put_job(run.id, &self.bytes).await?)
    }

    /// Stores the job if the store has lost it, or has something else in its place.
    pub(super) async fn put_again(&self, run: RunContext<'_>) -> Result<(), RunError> {
        match run.backends().store.job(run.id).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => self.put(run).await,
            Err(error) if error.is_of_one_run() => self.put(run).await,
            Err(error) => Err(error.into()),
        }
    }
}
