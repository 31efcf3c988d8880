//! `run.json`: the job, its data, and the state and results of its run. It is rewritten during the run.

use super::common_failure::CommonFailure;
use super::counts::OutcomeCounts;
use crate::coordination::Heartbeat;
use crate::dataset::Checks;
use crate::finetune::{FinetuneJob, TrainingId, TrainingOutcome, TrainingProgress, TrainingState};
use crate::job::Job;
use crate::task::RunId;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The version of the manifest's layout.
const MANIFEST_VERSION: u32 = 1;

/// The DSPy version whose output bsft reproduces byte for byte.
const DSPY_VERSION: &str = "3.4.1";

/// The failure of a cancelled training in [`ShardReport`].
const CANCELLED: &str = "cancelled";

/// A run's manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file's layout.
    pub version: u32,
    /// The version of bsft that wrote it.
    pub bsft: String,
    /// The version of DSPy that was reproduced.
    pub dspy: String,
    /// The run's id.
    pub run: RunId,
    /// The job's name.
    pub name: String,
    /// The phase that the run is in.
    pub phase: Phase,
    /// Whether every LM and provider was simulated.
    pub rehearsal: bool,
    /// The absolute path of the job file, which `retry` reads again.
    pub job_file: String,
    /// SHA-256 of the job file and of the files that it includes.
    pub job_sha256: String,
    /// SHA-256 of the trainset.
    pub trainset_sha256: String,
    /// The number of bootstrap tasks: teachers times examples.
    pub tasks: usize,
    /// Whether version 0.1.0 started the run, which made the addresses of LM servers part of the ids of tasks.
    #[serde(default = "yes")]
    pub server_in_ids: bool,
    /// Counts over the outcomes.
    #[serde(rename = "tally")]
    pub counts: OutcomeCounts,
    /// US dollars by LM, for LMs with a known price whose answers all have a known usage.
    pub cost: IndexMap<String, f64>,
    /// Seconds by phase, summed over all processes that worked on the run.
    pub seconds: IndexMap<String, f64>,
    /// How many processes have worked on the run.
    pub starts: u32,
    /// One for each LM key.
    pub shards: Vec<ShardReport>,
    /// Every training that was ever requested, by the id of its first task.
    #[serde(default)]
    pub trainings: IndexMap<String, TrainingReport>,
    /// The absolute path of the run directory on the coordinator's machine.
    #[serde(default)]
    pub dir: String,
    /// The store with the results that are not in the run directory yet: its URL without the password, or its file.
    #[serde(default)]
    pub store: String,
    /// The folder of trainings on the coordinator's machine.
    #[serde(default)]
    pub trainings_dir: Option<PathBuf>,
    /// When the file was written, in seconds of the Unix clock.
    #[serde(default)]
    pub updated: u64,
    /// Tasks that ended per second in the last minute, during the bootstrap phase.
    #[serde(default)]
    pub rate: f64,
    /// What limits the run at the moment, a text for each LM that does.
    #[serde(default)]
    pub limits: Vec<String>,
    /// The failure that most failed tasks have in common.
    #[serde(default)]
    pub commonest_failure: Option<CommonFailure>,
    /// The most frequent failures, each with the first example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub common_failures: Vec<CommonFailure>,
    /// The last heartbeats of the workers, during the bootstrap phase.
    #[serde(default)]
    pub heartbeats: Vec<Heartbeat>,
    /// Why the last process stopped before the end of the bootstrap phase.
    #[serde(default)]
    pub stopped: Option<String>,
    /// The Python expression that loads the compiled student.
    #[serde(default)]
    pub load: Option<String>,
}

/// The phase of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Teachers run on the examples.
    Bootstrap,
    /// Training files are written.
    Collect,
    /// Fine-tune jobs run.
    Train,
    /// The compiled student is written.
    Compiled,
}

impl Phase {
    /// All phases, in order.
    pub const ALL: [Phase; 4] = [Phase::Bootstrap, Phase::Collect, Phase::Train, Phase::Compiled];

    /// The phase's name in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Bootstrap => "bootstrap",
            Phase::Collect => "collect",
            Phase::Train => "train",
            Phase::Compiled => "compiled",
        }
    }
}

/// The training file of an LM key and its training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardReport {
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor. `None` if the LM key covers all predictors.
    pub predictor: Option<String>,
    /// The training file, relative to DIR.
    pub file: String,
    /// The number of rows.
    pub rows: u64,
    /// The file's SHA-256.
    pub sha256: String,
    /// The validation rows.
    #[serde(default)]
    pub validation: Option<FileReport>,
    /// Statistics of the training rows.
    #[serde(default)]
    pub checks: Checks,
    /// What they warn of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The fine-tuning provider.
    pub provider: String,
    /// The provider's id of the training.
    pub training: Option<String>,
    /// The new model.
    pub model: Option<String>,
    /// The model's server, if it is not the one of the student's LM.
    #[serde(default)]
    pub api_base: Option<String>,
    /// The progress of a training that has not ended.
    #[serde(default)]
    pub progress: Option<TrainingProgress>,
    /// Why the training has no model.
    #[serde(default)]
    pub failure: Option<String>,
    /// Tokens that were trained on, if the provider reports them.
    #[serde(default)]
    pub trained_tokens: Option<u64>,
    /// The last training loss, if it is known.
    #[serde(default)]
    pub loss: Option<f64>,
}

impl ShardReport {
    /// The LM key for people: `lm NAME, predictor NAME`.
    pub fn name(&self) -> String {
        match &self.predictor {
            None => format!("lm {}", self.lm),
            Some(predictor) => format!("lm {}, predictor {predictor}", self.lm),
        }
    }

    /// Records how its training ended.
    pub fn record_ending(&mut self, id: Option<&TrainingId>, training: &TrainingState) {
        self.training = id.map(|id| id.0.clone());
        self.progress = None;
        self.failure = match training {
            TrainingState::Failed(reason) => Some(reason.clone()),
            TrainingState::Cancelled => Some(CANCELLED.to_owned()),
            TrainingState::Succeeded(_) | TrainingState::Running(_) | TrainingState::Absent => None,
        };
        if let TrainingState::Succeeded(trained) = training {
            self.model.clone_from(&trained.model);
            self.api_base.clone_from(&trained.api_base);
            (self.trained_tokens, self.loss) = (trained.tokens, trained.loss);
        }
    }

    /// The state of its training for people, on one line.
    pub fn status(&self) -> String {
        let id = self.training.as_ref().map(|id| format!(" ({id})"));
        let id = id.unwrap_or_default();
        match (&self.failure, &self.model, &self.progress) {
            (Some(failure), _, _) => format!("failed{id}: {failure}"),
            (None, Some(model), _) => format!("ended{id}: {model}"),
            (None, None, Some(progress)) => format!("{progress}{id}"),
            (None, None, None) if self.training.is_some() => format!("started{id}"),
            (None, None, None) => "waiting for a worker".to_owned(),
        }
    }
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileReport {
    /// Relative to DIR.
    pub file: String,
    /// The number of rows.
    pub rows: u64,
    /// The file's SHA-256.
    pub sha256: String,
}

/// A training that was requested. It is kept after the job changes, so that undoing the change costs nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor. `None` if the LM key covers all predictors.
    pub predictor: Option<String>,
    /// The fine-tuning provider.
    pub provider: String,
    /// How often it was requested again after a failure or a cancellation.
    pub attempt: u32,
    /// The provider's id.
    pub id: Option<TrainingId>,
    /// How it ended. `None` while it is open, as far as is known.
    pub ending: Option<TrainingState>,
    /// The complete request, with which the training can be cancelled. `None` if an earlier version of bsft requested it.
    #[serde(default)]
    pub shard: Option<FinetuneJob>,
}

impl TrainingReport {
    /// The entry of a training that was not requested yet.
    pub fn new(shard: &FinetuneJob) -> TrainingReport {
        TrainingReport {
            lm: shard.recipe.lm.clone(),
            predictor: shard.recipe.predictor.clone(),
            provider: shard.recipe.provider.name().to_owned(),
            attempt: 0,
            id: None,
            ending: None,
            shard: Some(shard.clone()),
        }
    }
}

impl Manifest {
    /// The manifest of a run that starts, or that resumes after `before`.
    pub fn start(job: &Job, run: RunId, dir: &Path, rehearsal: bool, before: Option<Manifest>) -> Manifest {
        let server_in_ids = before.as_ref().is_some_and(|before| before.server_in_ids);
        let (seconds, starts, trainings, cost) =
            before.map_or_else(Default::default, |b| (b.seconds, b.starts, b.trainings, b.cost));
        Manifest {
            version: MANIFEST_VERSION,
            bsft: env!("CARGO_PKG_VERSION").to_owned(),
            dspy: DSPY_VERSION.to_owned(),
            run,
            name: job.spec.name.clone(),
            phase: Phase::Bootstrap,
            rehearsal,
            job_file: absolute(&job.file),
            job_sha256: job.digest.clone(),
            trainset_sha256: job.trainset.sha256().to_owned(),
            tasks: job.spec.teachers.len() * job.trainset.len(),
            server_in_ids,
            counts: OutcomeCounts::default(),
            cost,
            seconds,
            starts: starts + 1,
            shards: Vec::new(),
            trainings,
            dir: absolute(dir),
            store: String::new(),
            trainings_dir: None,
            updated: 0,
            rate: 0.0,
            limits: Vec::new(),
            commonest_failure: None,
            common_failures: Vec::new(),
            heartbeats: Vec::new(),
            stopped: None,
            load: None,
        }
    }

    /// Reads a manifest. `None` if the file does not exist.
    pub fn read(path: &Path) -> io::Result<Option<Manifest>> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                io::Error::other(format!(
                    "not a manifest of this version ({error}); use another --out"
                ))
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether some training may still run at its provider.
    pub fn has_open_trainings(&self) -> bool {
        let mut trainings = self.trainings.values();
        trainings.any(|training| training.id.is_some() && training.ending.is_none())
    }

    /// Whether every training has ended, some without a model.
    pub fn has_only_failures_left(&self) -> bool {
        let is_open = |shard: &ShardReport| {
            shard.failure.as_ref().is_none_or(|failure| failure == CANCELLED) && shard.model.is_none()
        };
        let has_failed = self.shards.iter().any(|shard| shard.failure.is_some());
        self.phase == Phase::Train && has_failed && !self.shards.iter().any(is_open)
    }

    /// Records how the training of that name ended.
    pub fn record_ending(&mut self, name: &str, outcome: TrainingOutcome) {
        let Some(training) = self.trainings.get_mut(name) else {
            return;
        };
        let is_of_training =
            |shard: &&mut ShardReport| (&shard.lm, &shard.predictor) == (&training.lm, &training.predictor);
        if let Some(shard) = self.shards.iter_mut().find(is_of_training) {
            shard.record_ending(outcome.id.as_ref(), &outcome.training);
        }
        training.id = outcome.id;
        training.ending = Some(outcome.training);
    }

    /// Records the counts and what they cost at the job's prices. LMs that the job no longer has keep their cost.
    pub fn record_counts(&mut self, counts: &OutcomeCounts, job: &Job) {
        self.counts = counts.clone();
        self.cost = (counts.lms.iter())
            .filter_map(|(lm, totals)| {
                let cost = match job.spec.lms.get(lm) {
                    Some(settings) => totals.cost(settings.known_price()?)?,
                    None => *self.cost.get(lm)?,
                };
                Some((lm.clone(), cost))
            })
            .collect();
    }

    /// The cost of all LM calls in US dollars. `None` if the price of an LM is unknown, or the tokens of an answer.
    pub fn total_cost(&self) -> Option<f64> {
        let mut costs = self.counts.lms.keys().map(|lm| self.cost.get(lm));
        // An empty sum is -0.0.
        costs.try_fold(0.0, |sum, cost| Some(sum + cost?))
    }

    /// Adds to the time of a phase.
    pub fn add_seconds(&mut self, phase: &str, time: Duration) {
        *self.seconds.entry(phase.to_owned()).or_default() += time.as_secs_f64();
    }

    /// The contents of `run.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        bytes
    }
}

/// The value of a key that manifests of version 0.1.0 do not have.
fn yes() -> bool {
    true
}

fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}
