//! The outcome_log on real files: order, deaths in the middle of a line, outcomes that no longer fit.

use super::*;
use crate::task::TaskId;
use crate::trace::FailureKind;
use std::fs;

const TASKS: usize = 6;

fn trace(task: usize, made_by: &str) -> String {
    format!(
        "{{\"teacher\":0,\"example\":{task},\"score\":true,\"kept\":true,\"prediction\":{{}},\"calls\":[{{\"predictor\":\"p\",\
         \"lm\":\"l\",\"inputs\":{{}},\"outputs\":{{}},\"messages\":[],\"raw_answer\":\"r{task}\",\
         \"usage\":{{\"prompt_tokens\":1,\"completion_tokens\":2}},\"assistant\":\"a{task}\"}}],\"task\":\"{}\",\"made_by\":\"{made_by}\"}}",
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
        made_by: "now".to_owned(),
    }
}

fn id(task: usize) -> TaskId {
    TaskId::derive(&[&task.to_le_bytes()])
}

fn open(dir: &RunDir) -> OutcomeLog {
    let judge = |example: u32, found: TaskId, made_by: &str| {
        let task = example as usize;
        if found == id(task) && made_by == "now" {
            LineClass::Task(task)
        } else {
            LineClass::Stale
        }
    };
    OutcomeLog::open(
        dir,
        TASKS,
        &["p".to_owned()],
        |line| judge(line.example, line.task, &line.made_by),
        |failure| judge(failure.example, failure.task, &failure.made_by),
    )
    .expect("a good folder")
}

fn fill(outcome_log: &mut OutcomeLog, traces: &[usize], failures: &[usize]) {
    let mut appended = Appended::default();
    for task in traces {
        let line = trace(*task, "now");
        let index = LineIndex::of(&line).expect("a good line");
        outcome_log.append_trace(*task, &line, &index, &["p".to_owned()], &mut appended);
    }
    for task in failures {
        let failure = failure(*task);
        let line = serde_json::to_string(&failure).expect("plain data");
        outcome_log.append_failure(*task, &line, &failure, &mut appended);
    }
    outcome_log.flush(&mut appended).expect("a disk with room");
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
fn outcomes_that_came_in_any_order_are_sorted_by_task_and_counted_once() {
    let (_temp, dir) = folder();
    let mut outcome_log = open(&dir);
    fill(&mut outcome_log, &[4, 0, 2], &[5, 1]);
    outcome_log.sort().expect("a disk with room");
    assert_eq!(examples(dir.traces()), [0, 2, 4]);
    assert_eq!(examples(dir.failures()), [1, 5]);
    // Appending goes on behind what was sorted, and a second process finds all of it.
    fill(&mut outcome_log, &[3], &[]);
    let mut again = open(&dir);
    assert_eq!((again.counts().traces, again.counts().failed()), (4, 2));
    assert!((0..TASKS).all(|task| again.has(task)));
    again.sort().expect("a disk with room");
    assert_eq!(examples(dir.traces()), [0, 2, 3, 4]);
}

#[test]
fn half_a_line_at_the_end_is_cut_off_and_its_task_runs_again() {
    let (_temp, dir) = folder();
    let mut outcome_log = open(&dir);
    fill(&mut outcome_log, &[0, 1], &[]);
    let whole = fs::read(dir.traces()).expect("a file");
    for cut in 1..whole.len() {
        fs::write(dir.traces(), &whole[..cut]).expect("a disk with room");
        let mut outcome_log = open(&dir);
        let done = outcome_log.counts().done();
        assert_eq!(done, whole[..cut].iter().filter(|byte| **byte == b'\n').count());
        let missing: Vec<usize> = (0..2).filter(|task| !outcome_log.has(*task)).collect();
        fill(&mut outcome_log, &missing, &[]);
        outcome_log.sort().expect("a disk with room");
        assert_eq!(fs::read(dir.traces()).expect("a file"), whole);
    }
}

#[test]
fn outcomes_that_no_longer_fit_are_set_aside_and_their_answers_found_again() {
    let (_temp, dir) = folder();
    let lines = [
        trace(0, "once"),
        trace(1, "now"),
        "garbage".to_owned(),
        trace(1, "now"),
    ];
    fs::write(dir.traces(), lines.join("\n") + "\n").expect("a disk with room");
    let mut outcome_log = open(&dir);
    assert_eq!((outcome_log.counts().traces, outcome_log.stale()), (1, 3));
    assert_eq!(examples(dir.traces()), [1]);
    let aside = fs::read_to_string(dir.stale()).expect("a file");
    assert_eq!(
        aside.lines().collect::<Vec<_>>(),
        [&lines[0], &lines[2], &lines[3]]
    );
    outcome_log
        .find_replays(|line| Some(line.example as usize))
        .expect("a good file");
    assert_eq!(
        outcome_log.replays(),
        1,
        "task 1 has its outcome, task 0 only its answers"
    );
    let answers = outcome_log.replay(0).expect("a good file");
    assert_eq!(
        answers.iter().map(|a| a.answer.text.as_str()).collect::<Vec<_>>(),
        ["r0"]
    );
    assert_eq!(outcome_log.replay(2).expect("a good file"), []);
}
