//! Processes that stand still, as those of a machine that sleeps.

use super::wait::until;
use std::fs;
use std::process::Command;

/// Stops a process. Returns when each of its threads is stopped: `kill` alone returns before, and on a busy machine some go on for a while.
pub(crate) fn freeze(pid: u32) {
    signal(pid, "STOP");
    until("all threads to stop", || is_stopped(pid).then_some(()));
}

/// Lets a process continue that [`freeze`] stopped.
pub(crate) fn thaw(pid: u32) {
    signal(pid, "CONT");
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "kill -{name}");
}

/// Whether all threads are in the state `T` of Linux. Elsewhere it is not known, and taken for granted.
fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return true;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name of the program may contain spaces and brackets.
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}
