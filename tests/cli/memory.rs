//! What long answers and long rows take of the memory of a process: the budget of `--memory`, and one answer beside it.

use crate::support::Folder;
use crate::support::giant_lm::{GiantLm, peak_memory, predictor, start_measured};

/// The answers of a run, all of which arrive at once.
const ANSWERS: usize = 16;

/// The length of an answer in bytes.
const LENGTH: usize = 4_000_000;

/// The most memory in MiB: the program itself, the budget of 16 MiB, and what one answer takes. All of the answers together take more,
/// even if nothing but their text is kept once.
const MOST: u64 = 150;

/// The flags of a process that may have all answers in flight, and a small budget.
const FLAGS: [&str; 4] = ["--concurrency", "16", "--memory", "16M"];

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
        ("control", "text -> answer"),
        ("numbers", "text -> answer: list[int]"),
        ("texts", "text -> answer: list[str]"),
    ] {
        let (server, folder) = (GiantLm::start(ANSWERS), Folder::new());
        let answers = vec![format!("{kind}:{LENGTH}"); ANSWERS];
        server.write_job(&folder, &predictor("p", signature), &answers);
        let peak = compile_measured(&folder, &FLAGS);
        assert_eq!(long_traces(&folder), ANSWERS, "{kind}");
        assert!(peak < MOST, "{kind}: {peak} MiB");
    }
}
