//! `compile JOB`: checks everything, connects the backends, runs coordinator and workers, and reports how the run ended.

use super::backends::{ConnectedBackends, workers};
use super::check::{unreachable_lms, warn};
use super::execution::execute;
use super::exit::Exit;
use super::flags::CompileFlags;
use super::metrics_server::Monitor;
use super::runtime::block_on;
use super::service_urls::Services;
use super::{trainers, ui};
use crate::command_name::command_name;
use crate::coordinator::{Coordinator, Event, EventLog, Retry, RunError, Workers, retry_command};
use crate::finetune::Trainers;
use crate::job::{self, Job};
use crate::lm::Price;
use crate::metrics::{Need, Service};
use crate::report::{Manifest, Progress, summary, summary_fields};
use crate::run_dir::RunDir;
use crate::shutdown::Shutdown;
use std::collections::HashMap;
use std::fmt::Display;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory of local trainings, relative to DIR.
const TRAININGS: &str = "trainings";

/// `compile JOB`.
pub(super) fn compile(flags: &CompileFlags) -> Exit {
    compile_again(flags, Retry::Nothing)
}

/// Compiles and retries the given failures of an earlier process. Touches DIR only after everything was checked.
pub(super) fn compile_again(flags: &CompileFlags, retry: Retry) -> Exit {
    let ended = Inputs::check(flags).and_then(|inputs| inputs.run(flags, retry));
    ended.unwrap_or_else(|exit| exit)
}

/// Everything that a compile reads, checked.
struct Inputs {
    job: Job,
    /// DIR.
    out: PathBuf,
    /// `None` for a compile in one process.
    services: Option<Services>,
    trainers: Option<Arc<Trainers>>,
}

/// The run directory with its event log.
struct RunPlace {
    dir: RunDir,
    events: Arc<EventLog>,
}

impl Inputs {
    /// Reads the job file and the trainers file. All problems have been printed when this fails.
    fn check(flags: &CompileFlags) -> Result<Inputs, Exit> {
        let services = Services::from_flags(&flags.workers.services)?;
        let trainers = trainers::read(flags.workers.trainers.as_deref())?;
        let mut job = job::read(&flags.job).map_err(|problems| {
            ui::problem(problems);
            Exit::Usage
        })?;
        warn(&job);
        if flags.rehearse {
            job.rehearse();
        }
        // Other workers have keys of their own.
        let unreachable = if workers(services.as_ref(), &flags.workers).are_here() {
            unreachable_lms(&job)
        } else {
            Vec::new()
        };
        if !unreachable.is_empty() {
            unreachable.iter().for_each(ui::error);
            return Err(Exit::Usage);
        }
        let default_out = || PathBuf::from("runs").join(&job.spec.name);
        let out = flags.out.clone().unwrap_or_else(default_out);
        // Local trainings are part of the run directory, unless the trainers file names another place.
        let trainers = trainers.map(|trainers| match services {
            None => trainers.default_dir(&out.join(TRAININGS)),
            Some(_) => trainers,
        });
        Ok(Inputs {
            job,
            out,
            services,
            trainers: trainers.map(Arc::new),
        })
    }

    /// Runs the job to its end.
    fn run(self, flags: &CompileFlags, retry: Retry) -> Result<Exit, Exit> {
        let mut monitor = Monitor::bind(flags.workers.monitor.metrics_addr.as_deref())?;
        let (dir, _lock) = locked(&self.out)?;
        let events = EventLog::open(&dir).map_err(|error| {
            ui::error(format_args!("{}: {error}", dir.events().display()));
            Exit::Failed
        })?;
        let events = Arc::new(events);
        block_on(async {
            let shutdown = Shutdown::new();
            let workers = workers(self.services.as_ref(), &flags.workers);
            monitor.serve(&shutdown, &needs(self.services.is_some(), workers.are_here()))?;
            let in_cluster = self.services.is_some();
            let retry_command = retry_command(&dir, flags.workers.trainers.as_deref());
            let ended = match connect(self.services.as_ref(), &dir, &shutdown, &mut monitor).await? {
                Ok(connected) => {
                    let place = RunPlace {
                        dir: dir.clone(),
                        events: Arc::clone(&events),
                    };
                    self.execute(flags, retry, connected, workers, place, shutdown)
                        .await
                }
                Err(error) => Err(error),
            };
            let why = ended.as_ref().err().map(ToString::to_string);
            let exit = report(ended, &dir, in_cluster, &resume_command(flags), &retry_command);
            events.record(&Event::Stopped {
                exit: exit.code(),
                why,
            });
            Ok(exit)
        })?
    }

    async fn execute(
        self,
        flags: &CompileFlags,
        retry: Retry,
        connected: ConnectedBackends,
        workers: Workers,
        place: RunPlace,
        shutdown: Shutdown,
    ) -> Result<Manifest, RunError> {
        let coordinator = Coordinator {
            backends: connected.backends,
            workers,
            dir: place.dir,
            events: place.events,
            trainers: self.trainers,
            retry,
            rehearsal: flags.rehearse,
            wait: flags.wait,
            shutdown,
            progress: Progress::new(prices(&self.job)),
            metrics: connected.metrics,
            memory: flags.workers.memory.budget(),
        };
        let ended = Box::pin(execute(
            &coordinator,
            self.job,
            &connected.accounts,
            &flags.workers,
        ))
        .await;
        if let Some(rabbitmq) = connected.rabbitmq {
            rabbitmq.close().await;
        }
        ended
    }
}

/// Connects the backends. The outer error has been printed; the inner one has not.
async fn connect(
    services: Option<&Services>,
    dir: &RunDir,
    shutdown: &Shutdown,
    monitor: &mut Monitor,
) -> Result<Result<ConnectedBackends, RunError>, Exit> {
    let metrics = Arc::clone(&monitor.metrics);
    let connected = match services {
        None => ConnectedBackends::embedded(dir, metrics),
        Some(services) => {
            let connected = services.connect().await?;
            monitor.watch(&connected);
            ConnectedBackends::cluster(dir, connected, shutdown, metrics)
        }
    };
    Ok(connected.map_err(RunError::from))
}

/// The prices of the job's LMs that are known, by LM.
fn prices(job: &Job) -> HashMap<String, Price> {
    let lms = job.spec.lms.iter();
    lms.filter_map(|(name, lm)| Some((name.clone(), lm.known_price()?)))
        .collect()
}

/// What the process needs before it is ready.
fn needs(in_cluster: bool, has_workers: bool) -> Vec<Need> {
    let services = [Need::Service(Service::RabbitMq), Need::Service(Service::Redis)];
    let mut needs = vec![Need::Coordinator];
    needs.extend(services.into_iter().filter(|_| in_cluster));
    needs.extend(has_workers.then_some(Need::Worker));
    needs
}

/// The run directory, locked against other processes. An error has been printed.
fn locked(out: &Path) -> Result<(RunDir, File), Exit> {
    let failed = |error| {
        ui::error(format_args!("{}: {error}", out.display()));
        Exit::Failed
    };
    let dir = RunDir::create(out).map_err(failed)?;
    let lock = dir.lock().map_err(failed)?.ok_or_else(|| {
        ui::error(format_args!(
            "{} is in use: another bsft is running on it; wait for it, or stop it with\n  {} cancel {0}",
            out.display(),
            command_name()
        ));
        Exit::Failed
    })?;
    Ok((dir, lock))
}

/// The command that resumes the run.
fn resume_command(flags: &CompileFlags) -> String {
    let mut command = format!("{} compile {}", command_name(), flags.job.display());
    if let Some(out) = &flags.out {
        command.push_str(&format!(" --out {}", out.display()));
    }
    if flags.rehearse {
        command.push_str(" --rehearse");
    }
    if flags.wait {
        command.push_str(" --wait");
    }
    if let Some(size) = flags.workers.memory.memory {
        command.push_str(&format!(" --memory {size}"));
    }
    if let Some(trainers) = &flags.workers.trainers {
        command.push_str(&format!(" --trainers {}", trainers.display()));
    }
    command
}

/// Prints an error after which the same command resumes the run.
fn resumable(error: &dyn Display, resume: &str) {
    ui::error(format_args!(
        "{error}\nnothing is lost. Resume the run with\n  {resume}"
    ));
}

/// Prints how the run ended, with the command that resumes it or retries its failures.
fn report(
    ended: Result<Manifest, RunError>,
    dir: &RunDir,
    in_cluster: bool,
    resume: &str,
    retry: &str,
) -> Exit {
    match ended {
        Ok(manifest) => {
            ui::summary(&summary(&manifest, dir, retry), || summary_fields(&manifest, dir));
            Exit::Done
        }
        Err(error @ (RunError::Interrupted | RunError::Cancelled)) => {
            ui::notice(format_args!(
                "{error}; nothing is lost. Resume the run with\n  {resume}"
            ));
            Exit::Interrupted
        }
        Err(error @ RunError::OtherRun(_)) => {
            ui::error(error);
            Exit::Usage
        }
        Err(error @ (RunError::Broker(_) | RunError::Store(_))) if in_cluster => {
            resumable(&error, resume);
            Exit::Unavailable
        }
        Err(error @ RunError::LmAway(_)) => {
            resumable(&error, resume);
            Exit::Unavailable
        }
        Err(RunError::AccountClosed(lm)) => {
            resumable(&lm, resume);
            if lm.reopens() {
                Exit::Interrupted
            } else {
                Exit::Failed
            }
        }
        Err(error @ (RunError::FirstExamples { .. } | RunError::NoneKept { .. })) => {
            ui::error(format_args!(
                "{error}\nGo on with the examples that are left, once the cause is mended, with\n  {resume}"
            ));
            Exit::Failed
        }
        Err(error @ RunError::TooManyFailures { .. }) => {
            ui::error(format_args!(
                "{error}\nGo on with the examples that are left, once the cause is mended, with\n  {resume}\n\
                 and run the failed ones again with\n  {retry}"
            ));
            Exit::Failed
        }
        Err(error) => {
            ui::error(error);
            Exit::Failed
        }
    }
}
