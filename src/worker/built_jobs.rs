//! The jobs of a worker: each is read from the store and built once, and shared by all its tasks.

use crate::account::{Accounts, GatedLm};
use crate::finetune::{Recipes, TrainingSpec};
use crate::key_ring::KeyRing;
use crate::lm::{ConnectError, LmSettings, connect};
use crate::lock::lock;
use crate::metric::Metric;
use crate::metrics::{LmMetrics, Metrics};
use crate::program::{BuildError, Program};
use crate::spec::{JOB_SPEC_VERSION, JobSpec, job_fingerprint, spec_digest};
use crate::store::{Store, StoreError};
use crate::task::RunId;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// How long a job without tasks is kept: a worker outlives its jobs.
const KEPT_UNUSED: Duration = Duration::from_secs(600);

/// A job with everything that its tasks need.
pub(super) struct BuiltJob {
    pub(super) spec: JobSpec,
    pub(super) teachers: Vec<Program>,
    /// For each teacher, places for the tasks that may call its LMs: as many as the worker executes at a time. Other tasks wait, and have
    /// made no call.
    pub(super) places: Vec<Semaphore>,
    pub(super) lms: HashMap<String, ConnectedLm>,
    pub(super) metric: Option<Metric>,
    pub(super) job_fingerprint: String,
}

/// An LM with its counters.
pub(super) struct ConnectedLm {
    pub(super) lm: GatedLm,
    pub(super) metrics: LmMetrics,
}

impl BuiltJob {
    /// The teacher's LMs have answered an earlier process of the run.
    pub(super) fn accepted_before(&self, teacher: u32) {
        let teacher = self.spec.teachers.get(teacher as usize);
        let predictors = teacher.into_iter().flat_map(|teacher| &teacher.predictors);
        for predictor in predictors {
            if let Some(connected) = self.lms.get(&predictor.lm) {
                connected.lm.accepted_before();
            }
        }
    }
}

/// Why a worker cannot execute a job's tasks.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    #[error("job {0} is missing in the store")]
    Unknown(RunId),
    /// The job file was changed and the coordinator replanned: the task is void.
    #[error("job {0} has changed since the task was published")]
    Changed(RunId),
    #[error("job {run} has a version that this worker does not support: {reason}")]
    OtherVersion { run: RunId, reason: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("job {run}: {source}")]
    Build { run: RunId, source: BuildError },
    #[error("job {run}: {source}")]
    Connect { run: RunId, source: ConnectError },
    #[error("job {run} trains no lm {lm} for this task")]
    NoTraining { run: RunId, lm: String },
}

/// A cache of jobs.
pub(super) struct BuiltJobs {
    store: Arc<dyn Store>,
    accounts: Arc<Accounts>,
    keys: Arc<KeyRing>,
    metrics: Arc<Metrics>,
    /// Places of each teacher.
    places: NonZeroUsize,
    /// Few entries; locked for look-ups only, never across an await.
    built: Mutex<HashMap<RunId, Built>>,
}

struct Built {
    job: Arc<BuiltJob>,
    /// Of the spec.
    digest: String,
    last_used: Instant,
}

impl BuiltJobs {
    pub(super) fn new(
        store: Arc<dyn Store>,
        accounts: Arc<Accounts>,
        keys: Arc<KeyRing>,
        metrics: Arc<Metrics>,
        places: NonZeroUsize,
    ) -> BuiltJobs {
        BuiltJobs {
            store,
            accounts,
            keys,
            metrics,
            places,
            built: Mutex::default(),
        }
    }

    /// Returns the run's job with that digest. Two first tasks at the same time may both build it; one of
    /// the two is kept.
    pub(super) async fn get(&self, run: &RunId, digest: &str) -> Result<Arc<BuiltJob>, JobError> {
        if let Some(built) = self.lock().get_mut(run)
            && built.digest == digest
        {
            built.last_used = Instant::now();
            return Ok(Arc::clone(&built.job));
        }
        let bytes = self.stored(run, digest).await?;
        let job = Arc::new(build(run, &bytes, self)?);
        let mut built = self.lock();
        built.retain(|_, built| built.last_used.elapsed() < KEPT_UNUSED);
        let known = built.get(run).filter(|known| known.digest == digest);
        if let Some(known) = known {
            return Ok(Arc::clone(&known.job));
        }
        let kept = Built {
            job: Arc::clone(&job),
            digest: digest.to_owned(),
            last_used: Instant::now(),
        };
        built.insert(run.clone(), kept);
        Ok(job)
    }

    /// The training of an LM key of the run's job with that digest.
    pub(super) async fn recipe(
        &self,
        run: &RunId,
        digest: &str,
        lm: &str,
        predictor: Option<&str>,
    ) -> Result<TrainingSpec, JobError> {
        let bytes = self.stored(run, digest).await?;
        let recipes: Recipes = serde_json::from_slice(&bytes).map_err(|error| JobError::OtherVersion {
            run: run.clone(),
            reason: error.to_string(),
        })?;
        let recipe = recipes.find(lm, predictor).cloned();
        recipe.ok_or_else(|| JobError::NoTraining {
            run: run.clone(),
            lm: lm.to_owned(),
        })
    }

    /// The run's job with that digest, as the store has it.
    async fn stored(&self, run: &RunId, digest: &str) -> Result<Vec<u8>, JobError> {
        let bytes = self.store.job(run).await?;
        let bytes = bytes.ok_or_else(|| JobError::Unknown(run.clone()))?;
        if spec_digest(&bytes) != digest {
            return Err(JobError::Changed(run.clone()));
        }
        Ok(bytes)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, Built>> {
        lock(&self.built)
    }
}

fn build(run: &RunId, bytes: &[u8], jobs: &BuiltJobs) -> Result<BuiltJob, JobError> {
    let BuiltJobs {
        accounts,
        keys,
        metrics,
        places,
        ..
    } = jobs;
    let other = |reason: String| JobError::OtherVersion {
        run: run.clone(),
        reason,
    };
    let spec: JobSpec = serde_json::from_slice(bytes).map_err(|error| other(error.to_string()))?;
    if spec.version != JOB_SPEC_VERSION {
        return Err(other(format!(
            "it has version {}, this worker supports {JOB_SPEC_VERSION}",
            spec.version
        )));
    }
    let settings = spec.program_settings();
    let teachers = spec
        .teachers
        .iter()
        .map(|teacher| Program::build(teacher, &settings))
        .collect::<Result<_, _>>()
        .map_err(|source| JobError::Build {
            run: run.clone(),
            source,
        })?;
    let asked = |name: &str| {
        spec.teachers
            .iter()
            .any(|teacher| teacher.predictors.iter().any(|p| p.lm == name))
    };
    let lms = spec
        .lms
        .iter()
        .filter(|(name, _)| asked(name))
        .map(|(name, settings)| {
            let connect = |settings: LmSettings| {
                let lm = connect(&settings, spec.seed, keys, metrics)?;
                let declared = settings.account.as_ref().and_then(|name| spec.accounts.get(name));
                Ok((lm, accounts.gate(&settings, declared.copied())))
            };
            let endpoints = settings.endpoints().into_iter().map(connect);
            let endpoints = endpoints.collect::<Result<_, ConnectError>>()?;
            let metrics = settings.metrics(metrics);
            let server = ConnectedLm {
                lm: GatedLm::new(endpoints, settings, metrics.clone()),
                metrics,
            };
            Ok((name.clone(), server))
        })
        .collect::<Result<_, _>>()
        .map_err(|source| JobError::Connect {
            run: run.clone(),
            source,
        })?;
    let metric = spec.metric.as_ref().map(Metric::new);
    let places = spec.teachers.iter().map(|_| Semaphore::new(places.get()));
    let places = places.collect();
    let job_fingerprint = job_fingerprint(&spec);
    Ok(BuiltJob {
        spec,
        teachers,
        places,
        lms,
        metric,
        job_fingerprint,
    })
}
