//! `cancel RUN`: the coordinator drains and ends, and the workers drop the run's tasks; `compile` resumes the run.

use super::exit::Exit;
use super::flags::CancelFlags;
use super::run_name;
use super::runtime::block_on;
use super::service_urls::Services;
use super::ui::{self, counted};
use crate::broker::Queue;
use crate::command_name::command_name;
use crate::coordination::Coordination as _;
use crate::coordinator::cancel_orphaned_trainings;
use crate::report::{Manifest, Phase};
use crate::run_dir::{RunDir, file_options, write_whole};
use crate::system_error::explained;
use crate::task::RunId;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Interval at which the lock of DIR is tried.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long the command waits for the process to finish its tasks in flight.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(90);

/// `cancel RUN`.
pub(super) fn cancel(flags: &CancelFlags) -> Exit {
    match Services::from_flags(&flags.services) {
        Ok(Some(services)) => in_cluster(&services, &flags.run),
        Ok(None) => in_folder(&flags.run),
        Err(exit) => exit,
    }
}

/// Cancels the run of a directory, through a request file that its process polls.
fn in_folder(run: &Path) -> Exit {
    let found = match run_name::in_folders(run) {
        Ok(found) => found,
        Err(exit) => return exit,
    };
    let Some(dir) = found.and_then(|found| RunDir::existing(&found.dir)) else {
        return run_name::no_folder(run);
    };
    match request_stop(&dir) {
        Ok(Owner::Other) => {
            ui::stdout(format_args!(
                "{}: cancelled; compile resumes it",
                dir.root().display()
            ));
            Exit::Done
        }
        Ok(Owner::None(_lock)) => cancel_trainings(&dir),
        Err(error) => {
            ui::error(format_args!(
                "{}: {}",
                dir.cancel_request().display(),
                explained(&error)
            ));
            Exit::Failed
        }
    }
}

/// Cancels the trainings that an ended process left running.
fn cancel_trainings(dir: &RunDir) -> Exit {
    let shown = dir.root().display();
    let mut manifest = match Manifest::read(&dir.manifest()) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Exit::Usage,
        Err(error) => {
            ui::error(format_args!(
                "{}: {}",
                dir.manifest().display(),
                explained(&error)
            ));
            return Exit::Failed;
        }
    };
    let left = match block_on(cancel_orphaned_trainings(dir, &mut manifest)) {
        Ok(Ok(left)) => left,
        Ok(Err(error)) => {
            ui::error(format_args!("{shown}: trainings were not stopped: {error}"));
            return Exit::Failed;
        }
        Err(exit) => return exit,
    };
    for ended in &left.ended {
        ui::info(format_args!("{shown}: {ended} had ended already"));
    }
    for still_running in &left.still_running {
        ui::notice(format_args!("{shown}: {still_running}"));
    }
    if left.stopped + left.ended.len() > 0
        && let Err(error) = write_whole(&dir.manifest(), &manifest.to_bytes())
    {
        ui::error(format_args!(
            "{}: {}",
            dir.manifest().display(),
            explained(&error)
        ));
        return Exit::Failed;
    }
    if left.stopped == 0 && left.ended.is_empty() {
        ui::error(format_args!("{shown}: no process is working on this run"));
        return Exit::Failed;
    }
    ui::stdout(format_args!(
        "{shown}: {} stopped; compile resumes it",
        counted(left.stopped, "training")
    ));
    if left.still_running.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    }
}

/// Whether a process was working on a directory.
enum Owner {
    /// Another process, which was asked to stop.
    Other,
    /// None; no process can start while this lock is held.
    None(File),
}

/// Asks the process of the directory to stop, and waits until it has ended.
fn request_stop(dir: &RunDir) -> io::Result<Owner> {
    if let Some(lock) = dir.lock()? {
        return Ok(Owner::None(lock));
    }
    let request = dir.cancel_request();
    file_options(&request)?.write(true).open(request)?;
    let started = Instant::now();
    while dir.lock()?.is_none() {
        if started.elapsed() > DRAIN_TIMEOUT {
            ui::info(format_args!(
                "{}: tasks in flight are still finishing; the process ends by itself",
                dir.root().display()
            ));
            break;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(Owner::Other)
}

fn in_cluster(services: &Services, run: &Path) -> Exit {
    let cancelled = block_on(async {
        let store = match services.store().await {
            Ok(store) => store,
            Err(exit) => return exit,
        };
        let found = match run_name::in_folders(run) {
            Ok(found) => found,
            Err(exit) => return exit,
        };
        let reports = match store.reports().await {
            Ok(reports) => reports,
            Err(error) => return unavailable(&error),
        };
        let named = run.display().to_string();
        let id = match (found, run_name::only_one(&named, &reports)) {
            (Some(found), _) => found.manifest.run,
            (None, Ok(Some(id))) => id,
            (None, Ok(None)) => RunId(named),
            (None, Err(exit)) => return exit,
        };
        let report = reports.iter().find(|(known, _)| *known == id);
        let manifest = report.and_then(|(_, report)| serde_json::from_slice::<Manifest>(report).ok());
        if manifest
            .as_ref()
            .is_some_and(|manifest| manifest.phase == Phase::Compiled)
        {
            ui::error(format_args!("{id} is compiled already"));
            return Exit::Failed;
        }
        if report.is_none() {
            ui::error(format_args!(
                "no run {id} in namespace {}; {} status lists the runs",
                services.namespace(),
                command_name()
            ));
            return Exit::Usage;
        }
        if let Err(error) = store.cancel(&id).await {
            return unavailable(&error);
        }
        let has_trainings = manifest.is_some_and(|manifest| manifest.has_open_trainings());
        match store.workers(&id).await {
            Ok(workers)
                if has_trainings
                    && !workers
                        .iter()
                        .any(|heartbeat| heartbeat.worker.takes(&Queue::Finetune)) =>
            {
                ui::notice(format_args!(
                    "{id}: no connected worker can stop its trainings; the next one will (bsft-worker --lanes finetune)"
                ))
            }
            Ok(_) => {}
            Err(error) => return unavailable(&error),
        }
        ui::stdout(format_args!(
            "{id}: cancelled; its coordinator ends, workers drop its tasks, and compile resumes it"
        ));
        Exit::Done
    });
    cancelled.unwrap_or_else(|exit| exit)
}

fn unavailable(error: &crate::store::StoreError) -> Exit {
    ui::error(error);
    Exit::Unavailable
}
