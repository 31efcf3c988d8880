//! Stopping a trainer: all of its group, gently first, and what becomes of it then.

use super::environment::MARK;
use super::procfs;
use super::workdir::{TrainerProcess, WorkDir, all};
use crate::finetune::TrainingState;
use crate::task::RunId;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How often a group that was told to end is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// How long somebody may prepare a training that is to be stopped before we no longer wait: whoever prepares it sees the mark.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long killed processes may take to be gone: those in the middle of a transfer to a device take a while.
const AFTER_KILL: Duration = Duration::from_secs(30);

/// Why we stop a training. Written down before the first signal: a trainer that ends well after it has not trained well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StopCause {
    /// Nobody wants it any more.
    Cancelled,
    /// It takes too long.
    Late(String),
}

impl StopCause {
    /// What the training is then.
    pub(super) fn outcome(self) -> TrainingState {
        match self {
            StopCause::Cancelled => TrainingState::Cancelled,
            StopCause::Late(why) => TrainingState::Failed(why),
        }
    }
}

/// Marks the training as stopped, unless it has ended or is stopped already.
pub(super) fn mark(work: &WorkDir, stop: &StopCause) -> io::Result<()> {
    work.create()?;
    match work.stop().is_some() || work.outcome().is_some() {
        true => Ok(()),
        false => work.write_json("stop.json", stop),
    }
}

/// Whether the group is the trainer's still, and not that of a stranger who was given its number.
fn is_ours(work: &WorkDir, proc: &TrainerProcess) -> bool {
    if proc.boot_id != procfs::boot_id() || proc.host != procfs::host() {
        return false;
    }
    match (proc.start_ticks, procfs::start_ticks(proc.pid)) {
        (Some(then), Some(now)) => then == now,
        _ => {
            let root = work.root().to_string_lossy();
            let is_marked = |pid: &i32| procfs::has_variable(*pid, MARK, &root);
            procfs::members(proc.pid).iter().any(is_marked)
                || (work.exit_code().is_none() && work.is_held().unwrap_or(false))
        }
    }
}

/// Ends all processes of the trainer's group: TERM, after `grace` KILL. Gives whether they are gone.
///
/// Cancel-safe: called again, it begins again.
pub(super) async fn end_group(work: &WorkDir, grace: Option<Duration>) -> bool {
    let begun = Instant::now();
    let proc = loop {
        match work.proc() {
            Some(proc) => break proc,
            // Between the lock and the wrapper's first words.
            None if work.is_held().unwrap_or(false) && begun.elapsed() < PATIENCE => sleep(LOOK).await,
            None => return true,
        }
    };
    if !is_ours(work, &proc) {
        return true;
    }
    let grace = grace.unwrap_or(Duration::from_millis(proc.grace_ms));
    procfs::signal_group(proc.pid, Signal::TERM);
    let told = Instant::now();
    let mut killed = false;
    // A group that was ours stays ours until it is empty: its number is not given away before.
    while !procfs::members(proc.pid).is_empty() {
        if told.elapsed() >= grace {
            if !killed {
                info!(group = proc.pid, "trainer did not end in time and is killed");
            }
            procfs::signal_group(proc.pid, Signal::KILL);
            killed = true;
        }
        if told.elapsed() >= grace + AFTER_KILL {
            warn!(group = proc.pid, "trainer cannot be killed");
            return false;
        }
        sleep(LOOK).await;
    }
    true
}

/// Stops every living training of a run in `dir`: TERM, then KILL. For when nobody is left who looks after them. Gives their keys.
pub async fn stop_all(dir: &Path, run: &RunId) -> io::Result<Vec<String>> {
    let mut ending = Vec::new();
    for work in all(dir) {
        let order = work.order().filter(|order| order.run == *run);
        if let Some(order) = order
            && work.outcome().is_none()
            && work.is_held()?
        {
            mark(&work, &StopCause::Cancelled)?;
            ending.push((work, order.key));
        }
    }
    let ended = ending.iter().map(|(work, _)| end_group(work, None));
    futures_util::future::join_all(ended).await;
    Ok(ending.into_iter().map(|(_, key)| key).collect())
}
