//! What a training's folder says of it.

use super::environment::arguments;
use super::procfs;
use super::workdir::WorkDir;
use crate::finetune::TrainingState;
use std::io;
use std::time::{Duration, SystemTime};

/// How it stands with a training.
#[derive(Debug, PartialEq)]
pub(super) enum FolderState {
    /// It was not started.
    Absent,
    /// Its rows are being fetched, converted or measured.
    Preparing,
    /// The trainer runs.
    Running,
    /// The trainer runs, seen from another machine that has the same folder.
    Elsewhere(String),
    /// The trainer has ended by itself, or is to be stopped: its outcome is to be found out.
    Ended,
    /// The trainer is gone and left no exit code: the machine went down, or somebody killed all of its group.
    Lost,
    /// All is done.
    Done(TrainingState),
}

/// Looks.
pub(super) fn look(work: &WorkDir) -> io::Result<FolderState> {
    if let Some(outcome) = work.outcome() {
        return Ok(FolderState::Done(outcome));
    }
    // Before the exit code: a trainer that ends in between has then left one.
    let is_held = work.is_held()?;
    if work.stop().is_some() {
        return Ok(FolderState::Ended);
    }
    if work.attempts() == 0 {
        return Ok(if is_held {
            FolderState::Preparing
        } else {
            FolderState::Absent
        });
    }
    Ok(match (work.exit_code(), is_held) {
        (Some(_), _) => FolderState::Ended,
        (None, false) => FolderState::Lost,
        (None, true) => match work.proc().filter(|proc| proc.host != procfs::host()) {
            Some(proc) if proc.boot_id != procfs::boot_id() => FolderState::Elsewhere(proc.host),
            _ => FolderState::Running,
        },
    })
}

/// Why a trainer that runs is to be stopped, if it is.
pub(super) fn overdue(trainer: &super::config::Trainer, work: &WorkDir) -> Option<String> {
    let since = |time: SystemTime| SystemTime::now().duration_since(time).unwrap_or_default();
    let started = std::fs::metadata(work.path("attempts")).ok()?.modified().ok()?;
    let logs = work.root().display();
    let secs = |time: Duration| time.as_secs_f64();
    if since(started) > trainer.timeout {
        let limit = secs(trainer.timeout);
        return Some(format!(
            "it took longer than `timeout_secs` = {limit}; its logs are in {logs}"
        ));
    }
    let heard = super::progress::last_words(&trainer.progress, work)?;
    (since(heard) > trainer.silence).then(|| {
        let limit = secs(trainer.silence);
        format!("it said nothing for `silence_secs` = {limit}; its logs are in {logs}")
    })
}

/// The program of the trainer's command; none: it is not on this machine.
pub(super) fn program(trainer: &super::config::Trainer) -> Result<(), String> {
    let values = super::values::Values(
        [(
            "config_dir".to_owned(),
            trainer.config_dir.to_string_lossy().into(),
        )]
        .into_iter()
        .collect(),
    );
    let argv = arguments(&trainer.argv[..1], &values);
    let name = argv.first().cloned().unwrap_or_default();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = match name.contains('/') {
        true => is_executable(name.as_ref()),
        false => std::env::split_paths(&path).any(|folder| is_executable(&folder.join(&name))),
    };
    match is_there {
        true => Ok(()),
        false => Err(format!(
            "its program {name} is not on this machine, or not executable"
        )),
    }
}

fn is_executable(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
