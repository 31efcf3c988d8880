//! `run.json`: what was run, on what, with what result; rewritten at the end of every phase.

use super::counts::OutcomeCounts;
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

/// The DSPy whose bytes are matched.
const DSPY_VERSION: &str = "3.4.1";

/// Why a training has no model that somebody stopped.
const CANCELLED: &str = "cancelled";

/// A run's manifest.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of this file.
    pub version: u32,
    /// The bsft that wrote it.
    pub bsft: String,
    /// The DSPy whose bytes are matched.
    pub dspy: String,
    /// The run's id.
    pub run: RunId,
    /// The job's name.
    pub name: String,
    /// How far it is.
    pub phase: Phase,
    /// Whether every LM and provider was simulated.
    pub rehearsal: bool,
    /// The job file, as an absolute path: `retry` reads it again from anywhere.
    pub job_file: String,
    /// SHA-256 of the job file and of what it pulls in.
    pub job_sha256: String,
    /// SHA-256 of the trainset.
    pub trainset_sha256: String,
    /// Tasks: teachers times examples.
    pub tasks: usize,
    /// What the outcomes come to.
    #[serde(rename = "tally")]
    pub counts: OutcomeCounts,
    /// US dollars by LM, where a price is known.
    pub cost: IndexMap<String, f64>,
    /// Seconds by phase, over all processes that worked on the run.
    pub seconds: IndexMap<String, f64>,
    /// How many processes have worked on the run.
    pub starts: u32,
    /// One per LM key.
    pub shards: Vec<ShardReport>,
    /// Every training that was ever asked for, by the id of its first task.
    #[serde(default)]
    pub trainings: IndexMap<String, TrainingReport>,
    /// The run's folder, as an absolute path on the coordinator's machine.
    #[serde(default)]
    pub dir: String,
    /// Where what is not in the folder yet is kept: the store's URL without its password, or its file.
    #[serde(default)]
    pub store: String,
    /// Where trainings on the coordinator's own machine lie.
    #[serde(default)]
    pub trainings_dir: Option<PathBuf>,
    /// When this was written, in seconds of the Unix clock.
    #[serde(default)]
    pub updated: u64,
    /// Tasks a second that ended lately, while teachers are being run.
    #[serde(default)]
    pub rate: f64,
    /// How DSPy loads the compiled student, once it is there.
    #[serde(default)]
    pub load: Option<String>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Teachers are being run.
    Bootstrap,
    /// Training files are being written.
    Collect,
    /// Fine-tune jobs are under way.
    Train,
    /// The compiled student is there.
    Compiled,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Phase; 4] = [Phase::Bootstrap, Phase::Collect, Phase::Train, Phase::Compiled];

    /// The word in `run.json`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Bootstrap => "bootstrap",
            Phase::Collect => "collect",
            Phase::Train => "train",
            Phase::Compiled => "compiled",
        }
    }
}

/// An LM key's training file and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ShardReport {
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor; none: all of them.
    pub predictor: Option<String>,
    /// The training file, relative to DIR.
    pub file: String,
    /// Its rows.
    pub rows: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// The rows that were kept back to measure with.
    #[serde(default)]
    pub validation: Option<FileReport>,
    /// What the rows that are trained on are like.
    #[serde(default)]
    pub checks: Checks,
    /// Who trains.
    pub provider: String,
    /// The provider's id of the training.
    pub training: Option<String>,
    /// The new model.
    pub model: Option<String>,
    /// Where it is served, when not where the student's LM is.
    #[serde(default)]
    pub api_base: Option<String>,
    /// How far the training is, while it goes on.
    #[serde(default)]
    pub progress: Option<TrainingProgress>,
    /// Why it ended without a model.
    #[serde(default)]
    pub failure: Option<String>,
    /// Tokens that were trained on, where the provider says so.
    #[serde(default)]
    pub trained_tokens: Option<u64>,
    /// The last training loss, where it is known.
    #[serde(default)]
    pub loss: Option<f64>,
}

impl ShardReport {
    /// The LM key, in words.
    pub fn name(&self) -> String {
        match &self.predictor {
            None => format!("lm {}", self.lm),
            Some(predictor) => format!("lm {}, predictor {predictor}", self.lm),
        }
    }

    /// Takes over how its training ended.
    pub fn show(&mut self, id: Option<&TrainingId>, training: &TrainingState) {
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

    /// How far its training is, on a line.
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
    /// Its rows.
    pub rows: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// A training that was asked for: kept also when the job has changed since, so that going back costs nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor; none: all of them.
    pub predictor: Option<String>,
    /// Who trains.
    pub provider: String,
    /// How often it was asked for anew, after a failure or a cancellation.
    pub attempt: u32,
    /// The provider's id.
    pub id: Option<TrainingId>,
    /// How it ended; none: it has not, as far as is known.
    pub ending: Option<TrainingState>,
    /// All that it was asked for with: who wants to stop it needs no more. None: an earlier version asked for it.
    #[serde(default)]
    pub shard: Option<FinetuneJob>,
}

impl TrainingReport {
    /// Of a training that nobody has asked for yet.
    pub fn of(shard: &FinetuneJob) -> TrainingReport {
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
    /// The manifest of a run that starts, or goes on after `before`.
    pub fn start(job: &Job, run: RunId, dir: &Path, rehearsal: bool, before: Option<Manifest>) -> Manifest {
        let (seconds, starts, trainings) =
            before.map_or_else(Default::default, |b| (b.seconds, b.starts, b.trainings));
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
            counts: OutcomeCounts::default(),
            cost: IndexMap::new(),
            seconds,
            starts: starts + 1,
            shards: Vec::new(),
            trainings,
            dir: absolute(dir),
            store: String::new(),
            trainings_dir: None,
            updated: 0,
            rate: 0.0,
            load: None,
        }
    }

    /// The manifest of an earlier process, if there is one.
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

    /// Whether trainings may go on somewhere.
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

    /// The training of that name has ended like this.
    pub fn ended(&mut self, name: &str, outcome: TrainingOutcome) {
        let Some(training) = self.trainings.get_mut(name) else {
            return;
        };
        let is_its =
            |shard: &&mut ShardReport| (&shard.lm, &shard.predictor) == (&training.lm, &training.predictor);
        if let Some(shard) = self.shards.iter_mut().find(is_its) {
            shard.show(outcome.id.as_ref(), &outcome.training);
        }
        training.id = outcome.id;
        training.ending = Some(outcome.training);
    }

    /// Takes over what the outcomes come to.
    pub fn count(&mut self, counts: &OutcomeCounts, job: &Job) {
        self.counts = counts.clone();
        self.cost = (counts.lms.iter())
            .filter_map(|(lm, totals)| {
                let price = job.spec.lms.get(lm)?.known_price()?;
                Some((lm.clone(), totals.cost(price)))
            })
            .collect();
    }

    /// US dollars for all that LMs were asked; none where the price of one is not known.
    pub fn cost_of_all(&self) -> Option<f64> {
        let mut costs = self.counts.lms.keys().map(|lm| self.cost.get(lm));
        // An empty sum is -0.0.
        costs.try_fold(0.0, |sum, cost| Some(sum + cost?))
    }

    /// Adds to a phase's time.
    pub fn spent(&mut self, phase: &str, time: Duration) {
        *self.seconds.entry(phase.to_owned()).or_default() += time.as_secs_f64();
    }

    /// What `run.json` holds.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        bytes.push(b'\n');
        bytes
    }
}

fn absolute(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.display().to_string()
}
