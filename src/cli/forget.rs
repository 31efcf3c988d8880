//! `forget RUN`: removes a run from RabbitMQ and Redis, and lists what is left. DIR belongs to the user.
//!
//! The command leads the run like a coordinator while it works, so that no coordinator starts. It makes the workers drop the run's tasks,
//! then takes the messages, then the keys. Killed at any moment, it is repeated by the same command.

use super::exit::Exit;
use super::flags::ForgetFlags;
use super::run_name::{self, FoundRun};
use super::runtime::block_on;
use super::service_urls::{Connected, Services};
use super::ui::{self, counted};
use crate::broker::BrokerError;
use crate::broker::rabbitmq::RemovedMessages;
use crate::command_name::command_name;
use crate::coordination::{
    Coordination as _, LEADER_LEASE, LEADER_RENEWAL, LeaseResult, LeaseWatch, Process,
};
use crate::message::run_of;
use crate::report::Manifest;
use crate::run_dir::RunDir;
use crate::store::StoreError;
use crate::store::redis::{RedisStore, StoreUser};
use crate::task::RunId;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Interval at which the lease and the tasks in flight are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a cancelled run's coordinator and workers are waited for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(90);

/// A worker that knows the run learns of its cancellation with its next heartbeat, every five seconds.
const KNOWN_WITHIN: Duration = Duration::from_secs(6);

/// Why a run is not forgotten.
#[derive(Debug, thiserror::Error)]
enum NotForgotten {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "run {run} is in use: {process} coordinates it; stop it first with\n  {} cancel {run}",
        command_name()
    )]
    Led { run: RunId, process: Process },
    #[error(
        "run {run} is in use: {tasks} in flight{workers}; stop them first with\n  {} cancel {run}",
        command_name()
    )]
    Held {
        run: RunId,
        tasks: String,
        workers: String,
    },
    #[error(
        "run {run} is cancelled, and {process} has not ended yet; run the same command again when it has"
    )]
    Ending { run: RunId, process: Process },
    #[error(
        "run {run} is cancelled, and {tasks} still in flight{workers}; run the same command again when they have ended"
    )]
    Draining {
        run: RunId,
        tasks: String,
        workers: String,
    },
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default)]
struct Forgotten {
    messages: RemovedMessages,
    keys: u64,
}

/// `forget RUN`.
pub(super) fn forget(flags: &ForgetFlags) -> Exit {
    let ended = Services::from_flags(&flags.services).and_then(|services| {
        let found = run_name::in_folders(&flags.run)?;
        match services {
            Some(services) => block_on(in_cluster(&services, &flags.run, found))?,
            None => in_folder(&flags.run, found),
        }
    });
    ended.unwrap_or_else(|exit| exit)
}

/// A run that one process compiles is in its directory and nowhere else.
fn in_folder(run: &Path, found: Option<FoundRun>) -> Result<Exit, Exit> {
    let FoundRun { dir, manifest } = found.ok_or_else(|| run_name::no_folder(run))?;
    let shown = dir.display();
    if is_url(&manifest.store) {
        ui::error(format_args!(
            "{shown} is a run on RabbitMQ and Redis ({}); give both URLs",
            manifest.store
        ));
        return Err(Exit::Usage);
    }
    let lock = RunDir::existing(&dir).map(|dir| dir.lock());
    if matches!(lock, Some(Ok(None))) {
        ui::error(format_args!(
            "{shown} is in use: another bsft is running on it; stop it first with\n  {} cancel {shown}",
            command_name()
        ));
        return Err(Exit::Failed);
    }
    ui::stdout(format_args!(
        "{shown}: nothing to forget; this run is in its directory only"
    ));
    print_left(&dir, &manifest);
    Ok(Exit::Done)
}

async fn in_cluster(services: &Services, named: &Path, found: Option<FoundRun>) -> Result<Exit, Exit> {
    let connected = services.connect(StoreUser::Coordinator).await?;
    // Read before they are removed.
    let reports = connected.store.reports().await;
    let reports = reports.map_err(|error| failed(&error.into()))?;
    let run = match &found {
        Some(found) => found.manifest.run.clone(),
        None => known_run(&reports, services, named)?,
    };
    let reported = last_report(&reports, &run);
    let forgotten = forget_run(&connected, &run).await;
    connected.broker.close().await;
    let forgotten = forgotten.map_err(|error| failed(&error))?;
    if forgotten.is_nothing() {
        ui::stdout(format_args!(
            "{run}: nothing of it is in RabbitMQ and Redis (namespace {})",
            services.namespace()
        ));
    } else {
        ui::stdout(format_args!("{run}: forgotten; removed {}", forgotten.text()));
    }
    match (found, reported) {
        (Some(found), _) => print_left(&found.dir, &found.manifest),
        (None, Some(manifest)) => {
            if !manifest.dir.is_empty() {
                ui::stdout(format_args!(
                    "left: {} on its coordinator's machine",
                    manifest.dir
                ));
            }
            print_trainings(&manifest);
        }
        (None, None) => {}
    }
    Ok(Exit::Done)
}

/// The run with that id or name. A run whose report has expired is known by the form of its id.
fn known_run(reports: &[(RunId, Vec<u8>)], services: &Services, named: &Path) -> Result<RunId, Exit> {
    let named = named.display().to_string();
    if let Some(run) = run_name::only_one(&named, reports)? {
        return Ok(run);
    }
    if is_run_id(&named) {
        return Ok(RunId(named));
    }
    ui::error(format_args!(
        "no run {named} in namespace {}; {} status lists the runs",
        services.namespace(),
        command_name()
    ));
    Err(Exit::Usage)
}

fn last_report(reports: &[(RunId, Vec<u8>)], run: &RunId) -> Option<Manifest> {
    let report = reports.iter().find(|(id, _)| id == run);
    report.and_then(|(_, report)| serde_json::from_slice(report).ok())
}

/// Whether the text is a job's name, a dash and 16 hex digits.
fn is_run_id(text: &str) -> bool {
    let digits = text.rsplit_once('-').map(|(_name, digits)| digits);
    digits.is_some_and(|digits| {
        digits.len() == 16 && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// Leads the run, and removes it.
async fn forget_run(connected: &Connected, run: &RunId) -> Result<Forgotten, NotForgotten> {
    let store = &connected.store;
    let process = Process::current();
    let was_cancelled = store.is_cancelled(run).await?;
    lead(store, run, &process, was_cancelled).await?;
    let forgotten = tokio::select! {
        forgotten = remove(connected, run, was_cancelled) => forgotten,
        replaced = keep_lease(store, run, &process) => Err(replaced),
    };
    // After an error here it expires by itself.
    let released = store.release_lease(run, &process).await;
    let forgotten = forgotten?;
    released?;
    Ok(forgotten)
}

/// Takes the run's lease. Waits for that of a dead process to expire, and for the coordinator of a cancelled run to end.
async fn lead(
    store: &RedisStore,
    run: &RunId,
    process: &Process,
    was_cancelled: bool,
) -> Result<(), NotForgotten> {
    let (started, mut watch) = (Instant::now(), LeaseWatch::default());
    loop {
        let (holder, left) = match store.acquire_lease(run, process, LEADER_LEASE).await? {
            LeaseResult::Acquired => return Ok(()),
            LeaseResult::HeldBy { process, left } => (process, left),
        };
        if watch.is_new() {
            ui::info(format_args!("{run}: waiting for {holder} to end"));
        }
        let (run, is_renewed) = (run.clone(), watch.is_renewed(&holder, left));
        if is_renewed && !was_cancelled {
            return Err(NotForgotten::Led { run, process: holder });
        }
        if started.elapsed() > DRAIN_TIMEOUT {
            return Err(NotForgotten::Ending { run, process: holder });
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Renews the lease; returns only when another process has it.
async fn keep_lease(store: &RedisStore, run: &RunId, process: &Process) -> NotForgotten {
    loop {
        sleep(LEADER_RENEWAL).await;
        // While Redis is away, no other process can take the lease.
        if let Ok(LeaseResult::HeldBy { process, .. }) = store.acquire_lease(run, process, LEADER_LEASE).await
        {
            return NotForgotten::Led {
                run: run.clone(),
                process,
            };
        }
    }
}

async fn remove(connected: &Connected, run: &RunId, was_cancelled: bool) -> Result<Forgotten, NotForgotten> {
    let Connected { broker, store, .. } = connected;
    let workers = workers(store, run).await?;
    if !was_cancelled {
        let held = store.held_tasks(run).await?;
        if held > 0 {
            return Err(NotForgotten::Held {
                run: run.clone(),
                tasks: tasks_are(held),
                workers,
            });
        }
        // From now on workers drop its messages.
        store.cancel(run).await?;
    }
    if !workers.is_empty() {
        sleep(KNOWN_WITHIN).await;
    }
    let mut forgotten = Forgotten::default();
    let started = Instant::now();
    loop {
        until_none_held(store, run, started).await?;
        let removed = broker
            .forget(run, |message| run_of(message).as_ref() == Some(run))
            .await?;
        forgotten.messages.waiting += removed.waiting;
        forgotten.messages.dead_letters += removed.dead_letters;
        // A task that was taken meanwhile may have come back.
        if store.held_tasks(run).await? == 0 {
            break;
        }
    }
    let own_cancellation = u64::from(!was_cancelled);
    forgotten.keys = store.forget(run).await?.saturating_sub(own_cancellation);
    Ok(forgotten)
}

/// Waits until no worker holds a task of the run.
async fn until_none_held(store: &RedisStore, run: &RunId, started: Instant) -> Result<(), NotForgotten> {
    let mut is_reported = false;
    loop {
        let held = store.held_tasks(run).await?;
        if held == 0 {
            return Ok(());
        }
        if started.elapsed() > DRAIN_TIMEOUT {
            return Err(NotForgotten::Draining {
                run: run.clone(),
                tasks: tasks_are(held),
                workers: workers(store, run).await?,
            });
        }
        if !std::mem::replace(&mut is_reported, true) {
            ui::info(format_args!(
                "{run}: {} in flight; waiting for the end",
                tasks_are(held)
            ));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Names the workers that know the run, for messages; empty if there are none. What bsft did not write names no worker.
async fn workers(store: &RedisStore, run: &RunId) -> Result<String, StoreError> {
    let workers = match store.workers(run).await {
        Err(StoreError::ForeignData { .. }) => return Ok(String::new()),
        workers => workers?,
    };
    let names: Vec<String> = workers
        .iter()
        .map(|heartbeat| heartbeat.worker.process.to_string())
        .collect();
    if names.is_empty() {
        return Ok(String::new());
    }
    Ok(format!(" (workers: {})", names.join(", ")))
}

fn tasks_are(held: u64) -> String {
    let verb = if held == 1 { "is" } else { "are" };
    format!(
        "{} {verb}",
        counted(usize::try_from(held).unwrap_or(usize::MAX), "task")
    )
}

impl Forgotten {
    fn is_nothing(self) -> bool {
        self.messages == RemovedMessages::default() && self.keys == 0
    }

    fn text(self) -> String {
        let keys = usize::try_from(self.keys).unwrap_or(usize::MAX);
        format!(
            "{}, {} and {}",
            counted(self.messages.waiting, "message"),
            counted(self.messages.dead_letters, "dead letter"),
            counted(keys, "key")
        )
    }
}

/// Prints why the run is not forgotten.
fn failed(error: &NotForgotten) -> Exit {
    match error {
        NotForgotten::Broker(_) | NotForgotten::Store(_) => {
            ui::error(format_args!(
                "{error}\nthe same command goes on where this one stopped"
            ));
            Exit::Unavailable
        }
        NotForgotten::Led { .. }
        | NotForgotten::Held { .. }
        | NotForgotten::Ending { .. }
        | NotForgotten::Draining { .. } => {
            ui::error(error);
            Exit::Failed
        }
    }
}

/// Prints what the command leaves alone.
fn print_left(dir: &Path, manifest: &Manifest) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let name = |entry: std::fs::DirEntry| {
        let slash = if entry.path().is_dir() { "/" } else { "" };
        format!("{}{slash}", entry.file_name().to_string_lossy())
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    ui::stdout(format_args!("left: {} with {}", dir.display(), names.join(", ")));
    print_trainings(manifest);
}

fn print_trainings(manifest: &Manifest) {
    let started = manifest
        .trainings
        .values()
        .filter(|training| training.id.is_some());
    let started = started.count();
    if started > 0 {
        ui::stdout(format_args!(
            "left: {} with files and models, where {} made",
            counted(started, "training"),
            if started == 1 { "it was" } else { "they were" }
        ));
    }
}

/// Whether a manifest's store is a server's.
fn is_url(store: &str) -> bool {
    store.contains("://")
}

#[cfg(test)]
mod tests {
    use super::is_run_id;

    #[test]
    fn is_run_id_takes_a_name_and_sixteen_hex_digits() {
        for id in ["intents-0123456789abcdef", "a-b-0000000000000000"] {
            assert!(is_run_id(id), "{id}");
        }
        for other in [
            "",
            "intents",
            "no-such-run",
            "0123456789abcdef",
            "a-0123456789ABCDEF",
        ] {
            assert!(!is_run_id(other), "{other}");
        }
    }
}
