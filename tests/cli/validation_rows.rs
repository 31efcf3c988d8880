//! Rows that are kept back, and rows in other formats.

use crate::support::{Folder, JobFile, Line, LmServer, lines, same};
use std::collections::{BTreeMap, BTreeSet};

const EXAMPLES: usize = 40;

/// The job with that fine-tune table, on two teachers, so that an example has rows of both.
fn job(server: &LmServer, finetune: &str) -> JobFile {
    let mut job = JobFile::at(&server.base());
    job.teacher.push_str(&format!(
        "\n[lm.second]\nmodel = \"openai/second\"\napi_base = \"{}\"",
        server.base()
    ));
    job.teachers.push_str("\n[[teacher]]\nlm = \"second\"");
    job.finetune = finetune.to_owned();
    job
}

/// Compiles it in a folder of its own.
fn compiled(server: &LmServer, finetune: &str) -> Folder {
    let folder = Folder::new();
    job(server, finetune).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    folder
}

/// The questions that rows are about: the last that a user asks in each.
fn questions(file: &str) -> BTreeSet<String> {
    let question = |row: Line| {
        let messages = row["messages"].as_array().unwrap().clone();
        let asked = messages
            .iter()
            .rfind(|message| message["role"] == "user")
            .unwrap();
        let text = asked["content"].as_str().unwrap();
        text[text.find("Question ").unwrap()..text.find("? gold").unwrap()].to_owned()
    };
    lines(file).into_iter().map(question).collect()
}

fn data(folder: &Folder) -> BTreeMap<String, String> {
    let mut files = folder.result("run");
    files.retain(|name, _| name.starts_with("data/"));
    files
}

#[test]
fn validation_split_is_by_example_and_complete() {
    let server = LmServer::start("mild");
    let all = compiled(&server, "provider = \"simulated\"");
    let all = all.read("run/data/student.jsonl");
    let folder = compiled(&server, "provider = \"simulated\"\nvalidation_fraction = 0.25");
    let (training, validation) = (
        folder.read("run/data/student.jsonl"),
        folder.read("run/data/student.validation.jsonl"),
    );
    assert!(questions(&training).is_disjoint(&questions(&validation)));
    let examples = questions(&all).len();
    assert_eq!(
        questions(&validation).len(),
        (examples as f64 * 0.25).round() as usize
    );
    let held = questions(&validation);
    let (ours, theirs): (Vec<&str>, Vec<&str>) =
        all.lines().partition(|line| !questions(line).is_disjoint(&held));
    assert_eq!(ours, validation.lines().collect::<Vec<_>>());
    assert_eq!(theirs, training.lines().collect::<Vec<_>>());

    let manifest: Line = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let shard = &manifest["shards"][0];
    assert_eq!(shard["validation"]["file"], "data/student.validation.jsonl");
    assert_eq!(shard["validation"]["rows"], validation.lines().count());
    assert_eq!(shard["rows"], training.lines().count());
    assert_eq!(shard["checks"]["rows"], training.lines().count());
    assert_eq!(shard["checks"]["bytes"], training.len());
}

#[test]
fn validation_split_and_export_are_deterministic() {
    let server = LmServer::start("mild");
    let exported = "provider = \"export\"\nvalidation_fraction = 0.2\nformats = [\"sharegpt\", \"alpaca\", \"prompt_completion\"]";
    let folder = compiled(&server, exported);
    let files = data(&folder);
    let mut expected: BTreeSet<String> = ["dataset_info.json", "README.md"].map(str::to_owned).into();
    for trainer in ["trl", "axolotl", "llamafactory"] {
        expected.insert(format!("student.{trainer}.yaml"));
    }
    for part in ["", ".validation"] {
        for format in ["", ".sharegpt", ".alpaca", ".prompt_completion"] {
            expected.insert(format!("student{part}{format}.jsonl"));
        }
        let rows = files[&format!("data/student{part}.jsonl")].lines().count();
        assert!(rows > 0);
        for format in [".sharegpt", ".alpaca", ".prompt_completion"] {
            let converted = files[&format!("data/student{part}{format}.jsonl")]
                .lines()
                .count();
            assert_eq!(converted, rows, "{part}{format}");
        }
    }
    let names: BTreeSet<String> = files.keys().map(|name| name.replace("data/", "")).collect();
    assert_eq!(names, expected);

    same(&files, &data(&compiled(&server, exported)));
    // And again in the same folder, from the traces.
    folder.compile("run").with(0);
    same(&files, &data(&folder));
}

#[test]
fn compile_removes_files_that_the_job_no_longer_asks_for() {
    let server = LmServer::start("mild");
    let folder = compiled(
        &server,
        "provider = \"export\"\nvalidation_fraction = 0.2\nformats = [\"sharegpt\"]",
    );
    folder.write("run/data/mine.txt", "mine");
    job(&server, "provider = \"simulated\"").write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let names: Vec<String> = data(&folder).into_keys().collect();
    assert_eq!(names, ["data/mine.txt", "data/student.jsonl"]);
}

#[test]
fn compile_reports_row_statistics_before_training() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    job(&server, "provider = \"simulated\"").write(&folder, EXAMPLES);
    let ended = folder.compile("run").with(0);
    ended
        .saying("training rows of lm student")
        .saying("estimated_tokens=");
}
