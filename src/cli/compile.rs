//! `compile` and `retry`: the backends, the workers, the coordinator, and how it ended.

use super::check::{unreachable_lms, warn};
use super::exit::Exit;
use super::flags::{CompileFlags, RetryFlags, WorkerFlags};
use super::monitor::Monitor;
use super::runtime::block_on;
use super::services::{Connected, Services};
use super::{signals, trainers, ui};
use crate::artifacts::DirArtifacts;
use crate::broker::embedded::EmbeddedBroker;
use crate::broker::rabbitmq::RabbitMqBroker;
use crate::command_name::command_name;
use crate::coordination::SingleProcess;
use crate::coordinator::{self, Backends, Coordinator, Retry, RunError, Workers, retry_command};
use crate::finetune::{Providers, Trainers, TrainingState};
use crate::job::{self, Job};
use crate::metrics::{Metrics, Need, Service};
use crate::report::{Manifest, Progress, ShardReport, TrainingReport, summary, summary_fields};
use crate::run_dir::RunDir;
use crate::shutdown::Shutdown;
use crate::store::embedded::EmbeddedStore;
use crate::store::{Store, StoreError};
use crate::worker::{self, TaskQueues, Worker, WorkerError};
use indexmap::IndexMap;
use std::fs::File;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long Ctrl-C waits for LM calls in flight.
const DRAIN: Duration = Duration::from_secs(60);

/// Where trainings lie, relative to DIR.
const TRAININGS: &str = "trainings";

/// Where the embedded store is, relative to DIR.
const EMBEDDED: &str = "state.redb";

/// `compile JOB`.
pub(super) fn compile(flags: &CompileFlags) -> Exit {
    checked(flags, Retry::Nothing)
}

/// Checks everything, and only then touches DIR.
fn checked(flags: &CompileFlags, again: Retry) -> Exit {
    let services = match Services::of(&flags.workers.services) {
        Ok(services) => services,
        Err(exit) => return exit,
    };
    let trainers = match trainers::read(flags.workers.trainers.as_deref()) {
        Ok(trainers) => trainers,
        Err(exit) => return exit,
    };
    let mut job = match job::read(&flags.job) {
        Ok(job) => job,
        Err(problems) => {
            ui::problem(problems);
            return Exit::Usage;
        }
    };
    warn(&job);
    if flags.rehearse {
        job.rehearse();
    }
    // Workers elsewhere have keys of their own.
    let unreachable = if workers(services.as_ref(), &flags.workers).are_here() {
        unreachable_lms(&job)
    } else {
        Vec::new()
    };
    if !unreachable.is_empty() {
        unreachable.iter().for_each(ui::error);
        return Exit::Usage;
    }
    let out = flags
        .out
        .clone()
        .unwrap_or_else(|| PathBuf::from("runs").join(&job.spec.name));
    // Unless the file says where, trainings of one machine lie where everything of the run does.
    let trainers = trainers.map(|trainers| match services {
        None => trainers.default_dir(&out.join(TRAININGS)),
        Some(_) => trainers,
    });
    run(job, &out, services.as_ref(), flags, again, trainers.map(Arc::new))
}

/// `retry RUN`: forgets the failures, then goes on.
pub(super) fn retry(flags: &RetryFlags) -> Exit {
    let dir = match RunDir::existing(&flags.run) {
        Some(dir) => dir,
        None => {
            ui::problem(format_args!(
                "{} holds no run: it has no run.json",
                flags.run.display()
            ));
            return Exit::Usage;
        }
    };
    let manifest = match Manifest::read(&dir.manifest()) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Exit::Usage,
        Err(error) => {
            ui::problem(format_args!("{}: {error}", dir.manifest().display()));
            return Exit::Failed;
        }
    };
    let flags = CompileFlags {
        job: PathBuf::from(&manifest.job_file),
        out: Some(flags.run.clone()),
        rehearse: manifest.rehearsal,
        workers: flags.workers.clone(),
    };
    checked(&flags, what_failed(&manifest))
}

/// Where a training has failed, examples are left alone: other rows would make all trainings others.
fn what_failed(manifest: &Manifest) -> Retry {
    let mut last: IndexMap<_, &TrainingReport> = IndexMap::new();
    for training in manifest.trainings.values() {
        last.insert((&training.lm, &training.predictor), training);
    }
    let is_failed = |training: &TrainingReport| matches!(training.ending, Some(TrainingState::Failed(_)));
    let has_failed = |key: (&String, &Option<String>)| {
        let is_its = |shard: &&ShardReport| (&shard.lm, &shard.predictor) == key;
        match manifest.shards.iter().find(is_its) {
            Some(shard) if shard.failure.is_some() => {
                let mut trainings = manifest.trainings.values();
                trainings.any(|training| (&training.lm, &training.predictor) == key && is_failed(training))
            }
            Some(shard) if shard.training.is_some() || shard.model.is_some() => false,
            // A process that ended early has not said how it stands with the key.
            _ => last.get(&key).is_some_and(|training| is_failed(training)),
        }
    };
    match last.keys().any(|key| has_failed(*key)) {
        true => Retry::Trainings,
        false => Retry::Examples,
    }
}

/// The command that goes on.
fn command(flags: &CompileFlags) -> String {
    let mut command = format!("{} compile {}", command_name(), flags.job.display());
    if let Some(out) = &flags.out {
        command.push_str(&format!(" --out {}", out.display()));
    }
    if flags.rehearse {
        command.push_str(" --rehearse");
    }
    if let Some(trainers) = &flags.workers.trainers {
        command.push_str(&format!(" --trainers {}", trainers.display()));
    }
    command
}

fn run(
    job: Job,
    out: &Path,
    services: Option<&Services>,
    flags: &CompileFlags,
    again: Retry,
    trainers: Option<Arc<Trainers>>,
) -> Exit {
    let mut monitor = match Monitor::bind(flags.workers.monitor.metrics_addr.as_deref()) {
        Ok(monitor) => monitor,
        Err(exit) => return exit,
    };
    let to_go_on = command(flags);
    let (dir, _lock) = match locked(out) {
        Ok(locked) => locked,
        Err(exit) => return exit,
    };
    let ended = block_on(async {
        let shutdown = Shutdown::new();
        let workers = workers(services, &flags.workers);
        if let Err(exit) = monitor.serve(&shutdown, &needs(services.is_some(), workers.are_here())) {
            return exit;
        }
        let metrics = Arc::clone(&monitor.metrics);
        let backends = match services {
            None => ConnectedBackends::embedded(&dir, metrics),
            Some(services) => match services.connect().await {
                Ok(connected) => {
                    monitor.watch(&connected);
                    ConnectedBackends::cluster(&dir, connected, &shutdown, metrics)
                }
                Err(exit) => return exit,
            },
        };
        let ended = match backends {
            Ok(backends) => {
                Box::pin(compiled(
                    job,
                    dir.clone(),
                    backends,
                    workers,
                    flags,
                    again,
                    trainers,
                    shutdown.clone(),
                ))
                .await
            }
            Err(error) => Err(error.into()),
        };
        let retry = retry_command(&dir, flags.workers.trainers.as_deref());
        told(ended, &dir, services.is_some(), &to_go_on, &retry)
    });
    ended.unwrap_or_else(|exit| exit)
}

/// What the process cannot do without.
fn needs(in_cluster: bool, has_workers: bool) -> Vec<Need> {
    let services = [Need::Service(Service::RabbitMq), Need::Service(Service::Redis)];
    let mut needs = vec![Need::Coordinator];
    needs.extend(services.into_iter().filter(|_| in_cluster));
    needs.extend(has_workers.then_some(Need::Worker));
    needs
}

/// The folder, ours alone until the lock goes.
fn locked(out: &Path) -> Result<(RunDir, File), Exit> {
    let failed = |error| {
        ui::problem(format_args!("{}: {error}", out.display()));
        Exit::Failed
    };
    let dir = RunDir::create(out).map_err(failed)?;
    match dir.lock().map_err(failed)? {
        Some(lock) => Ok((dir, lock)),
        None => {
            ui::error(format_args!(
                "{} is in use: another bsft is running on it; wait for it, or stop it with\n  {} cancel {0}",
                out.display(),
                command_name()
            ));
            Err(Exit::Failed)
        }
    }
}

/// Says how it ended.
fn told(ended: Result<Manifest, RunError>, dir: &RunDir, in_cluster: bool, again: &str, retry: &str) -> Exit {
    let error = match ended {
        Ok(manifest) => {
            ui::summary(&summary(&manifest, dir, retry), || summary_fields(&manifest, dir));
            return Exit::Done;
        }
        Err(error) => error,
    };
    match error {
        RunError::Interrupted | RunError::Cancelled => {
            ui::notice(format_args!("{error}; nothing is lost. To go on:\n  {again}"));
            Exit::Interrupted
        }
        RunError::OtherRun(_) => {
            ui::error(error);
            Exit::Usage
        }
        RunError::Broker(_) | RunError::Store(_) if in_cluster => {
            ui::error(format_args!("{error}\nnothing is lost. To go on:\n  {again}"));
            Exit::Unavailable
        }
        error => {
            ui::error(error);
            Exit::Failed
        }
    }
}

/// Why a worker is gone before the coordinator was.
fn worker_ended(
    shutdown: &Shutdown,
    ended: Option<Result<Result<(), WorkerError>, tokio::task::JoinError>>,
) -> RunError {
    match ended {
        Some(Ok(Ok(()))) if shutdown.is_draining() => RunError::Interrupted,
        Some(Ok(Err(WorkerError::Broker(error)))) => RunError::Broker(error),
        Some(Ok(Err(WorkerError::Store(error)))) => RunError::Store(error),
        Some(Err(panicked)) => RunError::Worker(panicked.to_string()),
        Some(Ok(Ok(()))) | None => RunError::Worker("no reason given".to_owned()),
    }
}

/// Where the run's workers are, according to the flags.
fn workers(services: Option<&Services>, flags: &WorkerFlags) -> Workers {
    let in_flight = |workers: NonZeroUsize| workers.saturating_mul(flags.concurrency);
    match (services, flags.workers) {
        (None, workers) => Workers::InProcess {
            in_flight: in_flight(workers.unwrap_or(NonZeroUsize::MIN)),
        },
        (Some(_), None) => Workers::Elsewhere,
        (Some(_), Some(workers)) => Workers::Both {
            in_flight: in_flight(workers),
        },
    }
}

/// The backends, and what this process needs to close and to count.
struct ConnectedBackends {
    backends: Backends,
    /// Closed at the end. `None` if the broker is in this process.
    rabbitmq: Option<RabbitMqBroker>,
    metrics: Arc<Metrics>,
}

impl ConnectedBackends {
    /// Everything in this process, durable in DIR.
    fn embedded(dir: &RunDir, metrics: Arc<Metrics>) -> Result<ConnectedBackends, StoreError> {
        Ok(ConnectedBackends {
            backends: Backends {
                broker: Arc::new(EmbeddedBroker::new()),
                store: Arc::new(EmbeddedStore::open(&dir.store())?),
                coordination: Arc::new(SingleProcess::default()),
                artifacts: Arc::new(DirArtifacts::new(dir.root().join("data"))),
                store_location: EMBEDDED.to_owned(),
                previous_store: None,
            },
            rabbitmq: None,
            metrics,
        })
    }

    /// RabbitMQ and Redis.
    fn cluster(
        dir: &RunDir,
        connected: Connected,
        shutdown: &Shutdown,
        metrics: Arc<Metrics>,
    ) -> Result<ConnectedBackends, StoreError> {
        let previous_store: Option<Arc<dyn Store>> = if dir.store().exists() {
            Some(Arc::new(EmbeddedStore::open(&dir.store())?))
        } else {
            None
        };
        Ok(ConnectedBackends {
            backends: Backends {
                broker: connected.retrying_broker(shutdown, &metrics),
                store: connected.retrying_store(shutdown, &metrics),
                coordination: Arc::clone(&connected.store) as _,
                artifacts: connected.retrying_artifacts(shutdown, &metrics),
                store_location: connected.store.place().to_owned(),
                previous_store,
            },
            rabbitmq: Some(connected.broker),
            metrics,
        })
    }
}

/// The coordinator, beside the workers that were asked for.
async fn compiled(
    job: Job,
    dir: RunDir,
    connected: ConnectedBackends,
    workers: Workers,
    flags: &CompileFlags,
    again: Retry,
    trainers: Option<Arc<Trainers>>,
    shutdown: Shutdown,
) -> Result<Manifest, RunError> {
    let (rehearsal, flags) = (flags.rehearse, &flags.workers);
    let ConnectedBackends {
        backends,
        rabbitmq,
        metrics,
    } = connected;
    let mut running = JoinSet::new();
    for _ in 0..workers.in_flight_here() / flags.concurrency {
        let worker = Worker {
            broker: Arc::clone(&backends.broker),
            store: Arc::clone(&backends.store),
            coordination: Arc::clone(&backends.coordination),
            artifacts: Arc::clone(&backends.artifacts),
            providers: Providers::new(trainers.clone()),
            queues: TaskQueues::ALL,
            concurrency: flags.concurrency,
            drain: DRAIN,
            metrics: Arc::clone(&metrics),
        };
        running.spawn(worker::run(worker, shutdown.clone()));
    }
    let prices = job
        .spec
        .lms
        .iter()
        .filter_map(|(name, lm)| Some((name.clone(), lm.known_price()?)))
        .collect();
    let coordinator = Coordinator {
        backends,
        workers,
        dir,
        trainers,
        retry: again,
        rehearsal,
        shutdown: shutdown.clone(),
        progress: Progress::new(prices),
        metrics,
    };
    let ended = tokio::select! {
        // The coordinator first: where workers drain because it was told to stop, it has the last word.
        biased;
        ended = coordinator::run(&coordinator, job) => ended,
        ended = running.join_next(), if !running.is_empty() => Err(worker_ended(&shutdown, ended)),
        heard = signals::listen(shutdown.clone()) => {
            let source = heard.err().unwrap_or_else(|| std::io::Error::other("no more signals come"));
            Err(RunError::File { path: PathBuf::from("signals"), source })
        }
    };
    let was_asked_to_stop = shutdown.is_draining();
    shutdown.drain();
    let stopped = async { while running.join_next().await.is_some() {} };
    tokio::select! {
        () = stopped => {}
        _ = signals::listen(shutdown.clone()) => {}
    }
    if let Some(rabbitmq) = rabbitmq {
        rabbitmq.close().await;
    }
    match ended {
        // A service was away just then.
        Err(error) if was_asked_to_stop && error.is_transient() => Err(RunError::Interrupted),
        ended => ended,
    }
}
