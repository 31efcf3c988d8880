//! Facts about this machine and its processes, read from `/proc`.

use rustix::process::{Pid, Signal, kill_process_group};
use std::fs;

/// The host name.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// The kernel's boot id, different after every reboot. Empty where the kernel has none.
pub(crate) fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

/// The fields of `/proc/PID/stat` that are used.
#[derive(Clone, Copy, Debug)]
struct Stat {
    is_alive: bool,
    group: i32,
    start_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command name is in parentheses and may itself contain parentheses.
    let (_, fields) = text.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    Some(Stat {
        is_alive: !matches!(state, "Z" | "X" | "x"),
        group: fields.nth(1)?.parse().ok()?,
        start_ticks: fields.nth(16)?.parse().ok()?,
    })
}

/// The start time of a process in clock ticks since boot. `None` if there is no such process.
pub(crate) fn start_ticks(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_ticks)
}

/// The live processes of a group.
pub(crate) fn members(group: i32) -> Vec<i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| stat(*pid).is_some_and(|stat| stat.is_alive && stat.group == group))
        .collect()
}

/// Whether the environment of a process contains `name=value`. False if it cannot be read.
pub(crate) fn has_variable(pid: i32, name: &str, value: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let entry = format!("{name}={value}");
    environment
        .split(|byte| *byte == 0)
        .any(|pair| pair == entry.as_bytes())
}

/// Sends a signal to a whole process group. An empty group is no error.
pub(crate) fn signal_group(group: i32, signal: Signal) {
    if let Some(group) = Pid::from_raw(group).filter(|_| group > 1) {
        let _ = kill_process_group(group, signal);
    }
}
