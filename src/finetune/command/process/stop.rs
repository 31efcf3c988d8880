//! Stops a trainer: its whole process group, with TERM first and KILL after a grace period.

use super::environment::WORK_DIR_VARIABLE;
use crate::finetune::command::procfs;
use crate::finetune::command::work_dir::{StopCause, TrainerProcess, WorkDir, all_in};
use crate::task::RunId;
use rustix::process::Signal;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How often the process group is checked after a signal.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);

/// How long to wait for the process id of a training that another worker prepares. That worker reads `stop.json` itself.
const PID_TIMEOUT: Duration = Duration::from_secs(5);

/// How long killed processes may take to exit: a transfer to a device delays the kill.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);

/// The grace period of child processes that a trainer leaves behind: they have no work left.
pub(crate) const LEFTOVER_GRACE: Duration = Duration::from_secs(2);

/// Writes `stop.json`, unless the training has ended or is already being stopped.
pub(crate) fn mark_stopped(work: &WorkDir, stop: &StopCause) -> io::Result<()> {
    work.create()?;
    if work.stop().is_some() || work.outcome().is_some() {
        return Ok(());
    }
    work.write_json("stop.json", stop)
}

/// Whether the process group still belongs to the trainer. Its id may have been reused by another process.
fn is_ours(work: &WorkDir, proc: &TrainerProcess) -> bool {
    if proc.boot_id != procfs::boot_id() || proc.host != procfs::host() {
        return false;
    }
    match (proc.start_ticks, procfs::start_ticks(proc.pid)) {
        (Some(then), Some(now)) => then == now,
        _ => {
            let root = work.root().to_string_lossy();
            let is_marked = |pid: &i32| procfs::has_variable(*pid, WORK_DIR_VARIABLE, &root);
            procfs::members(proc.pid).iter().any(is_marked)
                || (work.exit_code().is_none() && work.is_held().unwrap_or(false))
        }
    }
}

/// Ends all processes of the trainer's group: TERM, and KILL after `grace`. Returns whether all have exited.
///
/// Cancel-safe: a second call starts over.
pub(crate) async fn end_group(work: &WorkDir, grace: Option<Duration>) -> bool {
    let begun = Instant::now();
    let proc = loop {
        match work.proc() {
            Some(proc) => break proc,
            // The lock is held and the wrapper has not written its process id yet.
            None if work.is_held().unwrap_or(false) && begun.elapsed() < PID_TIMEOUT => {
                sleep(CHECK_INTERVAL).await
            }
            None => return true,
        }
    };
    if !is_ours(work, &proc) {
        return true;
    }
    let grace = grace.unwrap_or(Duration::from_millis(proc.grace_ms));
    procfs::signal_group(proc.pid, Signal::TERM);
    let signalled = Instant::now();
    let mut killed = false;
    // The kernel does not reuse a group id before the group is empty.
    while !procfs::members(proc.pid).is_empty() {
        if signalled.elapsed() >= grace {
            if !killed {
                info!(group = proc.pid, "killing trainer after grace period");
            }
            procfs::signal_group(proc.pid, Signal::KILL);
            killed = true;
        }
        if signalled.elapsed() >= grace + KILL_TIMEOUT {
            warn!(group = proc.pid, "trainer cannot be killed");
            return false;
        }
        sleep(CHECK_INTERVAL).await;
    }
    true
}

/// Stops every live training of a run in `dir`, for a run without a worker. Returns the keys of the stopped trainings.
pub async fn stop_all(dir: &Path, run: &RunId) -> io::Result<Vec<String>> {
    let mut ending = Vec::new();
    for work in all_in(dir) {
        let request = work.request().filter(|request| request.run == *run);
        if let Some(request) = request
            && work.outcome().is_none()
            && work.is_held()?
        {
            mark_stopped(&work, &StopCause::Cancelled)?;
            ending.push((work, request.key));
        }
    }
    let ended = ending.iter().map(|(work, _)| end_group(work, None));
    futures_util::future::join_all(ended).await;
    Ok(ending.into_iter().map(|(_, key)| key).collect())
}
