//! What long answers and long rows take of the memory of a process: the budget of `--memory`, and one answer beside it.

use super::cluster::Cluster;
use crate::support::giant_lm::{GiantLm, peak_memory, predictor, start_measured};
use crate::support::{Folder, JobFile, same, until};

/// The answers of a run, all of which arrive at once.
const ANSWERS: usize = 40;

/// The length of an answer in bytes.
const LENGTH: usize = 4_000_000;

/// The most memory in MiB: the program itself, the budget of 16 MiB, what one answer takes, and what the allocator keeps for a moment. The
/// bodies and texts of all answers alone have 320 MB.
const MOST: u64 = 300;

/// The flags of a process that may have all answers in flight, and a small budget.
const FLAGS: [&str; 4] = ["--concurrency", "40", "--memory", "16M"];

/// The number of traces that contain a long answer.
fn long_traces(folder: &Folder) -> usize {
    let text = folder.read("run/traces.jsonl");
    text.lines().filter(|line| line.len() > LENGTH).count()
}

fn compile_measured(folder: &Folder, flags: &[&str]) -> u64 {
    let arguments = [&["compile", "job.toml", "--out", "run"], flags].concat();
    let running = start_measured(folder, env!("CARGO_BIN_EXE_bsft"), &arguments, &[]);
    running.end().with(0);
    peak_memory(folder)
}

#[test]
fn memory_is_bounded_however_many_long_answers_arrive_at_once() {
    for (kind, signature) in [
        ("text", "text -> answer"),
        ("numbers", "text -> answer: list[int]"),
    ] {
        let (server, folder) = (GiantLm::start(ANSWERS), Folder::new());
        let answers = vec![format!("{kind}:{LENGTH}"); ANSWERS];
        server.write_job(&folder, &predictor("p", signature), &answers);
        let peak = compile_measured(&folder, &FLAGS);
        assert_eq!(long_traces(&folder), ANSWERS, "{kind}");
        assert!(peak < MOST, "{kind}: {peak} MiB");
    }
}

#[test]
fn memory_of_workers_and_coordinator_is_bounded_on_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let (server, folder) = (GiantLm::start(ANSWERS), Folder::new());
    let answers = vec![format!("text:{LENGTH}"); ANSWERS];
    server.write_job(&folder, &predictor("p", "text -> answer"), &answers);
    let of_worker = Folder::new();
    let variables = cluster.variables();
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
    let start = |folder: &Folder, program: &str, arguments: &[&str]| {
        start_measured(folder, program, arguments, &variables)
    };
    let worker = start(&of_worker, env!("CARGO_BIN_EXE_bsft-worker"), &FLAGS);
    let arguments = ["compile", "job.toml", "--out", "run", "--memory", "16M"];
    start(&folder, env!("CARGO_BIN_EXE_bsft"), &arguments)
        .end()
        .with(0);
    worker.signal("TERM");
    worker.end().with(0);
    assert_eq!(long_traces(&folder), ANSWERS);
    for (process, peak) in [
        ("coordinator", peak_memory(&folder)),
        ("worker", peak_memory(&of_worker)),
    ] {
        assert!(peak < MOST, "{process}: {peak} MiB");
    }
}

#[test]
fn tasks_that_hold_one_long_answer_and_need_another_come_to_their_end() {
    // Each of the two answers fits into the budget, and the two of one task do not.
    let (server, folder) = (GiantLm::start(4), Folder::new());
    let predictors = predictor("a", "text -> draft") + &predictor("b", "text, draft -> answer");
    let answers = vec!["text:1000000".to_owned(); 8];
    server.write_job(&folder, &predictors, &answers);
    compile_measured(&folder, &["--concurrency", "4", "--memory", "16M"]);
    assert_eq!(folder.traced("run"), 9);
    folder.compile("other").with(0);
    same(&folder.result("run"), &folder.result("other"));
}

#[test]
fn message_longer_than_any_task_becomes_a_dead_letter() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 20);
    let worker = cluster.worker(&[]);
    cluster.publish_long_message();
    worker.until_said("message rejected to the dead letters");
    // The worker goes on.
    cluster
        .run_in(&folder, &["compile", "job.toml", "--out", "run"])
        .with(0);
    until("the dead letter", || {
        let status = cluster.status(&folder).unwrap();
        (status["queues"]["dead_bootstrap"] == 1).then_some(())
    });
}

#[test]
fn check_refuses_rows_that_no_message_has_room_for() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 20);
    let mut rows = folder.read("train.jsonl");
    rows.push_str(&format!("{{\"question\": \"{}\"}}\n", "x".repeat(15 << 20)));
    folder.write("train.jsonl", rows);
    folder
        .run(&["check", "job.toml"])
        .with(2)
        .saying("train.jsonl:21: ");
}
