//! What a run leaves in DIR: one training file per LM key, rows in DSPy's order, lines in order of teacher and example.

use crate::support::{Folder, JobFile, Line, LmServer, lines};
use std::collections::BTreeSet;

const EXAMPLES: usize = 40;

/// CPython's own shuffle of `0..n`, seeded with 0, as DSPy shuffles rows.
fn dspy_order(n: usize) -> Vec<usize> {
    let program = format!(
        "import random, json; x = list(range({n})); random.Random(0).shuffle(x); print(json.dumps(x))"
    );
    let run = std::process::Command::new("python3")
        .args(["-c", &program])
        .output()
        .unwrap();
    serde_json::from_slice(&run.stdout).unwrap()
}

/// The rows of the kept traces, of one predictor or of all, in DSPy's order.
fn rows(traces: &[Line], predictor: Option<&str>) -> Vec<(Line, Line)> {
    let unshuffled: Vec<(Line, Line)> = traces
        .iter()
        .filter(|trace| trace["kept"] == true)
        .flat_map(|trace| trace["calls"].as_array().unwrap())
        .filter(|call| predictor.is_none_or(|name| call["predictor"] == name))
        .map(|call| {
            let prompt = if call["prompt"].is_null() {
                &call["messages"]
            } else {
                &call["prompt"]
            };
            (prompt.clone(), call["assistant"].clone())
        })
        .collect();
    dspy_order(unshuffled.len())
        .into_iter()
        .map(|at| unshuffled[at].clone())
        .collect()
}

/// The rows of a training file.
fn written(text: &str) -> Vec<(Line, Line)> {
    let split = |row: Line| {
        let mut messages = row["messages"].as_array().unwrap().clone();
        let answer = messages.pop().unwrap();
        assert_eq!(answer["role"], "assistant");
        (Line::Array(messages), answer["content"].clone())
    };
    lines(text).into_iter().map(split).collect()
}

fn data_files(folder: &Folder) -> BTreeSet<String> {
    folder
        .result("run")
        .into_keys()
        .filter(|name| name.starts_with("data/"))
        .collect()
}

#[test]
fn multitask_writes_one_file_in_the_order_of_dspy() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    assert_eq!(data_files(&folder), ["data/student.jsonl".to_owned()].into());
    let traces = lines(&folder.read("run/traces.jsonl"));
    let rows = rows(&traces, None);
    assert!(!rows.is_empty());
    assert_eq!(written(&folder.read("run/data/student.jsonl")), rows);
}

#[test]
fn multitask_false_writes_a_file_per_predictor() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.compile = "multitask = false".to_owned();
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let names = ["plan", "answer.predict"];
    let files = names.map(|name| format!("data/student@{name}.jsonl"));
    assert_eq!(data_files(&folder), files.clone().into());
    let traces = lines(&folder.read("run/traces.jsonl"));
    for (name, file) in names.into_iter().zip(files) {
        let rows = rows(&traces, Some(name));
        assert!(!rows.is_empty());
        assert_eq!(written(&folder.read(&format!("run/{file}"))), rows, "{name}");
    }
}

#[test]
fn traces_of_two_teachers_are_sorted_by_teacher_and_example() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.teacher.push_str(&format!(
        "\n[lm.second]\nmodel = \"openai/second\"\napi_base = \"{}\"\ntemperature = 0.5",
        server.base()
    ));
    job.teachers.push_str("\n[[teacher]]\nlm = \"second\"");
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let traces = lines(&folder.read("run/traces.jsonl"));
    let places: Vec<(u64, u64)> = traces
        .iter()
        .map(|line| {
            (
                line["teacher"].as_u64().unwrap(),
                line["example"].as_u64().unwrap(),
            )
        })
        .collect();
    let all: Vec<(u64, u64)> = (0..2)
        .flat_map(|t| (0..EXAMPLES as u64).map(move |e| (t, e)))
        .collect();
    assert_eq!(places, all);
    assert_eq!(
        written(&folder.read("run/data/student.jsonl")),
        rows(&traces, None)
    );
}

#[test]
fn without_a_metric_every_trace_is_kept() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.metric = String::new();
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    assert_eq!(lines(&folder.read("run/data/student.jsonl")).len(), 2 * EXAMPLES);
}

#[test]
fn run_json_counts_match_the_files() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let manifest: Line = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let traces = lines(&folder.read("run/traces.jsonl"));
    assert_eq!(manifest["tasks"], EXAMPLES);
    assert_eq!(manifest["tally"]["traces"], traces.len());
    assert_eq!(
        manifest["tally"]["kept"],
        traces.iter().filter(|trace| trace["kept"] == true).count()
    );
    assert_eq!(
        manifest["tally"]["lms"]["teacher"]["answers"],
        server.count().requests
    );
    let rows = folder.read("run/data/student.jsonl").lines().count();
    assert_eq!(manifest["shards"][0]["rows"], rows);
    let model = manifest["shards"][0]["model"].as_str().unwrap();
    assert!(folder.read("run/compiled.json").contains(model));
}
