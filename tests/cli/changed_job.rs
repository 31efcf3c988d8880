//! A changed job on an existing run directory: stale outcomes are reported, and recorded answers are used.

use crate::support::{Folder, JobFile, LmServer, lines, same};

const EXAMPLES: usize = 60;

/// The result of the job in a DIR of its own.
fn fresh(job: &JobFile, examples: usize) -> std::collections::BTreeMap<String, String> {
    let folder = Folder::new();
    job.write(&folder, examples);
    folder.compile("run").with(0);
    folder.result("run")
}

#[test]
fn changed_metric_scores_recorded_answers() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let (before, count) = (folder.result("run"), server.count());
    for metric in [
        "f1 = { field = \"answer\", threshold = 0.1 }",
        "",
        "contains = \"answer\"",
    ] {
        job.metric = metric.to_owned();
        job.write(&folder, EXAMPLES);
        folder.compile("run").with(0);
        assert_eq!(server.count(), count, "{metric:?} asked the LM");
        let after = folder.result("run");
        assert_ne!(after["traces.jsonl"], before["traces.jsonl"], "{metric:?}");
    }
    same(&folder.result("run"), &fresh(&job, EXAMPLES));
}

#[test]
fn exclude_demos_changes_files_without_lm_calls() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let demo = "Look into demo.toml.";
    let before = folder.result("run");
    assert!(before["compiled.json"].contains(demo) && before["data/student.jsonl"].contains(demo));
    let count = server.count();
    job.compile = "exclude_demos = true".to_owned();
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    assert_eq!(server.count(), count);
    let after = folder.result("run");
    assert!(!after["compiled.json"].contains(demo) && !after["data/student.jsonl"].contains(demo));
    same(&after, &fresh(&job, EXAMPLES));
}

#[test]
fn higher_limit_runs_only_the_new_examples() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.data = "limit = 20".to_owned();
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    assert_eq!(folder.traced("run"), 20);
    job.data = "limit = 50".to_owned();
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    assert_eq!(folder.traced("run"), 50);
    let count = server.count();
    assert_eq!(count.repeated, 0, "{count:?}");
    same(&folder.result("run"), &fresh(&job, EXAMPLES));
}

#[test]
fn changed_instructions_move_outcomes_to_stale_jsonl() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let old = folder.read("run/traces.jsonl");
    job.instructions = "Think of another plan.".to_owned();
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0).saying("stale.jsonl");
    assert_eq!(lines(&folder.read("run/stale.jsonl")), lines(&old));
    let result = folder.result("run");
    same(&result, &fresh(&job, EXAMPLES));

    // And back: the answers that were paid for are used again.
    let count = server.count();
    job.instructions = "Think of a plan.".to_owned();
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    assert_eq!(folder.read("run/traces.jsonl"), old);
    assert_eq!(server.count(), count);
}

#[test]
fn changed_row_runs_only_that_example() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let job = JobFile::at(&server.base());
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    server.reset();
    let changed = folder
        .read("train.jsonl")
        .replace("Question 7,", "Question seven,");
    folder.write("train.jsonl", &changed);
    folder.compile("run").with(0);
    for request in server.log() {
        assert!(
            request["body"].to_string().contains("Question seven,"),
            "{request}"
        );
    }
    assert_eq!(folder.traced("run"), EXAMPLES);
}

#[test]
fn compile_restores_a_deleted_traces_jsonl() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let result = folder.result("run");
    std::fs::remove_file(folder.path("run/traces.jsonl")).unwrap();
    folder.compile("run").with(0);
    same(&folder.result("run"), &result);
}
