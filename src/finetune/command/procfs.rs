//! What the kernel says of this machine and its processes (`/proc`).

use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;

/// The machine's name.
pub(super) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// Drawn by the kernel at each start of the machine; empty where there is no such thing.
pub(super) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// A process, as `/proc/PID/stat` has it.
#[derive(Clone, Copy, Debug)]
struct Stat {
    is_alive: bool,
    group: i32,
    start_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything, brackets too.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    Some(Stat {
        is_alive: !matches!(state, "Z" | "X" | "x"),
        group: fields.nth(1)?.parse().ok()?,
        start_ticks: fields.nth(16)?.parse().ok()?,
    })
}

/// When the process started, in clock ticks since the machine did; none: there is none.
pub(super) fn start_ticks(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_ticks)
}

/// The living processes of a group.
pub(super) fn members(group: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.is_alive && stat.group == group))
        .collect()
}

/// Whether that variable has that value in the process's environment; false where it cannot be read.
pub(super) fn has_variable(pid: i32, name: &str, value: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let wanted = format!("{name}={value}");
    environment
        .split(|byte| *byte == 0)
        .any(|pair| pair == wanted.as_bytes())
}

/// Sends a signal to a whole group. Nobody there is as good as done.
pub(super) fn signal_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group).filter(|_| group > 1) {
        let _ = kill_process_group(group, signal);
    }
}
