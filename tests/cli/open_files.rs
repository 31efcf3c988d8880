//! Limits of open files below what `--concurrency` needs: they cost speed, and neither examples nor the run.

use crate::cli::cluster::Cluster;
use crate::support::{Ended, Folder, JobFile, LmServer, Running, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::fs;
use std::process::Command;

/// More calls at once than any of the limits allows.
const EXAMPLES: usize = 300;

/// A job whose LM takes as many requests at once as the worker has.
fn job(server: &LmServer, examples: usize) -> Folder {
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.teacher
        .push_str("\naccount = \"wide\"\n[account.wide]\nconcurrent = 1024");
    job.write(&folder, examples);
    folder
}

/// Runs `compile` in a shell with this limit of open files, such as `-Sn 256`.
fn compile_with(folder: &Folder, limit: &str, concurrency: &str) -> Running {
    let arguments = [
        "compile",
        "job.toml",
        "--out",
        "run",
        "--concurrency",
        concurrency,
    ];
    let bsft = folder.command(&arguments);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!("ulimit {limit} && exec \"$0\" \"$@\""));
    shell.arg(bsft.get_program()).args(bsft.get_args());
    shell.current_dir(folder.path(""));
    let variables = bsft.get_envs().filter_map(|(name, value)| Some((name, value?)));
    shell.env_clear().envs(variables);
    Running::start(shell)
}

#[track_caller]
fn assert_whole(folder: &Folder, ended: Ended, examples: usize) {
    let ended = ended.with(0);
    assert_eq!(folder.read("run/failures.jsonl"), "", "{}", ended.stderr);
    assert_eq!(folder.traced("run"), examples);
}

#[test]
fn soft_limit_of_open_files_is_raised_to_the_hard_one() {
    let server = LmServer::start("clean");
    let folder = job(&server, EXAMPLES);
    // The first example is answered, so that the others are asked.
    server.hold_from(1);
    let running = compile_with(&folder, "-Sn 64", "200");
    server.until_held(200);
    server.release();
    let ended = running.end();
    assert!(!ended.stderr.contains("open files"), "{}", ended.stderr);
    assert_whole(&folder, ended, EXAMPLES);
}

#[test]
fn concurrency_is_lowered_to_a_hard_limit_of_open_files_with_a_warning() {
    for limit in ["64", "128"] {
        let server = LmServer::start("clean");
        let folder = job(&server, EXAMPLES);
        let ended = compile_with(&folder, &format!("-n {limit}"), "1024").end();
        let words = format!("open files, this shell allows {limit}: at most ");
        let ended = ended
            .saying("warning: --concurrency 1024 needs about 1")
            .saying(&words)
            .saying("raise the hard limit");
        assert_whole(&folder, ended, EXAMPLES);
    }
}

/// Sets the soft limit of open files of a process, and returns what it was before.
fn limit_to(process: &Running, files: Option<u64>) -> Option<u64> {
    let pid = Pid::from_raw(i32::try_from(process.pid()).unwrap());
    // The hard limit stays; `None` is one without a number.
    let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let maximum = line.unwrap().split_whitespace().nth(4).unwrap().parse().ok();
    let new = Rlimit {
        current: files,
        maximum,
    };
    prlimit(pid, Resource::Nofile, new).unwrap().current
}

#[test]
fn worker_without_open_files_left_waits_and_fails_no_example() {
    const FEW: usize = 40;
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let folder = job(&server, FEW);
    server.hold();
    let worker = cluster.worker(&["--concurrency", "32"]);
    let running = cluster.start_in(&folder, &["compile", "job.toml", "--out", "run"]);
    // With the connection of the first request open, no other one can be opened.
    server.until_held(1);
    let open = fs::read_dir(format!("/proc/{}/fd", worker.pid()))
        .unwrap()
        .count();
    let before = limit_to(&worker, Some(open as u64));
    // The first example is answered, and the others are not: each of them needs a connection of its own.
    server.hold_from(1);
    worker.until_said("LM calls wait for open files");
    server.release();
    until("examples to be traced all the same", || {
        (folder.traced("run") > 1).then_some(())
    });
    limit_to(&worker, before);
    let ended = running.end();
    assert!(worker.said().contains("ulimit -n"), "{}", worker.said());
    assert_whole(&folder, ended, FEW);
    worker.signal("TERM");
    worker.end().with(0);
}
