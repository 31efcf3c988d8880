//! The state of a training, derived from the files in its folder.

use super::WorkDir;
use crate::finetune::TrainingState;
use crate::finetune::command::procfs;
use std::io;

/// The state of a training.
#[derive(Debug, PartialEq)]
pub(crate) enum FolderState {
    /// The training was not started.
    Absent,
    /// A worker fetches, converts or measures its rows.
    Preparing,
    /// The trainer is running.
    Running,
    /// The trainer is running on the named machine, which shares this folder.
    Elsewhere(String),
    /// The trainer has exited or must be stopped; the outcome is not determined yet.
    Ended,
    /// The trainer disappeared without an exit code: the machine went down, or its whole process group was killed.
    Lost,
    /// The outcome is stored.
    Done(TrainingState),
}

/// Reads the state of a training from its folder.
pub(crate) fn read_state(work: &WorkDir) -> io::Result<FolderState> {
    if let Some(outcome) = work.outcome() {
        return Ok(FolderState::Done(outcome));
    }
    // Read before the exit code: a trainer that exits in between has then left one.
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
