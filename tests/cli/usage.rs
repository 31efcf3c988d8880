//! Flags, help and exit codes.

use crate::support::{Ended, Folder, JobFile, Running, clean};
use std::process::Command;

#[test]
fn help_lists_every_command() {
    let folder = Folder::new();
    let ended = folder.run(&["--help"]).with(0);
    for command in ["compile", "plan", "check", "status", "retry", "init"] {
        assert!(
            ended.stdout.contains(command),
            "{command} is not in:\n{}",
            ended.stdout
        );
    }
    for command in ["compile", "check", "status", "retry", "plan", "init"] {
        let ended = folder.run(&[command, "--help"]).with(0);
        assert!(ended.stdout.contains("Usage"), "{}", ended.stdout);
    }
    assert!(
        folder
            .run(&["--version"])
            .with(0)
            .stdout
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn bad_usage_ends_with_code_2() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["compile"],
        &["compile", "job.toml", "--frobnicate"],
        &["compile", "job.toml", "--concurrency", "0"],
        &["compile", "job.toml", "--workers", "0"],
        &["compile", "nowhere.toml"],
        &["check", "nowhere.toml"],
        &["status", "nowhere"],
        &["retry", "nowhere"],
    ] {
        let ended = folder.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(!ended.stderr.is_empty(), "{arguments:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
    }
    assert!(!folder.path("runs").exists());
}

#[test]
fn one_url_without_the_other_is_bad_usage() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    let (amqp, redis) = ("amqp://u:hidden@localhost", "redis://:hidden@localhost");
    let ended = [
        folder
            .run(&["compile", "job.toml", "--amqp-url", amqp])
            .saying("--redis-url"),
        folder
            .run(&["compile", "job.toml", "--redis-url", redis])
            .saying("--amqp-url"),
        folder
            .start_with(&["compile", "job.toml"], &[("BSFT_AMQP_URL", amqp)])
            .end()
            .saying("BSFT_REDIS_URL"),
        folder
            .start_with(&["compile", "job.toml"], &[("BSFT_REDIS_URL", redis)])
            .end()
            .saying("BSFT_AMQP_URL"),
    ];
    for ended in ended {
        let ended = ended.with(2);
        assert!(!ended.stderr.contains("hidden"), "{}", ended.stderr);
    }
    assert!(!folder.path("runs").exists());
}

#[test]
fn compile_without_out_writes_to_runs_and_status_finds_it() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 12);
    let ended = folder.run(&["compile", "job.toml"]).with(0);
    assert_eq!(ended.stdout, "", "stdout is for machines");
    assert!(folder.path("runs/tested/compiled.json").exists());
    for arguments in [&["status"][..], &["status", "runs/tested"]] {
        let ended = folder.run(arguments).with(0);
        assert!(ended.stdout.contains("12 of 12"), "{}", ended.stdout);
    }
    let ended = folder.run(&["status", "--json"]).with(0);
    let runs: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(runs[0]["phase"], "compiled");
}

#[test]
fn out_that_is_a_file_is_an_error() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    folder.write("taken", "not a folder");
    folder.compile("taken").with(1).saying("taken");
    assert_eq!(folder.read("taken"), "not a folder");
}

/// Runs another of the binaries with the given arguments.
fn run_binary(path: &str, arguments: &[&str]) -> Ended {
    let mut command = clean(Command::new(path));
    command.args(arguments);
    Running::start(command).end()
}

#[test]
fn bsft_coordinator_takes_the_same_commands_and_hints_name_it() {
    let coordinator = env!("CARGO_BIN_EXE_bsft-coordinator");
    let folder = Folder::new();
    let version = run_binary(coordinator, &["--version"]).with(0);
    assert!(version.stdout.starts_with("bsft-coordinator "), "{version:?}");
    let version = folder.run(&["--version"]).with(0);
    assert!(version.stdout.starts_with("bsft "), "{version:?}");
    for (ended, hint) in [
        (folder.run(&["init", "a"]), "bsft compile a/job.toml"),
        (
            run_binary(coordinator, &["init", folder.path("b").to_str().unwrap()]),
            "bsft-coordinator compile ",
        ),
    ] {
        let ended = ended.with(0);
        assert!(
            ended.stderr.lines().any(|line| line.trim().starts_with(hint)),
            "{hint:?} is not in:\n{}",
            ended.stderr
        );
    }
}

#[test]
fn bsft_worker_is_the_command_worker() {
    let worker = env!("CARGO_BIN_EXE_bsft-worker");
    let folder = Folder::new();
    for arguments in [
        &[][..],
        &["--lanes", "bootstrap,nothing"],
        &["--concurrency", "0"],
    ] {
        let long = run_binary(worker, arguments).with(2);
        let short = folder.run(&[&["worker"], arguments].concat()).with(2);
        assert_eq!(
            long.stderr.lines().next(),
            short.stderr.lines().next(),
            "{arguments:?}"
        );
    }
    let long = run_binary(worker, &[])
        .with(2)
        .saying("--amqp-url")
        .saying("`bsft compile`");
    assert_eq!(long.stdout, "");
}
