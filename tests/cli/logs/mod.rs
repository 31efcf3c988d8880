//! What goes to stderr: lines for people or for collectors, few of them; and traces for an OpenTelemetry collector.

mod collector;
mod traces;

use crate::support::{Ended, Folder, JobFile, LmServer, lines};
use serde_json::Value as Json;

/// JSON lines for a service whose stderr is no terminal.
const AUTO: (&str, &str) = ("BSFT_LOG_FORMAT", "auto");

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// A job on the simulated LM, some of whose answers cannot be read.
fn job(malformed_rate: f64) -> JobFile {
    JobFile::with_teacher(&format!(
        "model = \"simulated/teacher\"\nsimulate = {{ malformed_rate = {malformed_rate} }}"
    ))
}

/// Every line of stderr, each of which is a JSON object with what all lines have.
#[track_caller]
fn log_lines(ended: &Ended) -> Vec<Json> {
    let lines: Vec<Json> = ended
        .stderr
        .lines()
        .map(|line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error}: {line:?} in\n{}", ended.stderr))
        })
        .collect();
    for line in &lines {
        let timestamp = line["timestamp"].as_str().unwrap();
        assert!(timestamp.contains('T') && timestamp.ends_with('Z'), "{line}");
        let level = line["level"].as_str().unwrap();
        assert!(
            ["ERROR", "WARN", "INFO", "DEBUG", "TRACE"].contains(&level),
            "{line}"
        );
        assert!(
            line["target"].is_string() && line["message"].is_string(),
            "{line}"
        );
        for (name, value) in line.as_object().unwrap() {
            assert!(
                !value.is_object() && !value.is_array(),
                "{name} is not flat in {line}"
            );
        }
    }
    lines
}

#[track_caller]
fn line_with<'a>(lines: &'a [Json], words: &str) -> &'a Json {
    lines
        .iter()
        .find(|line| line["message"].as_str().unwrap().contains(words))
        .unwrap_or_else(|| panic!("no line has {words:?}: {lines:#?}"))
}

#[test]
fn log_lines_without_a_terminal_are_json_objects_with_the_run() {
    let folder = Folder::new();
    job(0.1).write(&folder, 50);
    let ended = folder.start_with(&COMPILE, &[AUTO]).end().with(0);
    let manifest: Json = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let lines = log_lines(&ended);
    let phase = line_with(&lines, "bootstrap 50/50");
    assert_eq!(phase["run"], manifest["run"], "{phase}");
    assert_eq!(phase["name"], "tested", "{phase}");
    for line in lines.iter().skip_while(|line| line["run"].is_null()) {
        assert_eq!(line["run"], manifest["run"], "{line}");
        assert_eq!(line["name"], "tested", "{line}");
    }
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "INFO");
    assert_eq!(last["run"], manifest["run"], "{last}");
    assert_eq!(last["ran"], manifest["tally"]["traces"], "{last}");
    assert_eq!(last["student"], "run/compiled.json", "{last}");
}

#[test]
fn failed_compile_ends_with_an_error_line() {
    let (folder, server) = (Folder::new(), LmServer::start("clean"));
    JobFile::at(&server.base()).write(&folder, 20);
    server.refuse_after(0, 400, "context_length_exceeded");
    let ended = folder.start_with(&COMPILE, &[AUTO]).end().with(1);
    let lines = log_lines(&ended);
    let last = lines.last().unwrap();
    assert_eq!(last["level"], "ERROR", "{last}");
    assert!(last["run"].is_string(), "{last}");
    assert!(
        last["message"]
            .as_str()
            .unwrap()
            .contains("the first 3 examples failed"),
        "{last}"
    );
}

#[test]
fn bad_job_file_is_reported_in_the_log_format() {
    let folder = Folder::new();
    folder.write("job.toml", "name = 3\n");
    let ended = folder.start_with(&COMPILE, &[AUTO]).end().with(2);
    assert_eq!(log_lines(&ended)[0]["level"], "ERROR");
}

#[test]
fn check_prints_json_only_with_log_format_json() {
    let folder = Folder::new();
    folder.write("job.toml", "name = 3\n");
    let check = ["check", "job.toml"];
    let human = folder.start_with(&check, &[AUTO]).end().with(2);
    assert!(human.stderr.starts_with("job.toml:"), "{}", human.stderr);
    let flag = folder.run(&["--log-format", "json", "check", "job.toml"]).with(2);
    let variable = folder
        .start_with(&check, &[("BSFT_LOG_FORMAT", "json")])
        .end()
        .with(2);
    let words = |ended: &Ended| log_lines(ended)[0]["message"].clone();
    assert_eq!(words(&flag), words(&variable));
    assert!(human.stderr.contains(words(&flag).as_str().unwrap()));
}

#[test]
fn empty_bsft_log_format_counts_as_unset() {
    let folder = Folder::new();
    folder.write("job.toml", "name = 3\n");
    let ended = folder
        .start_with(&COMPILE, &[("BSFT_LOG_FORMAT", "")])
        .end()
        .with(2);
    assert!(ended.stderr.starts_with("job.toml:"), "{}", ended.stderr);
}

#[test]
fn trace_lines_have_ids_of_run_task_and_call() {
    let folder = Folder::new();
    job(0.0).write(&folder, 3);
    let ended = folder
        .start_with(&COMPILE, &[AUTO, ("BSFT_LOG", "bsft=trace")])
        .end()
        .with(0);
    let logged = log_lines(&ended);
    let answer = line_with(&logged, "answer recorded");
    let traced: Vec<Json> = lines(&folder.read("run/traces.jsonl"));
    assert!(
        traced.iter().any(|line| line["task"] == answer["task"]),
        "{answer}"
    );
    for field in ["run", "task", "lm", "predictor", "model"] {
        assert!(answer[field].is_string(), "{field}: {answer}");
    }
    assert_eq!(answer["attempt"], 1, "{answer}");
    assert_eq!(answer["model"], "simulated/teacher", "{answer}");
}

#[test]
fn bad_bsft_log_is_a_warning() {
    let folder = Folder::new();
    job(0.0).write(&folder, 3);
    let ended = folder
        .start_with(&COMPILE, &[AUTO, ("BSFT_LOG", "bsft=loud")])
        .end()
        .with(0);
    let lines = log_lines(&ended);
    assert_eq!(line_with(&lines, "BSFT_LOG=\"bsft=loud\"")["level"], "WARN");
}

#[test]
fn compile_with_a_thousand_failures_logs_under_100_lines() {
    let folder = Folder::new();
    job(0.4).write(&folder, 5000);
    let ended = folder.start_with(&COMPILE, &[AUTO]).end().with(0);
    let failed = lines(&folder.read("run/failures.jsonl")).len();
    assert!(failed > 1000, "{failed} failures");
    let lines = log_lines(&ended);
    assert!(lines.len() < 100, "{} lines:\n{}", lines.len(), ended.stderr);
}
