//! The job as workers get it: checked, free of paths and secrets, straight data.

mod cut_answers;
mod identity;

pub use cut_answers::CutAnswers;
pub use identity::{ServerInIds, TeacherIdentity, job_fingerprint, run_id, spec_digest, trace_fingerprint};

use crate::adapter::AdapterKind;
use crate::lm::{AccountLimits, LmSettings};
use crate::metric::MetricSpec;
use crate::program::{ProgramSettings, ProgramSpec};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// The version of [`JobSpec`]'s own layout; a worker leaves other versions alone.
pub const JOB_SPEC_VERSION: u32 = 1;

/// Everything a worker needs to run a job's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSpec {
    /// [`JOB_SPEC_VERSION`].
    pub version: u32,
    /// The job's name.
    pub name: String,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// Input columns of the trainset; every other column is a label.
    pub inputs: Vec<String>,
    /// `[program.types]` as written: name to definition.
    pub types: Map<String, Json>,
    /// The LMs by name.
    pub lms: IndexMap<String, LmSettings>,
    /// `[account.NAME]`: the declared limits by name.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub accounts: IndexMap<String, AccountLimits>,
    /// The program that is compiled, with the student's LMs.
    pub student: ProgramSpec,
    /// The programs that are run, in order; the student itself where the job names no teacher.
    pub teachers: Vec<ProgramSpec>,
    /// What is kept.
    pub metric: Option<MetricSpec>,
    /// How programs talk to LMs and training rows are written.
    pub adapter: AdapterKind,
    /// Whether one LM is trained on the rows of all predictors.
    pub multitask: bool,
    /// Whether rows and the compiled student go without demos.
    pub exclude_demos: bool,
    /// What becomes of answers that were cut.
    #[serde(default, skip_serializing_if = "CutAnswers::is_default")]
    pub cut_answers: CutAnswers,
}

impl JobSpec {
    /// What DSPy's `settings` and `LM` objects would hold for this job.
    pub fn program_settings(&self) -> ProgramSettings<'_> {
        ProgramSettings {
            types: &self.types,
            adapter: self.adapter,
            exclude_demos: self.exclude_demos,
            lms: self.lms.values().map(LmSettings::arguments).collect(),
        }
    }
}
