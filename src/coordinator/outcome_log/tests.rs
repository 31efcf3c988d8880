//! The outcome log on real files: order, half a line at the end, stale outcomes.

use super::*;
use crate::task::TaskId;
use crate::trace::FailureKind;
use std::fs;
use std::path::PathBuf;

const TASKS: usize = 6;

fn trace(task: usize, trace_fingerprint: &str) -> String {
    format!(
        "{{\"teacher\":0,\"example\":{task},\"score\":true,\"kept\":true,\"prediction\":{{}},\"calls\":[{{\"predictor\":\"p\",\
         \"lm\":\"l\",\"inputs\":{{}},\"outputs\":{{}},\"messages\":[],\"raw_answer\":\"r{task}\",\
         \"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2}},\"assistant\":\"a{task}\"}}],\"task\":\"{}\",\"made_by\":\"{trace_fingerprint}\"}}",
        id(task)
    )
}

fn failure(task: usize) -> Failure {
    Failure {
        teacher: 0,
        example: task as u32,
        kind: FailureKind::Parse,
        message: "m".to_owned(),
        attempts: 2,
        predictor: None,
        raw_answer: None,
        usage: Vec::new(),
        task: id(task),
        trace_fingerprint: "now".to_owned(),
    }
}

fn id(task: usize) -> TaskId {
    TaskId::derive(&[&task.to_le_bytes()])
}

fn open(dir: &RunDir) -> OutcomeLog {
    let task_of = |line: LineOrigin<'_>| {
        let task = line.example as usize;
        (line.task == id(task) && line.trace_fingerprint == "now").then_some(task)
    };
    OutcomeLog::open(dir, TASKS, vec!["p".to_owned()], task_of).expect("a good folder")
}

fn fill(log: &mut OutcomeLog, traces: &[usize], failures: &[usize]) {
    for task in traces {
        let line = trace(*task, "now");
        let index = LineIndex::of(&line).expect("a good line");
        log.append_trace(*task, &line, &index);
    }
    for task in failures {
        let failure = failure(*task);
        let line = serde_json::to_string(&failure).expect("plain data");
        log.append_failure(*task, &line, &failure);
    }
    log.flush().expect("a disk with room");
}

fn examples(path: PathBuf) -> Vec<u64> {
    let text = fs::read_to_string(path).expect("a file");
    text.lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("a line")["example"]
                .as_u64()
                .expect("a number")
        })
        .collect()
}

fn folder() -> (tempfile::TempDir, RunDir) {
    let temp = tempfile::tempdir().expect("a folder");
    let dir = RunDir::create(temp.path()).expect("a folder");
    (temp, dir)
}

#[test]
fn sort_puts_outcomes_into_task_order_and_open_counts_each_once() {
    let (_temp, dir) = folder();
    let mut log = open(&dir);
    fill(&mut log, &[4, 0, 2], &[5, 1]);
    log.sort().expect("a disk with room");
    assert_eq!(examples(dir.traces()), [0, 2, 4]);
    assert_eq!(examples(dir.failures()), [1, 5]);
    // Appends follow the sorted lines, and a second process finds all of them.
    fill(&mut log, &[3], &[]);
    let mut again = open(&dir);
    assert_eq!((again.counts().traces, again.counts().failed()), (4, 2));
    assert!((0..TASKS).all(|task| again.has(task)));
    again.sort().expect("a disk with room");
    assert_eq!(examples(dir.traces()), [0, 2, 3, 4]);
}

#[test]
fn open_cuts_off_half_a_line_and_its_task_has_no_outcome() {
    let (_temp, dir) = folder();
    let mut log = open(&dir);
    fill(&mut log, &[0, 1], &[]);
    let whole = fs::read(dir.traces()).expect("a file");
    for cut in 1..whole.len() {
        fs::write(dir.traces(), &whole[..cut]).expect("a disk with room");
        let mut log = open(&dir);
        let done = log.counts().done();
        assert_eq!(done, whole[..cut].iter().filter(|byte| **byte == b'\n').count());
        let missing: Vec<usize> = (0..2).filter(|task| !log.has(*task)).collect();
        fill(&mut log, &missing, &[]);
        log.sort().expect("a disk with room");
        assert_eq!(fs::read(dir.traces()).expect("a file"), whole);
    }
}

#[test]
fn open_archives_stale_lines_and_find_replays_finds_their_answers() {
    let (_temp, dir) = folder();
    let lines = [
        trace(0, "once"),
        trace(1, "now"),
        "garbage".to_owned(),
        trace(1, "now"),
    ];
    fs::write(dir.traces(), lines.join("\n") + "\n").expect("a disk with room");
    let mut log = open(&dir);
    assert_eq!((log.counts().traces, log.stale()), (1, 3));
    assert_eq!(examples(dir.traces()), [1]);
    let archived = fs::read_to_string(dir.stale()).expect("a file");
    assert_eq!(
        archived.lines().collect::<Vec<_>>(),
        [&lines[0], &lines[2], &lines[3]]
    );
    log.find_replays(|line| Some(line.example as usize))
        .expect("a good file");
    assert_eq!(
        log.replays(),
        1,
        "task 1 has an outcome, task 0 only archived answers"
    );
    let answers = log.archived_answers(0).expect("a good file");
    assert_eq!(
        answers.iter().map(|a| a.answer.text.as_str()).collect::<Vec<_>>(),
        ["r0"]
    );
    assert_eq!(log.archived_answers(2).expect("a good file"), []);
}
