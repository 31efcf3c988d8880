//! `cancel RUN`: the coordinator drains and ends, the workers drop the run's tasks; nothing is lost.

use super::exit::Exit;
use super::flags::CancelFlags;
use super::runtime::block_on;
use super::services::Services;
use super::ui::{self, counted};
use crate::broker::Queue;
use crate::command_name::command_name;
use crate::coordination::Coordination as _;
use crate::coordinator::cancel_orphaned_trainings;
use crate::report::{Manifest, Phase};
use crate::run_dir::{RunDir, write_whole};
use crate::task::RunId;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often DIR is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long a process may take to finish what it has in flight, before the command that asked for it returns.
const PATIENCE: Duration = Duration::from_secs(90);

/// `cancel RUN`.
pub(super) fn cancel(flags: &CancelFlags) -> Exit {
    match Services::of(&flags.services) {
        Ok(Some(services)) => in_cluster(&services, &flags.run),
        Ok(None) => in_folder(&flags.run),
        Err(exit) => exit,
    }
}

/// Tells the process that works on the folder, wherever it runs.
fn in_folder(run: &Path) -> Exit {
    let Some(dir) = RunDir::existing(run) else {
        ui::error(format_args!(
            "{} holds no run: it has no run.json; a run on RabbitMQ and Redis is named by its id, with both URLs",
            run.display()
        ));
        return Exit::Usage;
    };
    match asked(&dir) {
        Ok(Working::Another) => {
            ui::stdout(format_args!(
                "{}: cancelled; compile goes on with it",
                run.display()
            ));
            Exit::Done
        }
        Ok(Working::Nobody(_lock)) => alone(&dir),
        Err(error) => {
            ui::error(format_args!("{}: {error}", dir.cancel_request().display()));
            Exit::Failed
        }
    }
}

/// Nobody works on it; trainings that were left behind may go on all the same.
fn alone(dir: &RunDir) -> Exit {
    let shown = dir.root().display();
    let mut manifest = match Manifest::read(&dir.manifest()) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Exit::Usage,
        Err(error) => {
            ui::error(format_args!("{}: {error}", dir.manifest().display()));
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
        ui::error(format_args!("{}: {error}", dir.manifest().display()));
        return Exit::Failed;
    }
    if left.stopped == 0 && left.ended.is_empty() {
        ui::error(format_args!("{shown}: nobody is working on it"));
        return Exit::Failed;
    }
    ui::stdout(format_args!(
        "{shown}: {} stopped; compile goes on with it",
        counted(left.stopped, "training")
    ));
    match left.still_running.is_empty() {
        true => Exit::Done,
        false => Exit::Failed,
    }
}

/// Who works on a folder.
enum Working {
    /// Somebody, who has been asked to stop.
    Another,
    /// Nobody, and while this is held nobody begins.
    Nobody(File),
}

/// Asks whoever works on the folder to stop, and waits for its end.
fn asked(dir: &RunDir) -> io::Result<Working> {
    if let Some(lock) = dir.lock()? {
        return Ok(Working::Nobody(lock));
    }
    File::create(dir.cancel_request())?;
    let asked = Instant::now();
    while dir.lock()?.is_none() {
        if asked.elapsed() > PATIENCE {
            ui::info(format_args!(
                "{}: it still finishes what is in flight; it ends by itself",
                dir.root().display()
            ));
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(Working::Another)
}

fn in_cluster(services: &Services, run: &Path) -> Exit {
    let cancelled = block_on(async {
        let store = match services.store().await {
            Ok(store) => store,
            Err(exit) => return exit,
        };
        let id = match Manifest::read(&run.join("run.json")) {
            Ok(Some(manifest)) => manifest.run,
            Ok(None) => RunId(run.display().to_string()),
            Err(error) => {
                ui::error(format_args!("{}: {error}", run.display()));
                return Exit::Failed;
            }
        };
        let reports = match store.reports().await {
            Ok(reports) => reports,
            Err(error) => return unavailable(&error),
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
                "no run {id} in namespace {}; {} status names those that there are",
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
            Ok(workers) if has_trainings && !workers.iter().any(|worker| worker.takes(&Queue::Finetune)) => {
                ui::notice(format_args!(
                    "{id}: no worker is there that could stop its trainings; the next one does (bsft-worker --lanes finetune)"
                ))
            }
            Ok(_) => {}
            Err(error) => return unavailable(&error),
        }
        ui::stdout(format_args!(
            "{id}: cancelled; its coordinator ends, workers drop its tasks, and compile goes on with it"
        ));
        Exit::Done
    });
    cancelled.unwrap_or_else(|exit| exit)
}

fn unavailable(error: &crate::store::StoreError) -> Exit {
    ui::error(error);
    Exit::Unavailable
}
