//! What a person sees: help, check, plan, status, the summary, and the message of each exit code, against `tests/ui/*.snap`.
//!
//! After a change of the texts: `INSTA_UPDATE=always cargo nextest run -E 'test(screens)'`, then read the diff of `tests/ui`.

use crate::support::{Ended, Folder, JobFile, LmServer, ReservedPort, Running, clean};
use regex::Regex;
use std::process::Command;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// What differs from run to run, and what stands in its place.
const REDACTED: [(&str, &str); 7] = [
    // Log lines: their number depends on how fast a run is.
    (r"(?m)^\d{4}-\d\d-\d\dT[\d:.]+Z .*\n", ""),
    (r"\bin \d+(\.\d+)?(ms|s)\b", "in TIME"),
    (r"\b\d+(\.\d+)?/s\b", "RATE/s"),
    (r"-[0-9a-f]{16}\b", "-ID"),
    (r"\bft:small:[0-9a-f]+\b", "ft:small:ID"),
    (r"\b127\.0\.0\.1:\d+\b", "127.0.0.1:PORT"),
    (
        concat!("bsft(-worker)? ", env!("CARGO_PKG_VERSION")),
        "bsft$1 VERSION",
    ),
];

/// Compares what a command printed, and its exit code, with the snapshot of that name.
#[track_caller]
fn assert_screen(name: &str, folder: &Folder, ended: &Ended) {
    let code = ended.code.unwrap();
    let mut text = format!("exit code {code}\n");
    for (stream, printed) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        let printed = printed.replace(folder.path("").to_str().unwrap(), "DIR/");
        let redacted = REDACTED.iter().fold(printed, |text, (pattern, replacement)| {
            let pattern = Regex::new(pattern).unwrap();
            pattern.replace_all(&text, *replacement).into_owned()
        });
        if !redacted.is_empty() {
            text.push_str(&format!("--- {stream} ---\n{redacted}"));
        }
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../ui");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

/// The screen of a command in the folder.
#[track_caller]
fn assert_command(name: &str, folder: &Folder, arguments: &[&str]) {
    assert_screen(name, folder, &folder.run(arguments));
}

/// A folder with a job on the simulated LM.
fn simulated(examples: usize) -> Folder {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, examples);
    folder
}

/// Runs a command whose help shows no value of a variable.
fn help(command: Command) -> Ended {
    let mut command = clean(command);
    command.env_remove("BSFT_LOG_FORMAT");
    command.arg("--help");
    Running::start(command).end()
}

#[test]
fn help_of_every_command() {
    let folder = Folder::new();
    let overview = help(folder.command(&[]));
    assert_screen("help", &folder, &overview);
    let (_, commands) = overview.stdout.split_once("Commands:\n").unwrap();
    let commands = commands.split("\n\n").next().unwrap();
    let names = commands.lines().filter(|line| !line.starts_with("   "));
    for name in names.filter_map(|line| line.split_whitespace().next()) {
        if name != "help" {
            let ended = help(folder.command(&[name]));
            assert_screen(&format!("help_{name}"), &folder, &ended);
        }
    }
    let worker = help(Command::new(env!("CARGO_BIN_EXE_bsft-worker")));
    assert_screen("help_bsft_worker", &folder, &worker);
}

#[test]
fn check_and_plan() {
    let folder = simulated(12);
    assert_command("check_ok", &folder, &["check", "job.toml"]);
    assert_command("plan", &folder, &["plan", "job.toml"]);
    assert_command("plan_json", &folder, &["plan", "job.toml", "--json"]);
    let text = folder.read("job.toml").replace("model = ", "modle = ");
    folder.write("job.toml", text + "\n[compil]\nseed = \"one\"\n");
    assert_command("check_problems", &folder, &["check", "job.toml"]);
}

#[test]
fn compile_status_retry_and_cancel() {
    let folder = simulated(12);
    assert_command("status_no_runs", &folder, &["status"]);
    assert_command("compile_summary", &folder, &COMPILE);
    assert_command("compile_again", &folder, &COMPILE);
    assert_command("status", &folder, &["status", "run"]);
    assert_command("retry", &folder, &["retry", "run"]);
    assert_command("cancel_without_process", &folder, &["cancel", "run"]);
    assert_command("init", &folder, &["init", "example"]);
}

#[test]
fn exit_code_1_when_every_example_fails() {
    let folder = Folder::new();
    let server = LmServer::start("clean");
    JobFile::at(&server.base()).write(&folder, 3);
    server.refuse_after(0, 400, "context_length_exceeded");
    assert_command("exit_1", &folder, &COMPILE);
}

#[test]
fn exit_code_2_for_bad_usage() {
    let folder = simulated(3);
    assert_command("exit_2_unknown_command", &folder, &["complie", "job.toml"]);
    assert_command("exit_2_no_job_file", &folder, &["compile", "nowhere.toml"]);
    assert_command("exit_2_no_run", &folder, &["status", "nowhere"]);
    let one_url = ["compile", "job.toml", "--amqp-url", "amqp://127.0.0.1"];
    assert_command("exit_2_one_url", &folder, &one_url);
}

#[test]
fn exit_code_3_when_interrupted() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, 20);
    server.hold();
    let running = folder.start(&COMPILE);
    server.until_held(1);
    running.signal("INT");
    running.until_draining();
    server.release();
    assert_screen("exit_3", &folder, &running.end());
}

#[test]
fn exit_codes_when_an_lm_refuses_its_key_or_cannot_be_reached() {
    let (server, folder) = (LmServer::start("clean"), Folder::new());
    JobFile::at(&server.base()).write(&folder, 3);
    server.refuse_after(0, 401, "invalid_api_key");
    assert_command("exit_1_key", &folder, &COMPILE);
    drop(server);
    assert_command("exit_4_lm", &folder, &COMPILE);
}

#[test]
fn exit_code_4_when_a_service_cannot_be_reached() {
    let folder = simulated(3);
    let ports = [ReservedPort::new(), ReservedPort::new()];
    let amqp = format!("amqp://127.0.0.1:{}", ports[0].number());
    let redis = format!("redis://127.0.0.1:{}", ports[1].number());
    let urls = ["--amqp-url", &amqp, "--redis-url", &redis];
    assert_command("exit_4", &folder, &[&COMPILE[..], &urls].concat());
}
