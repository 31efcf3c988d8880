//! Ids that are derived from the content of a job, so that the same job always gives the same tasks.

use super::{CutAnswers, JobSpec};
use crate::hex::hex;
use crate::lm::LmSettings;
use crate::program::{ModuleKind, PredictorSpec, ProgramSpec};
use crate::task::{RunId, TaskId};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Changes whenever a trace of the same answers would get other bytes. Older traces are then rebuilt from their
/// recorded answers, at no cost.
const TRACE_VERSION: u32 = 1;

/// What an LM's answers depend on, per teacher.
#[derive(Serialize)]
struct TeacherQuestions<'a> {
    program: &'a ProgramSpec,
    types: &'a serde_json::Map<String, serde_json::Value>,
    adapter: crate::adapter::AdapterKind,
    inputs: &'a [String],
    lms: Vec<Answering<'a>>,
}

/// What an LM's answers depend on, per LM: not its key, timeouts, prices or fine-tuning, and not the server that has the model.
#[derive(Serialize)]
struct Answering<'a> {
    name: &'a str,
    model: &'a str,
    /// In runs that version 0.1.0 started, see [`ServerInIds`].
    api_base: Option<&'a str>,
    temperature: Option<f64>,
    max_tokens: Option<u64>,
    extra: &'a serde_json::Map<String, serde_json::Value>,
    simulate: Option<crate::lm::Simulation>,
}

/// Whether the address of an LM's server is part of the ids of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerInIds {
    /// No: an LM is its model and arguments, whichever server has it.
    No,
    /// Yes, the first endpoint's, as in version 0.1.0: a run keeps the ids with which it was started.
    Yes,
}

/// Digest of everything that a teacher's questions and an LM's answers depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TeacherIdentity([u8; 32]);

impl TeacherIdentity {
    /// The identity of teacher number `teacher` of the job.
    pub fn for_teacher(spec: &JobSpec, teacher: usize, server: ServerInIds) -> TeacherIdentity {
        let program = &spec.teachers[teacher];
        let lms = spec
            .lms
            .values()
            .filter(|lm| program.predictors.iter().any(|p| p.lm == lm.name))
            .map(|lm| answering(lm, server))
            .collect();
        let questions = TeacherQuestions {
            program,
            types: &spec.types,
            adapter: spec.adapter,
            inputs: &spec.inputs,
            lms,
        };
        TeacherIdentity(digest(&(teacher, questions)))
    }

    /// The task of running this teacher on an example.
    pub fn task(&self, example: u32, row_digest: u64) -> TaskId {
        TaskId::derive(&[
            b"bootstrap",
            &self.0,
            &example.to_le_bytes(),
            &row_digest.to_le_bytes(),
        ])
    }
}

fn answering(lm: &LmSettings, server: ServerInIds) -> Answering<'_> {
    Answering {
        name: &lm.name,
        model: &lm.model,
        api_base: match server {
            ServerInIds::No => None,
            ServerInIds::Yes => lm.api_base.as_deref(),
        },
        temperature: lm.temperature,
        max_tokens: lm.max_tokens,
        extra: &lm.extra,
        simulate: lm.model.starts_with("simulated/").then_some(lm.simulate),
    }
}

/// The job's part of a trace fingerprint: a digest of the metric, the row options, what becomes of cut answers, and the layout of a trace
/// line.
pub fn job_fingerprint(spec: &JobSpec) -> String {
    // Version 0.1.0 called this predictor `self.predict`, so that its traces have to be rebuilt.
    let is_bare = |p: &PredictorSpec| p.is_program() && p.module == ModuleKind::ChainOfThought;
    let renamed = spec.student.predictors.iter().any(is_bare).then_some("predict");
    let shape = (TRACE_VERSION, &spec.metric, spec.exclude_demos);
    let digest = match (renamed, spec.cut_answers) {
        // As in version 0.1.0, which kept cut answers.
        (None, CutAnswers::Keep) => digest(&shape),
        (Some(name), CutAnswers::Keep) => digest(&(shape, name)),
        (renamed, CutAnswers::Drop) => digest(&(shape, renamed, CutAnswers::Drop)),
    };
    hex(&digest[..8])
}

/// Identifies what a trace depends on besides the LM's answers: the job's part and the labels of the example.
pub fn trace_fingerprint(job_fingerprint: &str, label_digest: u64) -> String {
    format!("{job_fingerprint}-{label_digest:016x}")
}

/// The run of this job: workers keep jobs apart by it.
pub fn run_id(spec: &JobSpec, trainset_sha256: &str) -> RunId {
    RunId(format!(
        "{}-{}",
        spec.name,
        hex(&digest(&(spec, trainset_sha256))[..8])
    ))
}

/// Digest of a job spec as the store keeps it.
pub fn spec_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes)[..8])
}

fn digest<T: Serialize>(value: &T) -> [u8; 32] {
    let bytes = serde_json::to_vec(value).expect("plain data with string keys serialises");
    Sha256::digest(bytes).into()
}
