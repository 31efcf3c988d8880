//! The outcome log on real files: order, half a line at the end, stale outcomes.

use super::*;
use crate::report::UnsettledTotals;
use crate::task::TaskId;
use crate::trace::{TokenBound, UnsettledCall};
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

/// A failure after the call of [`trace`], with an answer that did not parse.
fn failure(task: usize, raw_answer: &str) -> String {
    let calls = trace(task, "now");
    let start = calls.find("\"calls\"").expect("a key");
    let end = calls.find(",\"task\"").expect("a key");
    format!(
        "{{\"teacher\":0,\"example\":{task},\"kind\":\"parse\",\"message\":\"m\",\"attempts\":1,\
         \"usage\":[[\"l\",{{\"prompt_tokens\":11,\"completion_tokens\":22}}]],\"inputs\":{{}},{},\"lm\":\"l\",\
         \"unparsed\":[{{\"messages\":[1],\"raw_answer\":\"{raw_answer}\",\
         \"usage\":{{\"prompt_tokens\":10,\"completion_tokens\":20}}}}],\"task\":\"{}\",\"made_by\":\"now\"}}",
        &calls[start..end],
        id(task)
    )
}

fn id(task: usize) -> TaskId {
    TaskId::derive(&[&task.to_le_bytes()])
}

fn open(dir: &RunDir) -> OutcomeLog {
    let task_of = |line: LineOrigin<'_>| {
        let task = line.example as usize;
        (line.task == id(task) && line.trace_fingerprint == "now").then_some(task)
    };
    OutcomeLog::open(dir, TASKS, vec!["p".to_owned()], CutAnswers::Keep, task_of).expect("a good folder")
}

fn fill(log: &mut OutcomeLog, traces: &[usize], failures: &[usize]) {
    for task in traces {
        let line = trace(*task, "now");
        let index = LineIndex::parse(&line).expect("a good line");
        log.append_trace(*task, &line, index, &AnswerNotes::default())
            .expect("a disk with room");
    }
    for task in failures {
        fail(log, *task, "?");
    }
    log.flush().expect("a disk with room");
}

fn fail(log: &mut OutcomeLog, task: usize, raw_answer: &str) {
    let line = failure(task, raw_answer);
    let index = FailureIndex::parse(&line).expect("a good line");
    log.append_failure(task, &line, index, &AnswerNotes::default())
        .expect("a disk with room");
}

/// Answers and prompt tokens that were paid.
fn paid(log: &OutcomeLog) -> (u64, u64) {
    let totals = log.counts().lms.get("l").copied().unwrap_or_default();
    (totals.answers, totals.prompt_tokens)
}

/// `retry` in a process of its own.
fn take_failures_back(dir: &RunDir) -> OutcomeLog {
    let mut log = open(dir);
    log.archive_failures().expect("a disk with room");
    log.find_replays(|line| Some(line.example as usize))
        .expect("a good file");
    log
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
    let answers = answers.expect("an archived line");
    assert_eq!(
        answers.iter().map(|a| a.answer.text.as_str()).collect::<Vec<_>>(),
        ["r0"]
    );
    assert_eq!(log.archived_answers(2).expect("a good file"), None);
}

#[tokio::test]
async fn archive_failures_keeps_their_answers_and_their_cost() {
    let (_temp, dir) = folder();
    let mut log = open(&dir);
    fill(&mut log, &[0], &[1, 2]);
    log.sync().await.expect("a disk with room");
    assert_eq!(paid(&log), (5, 23));
    let mut log = take_failures_back(&dir);
    assert_eq!((log.counts().done(), log.replays()), (1, 2));
    assert_eq!(fs::read_to_string(dir.failures()).expect("a file"), "");
    let answers = log.archived_answers(1).expect("a good file");
    let answers = answers.expect("an archived line");
    assert_eq!(
        answers.len(),
        1,
        "the answer that did not parse is not used again"
    );
    assert_eq!(answers[0].answer.text, "r1");
    // The first task succeeds with the answer that it had, the other fails as before, with another answer that is paid.
    fill(&mut log, &[1], &[2]);
    assert_eq!(paid(&log), (6, 33));
    log.sync().await.expect("a disk with room");
    assert_eq!(paid(&open(&dir)), (6, 33));
}

#[tokio::test]
async fn spend_log_survives_a_kill_before_its_lines_are_written() {
    let (_temp, dir) = folder();
    let mut log = open(&dir);
    fill(&mut log, &[0], &[1]);
    assert_eq!(fs::read_to_string(dir.spend()).expect("a file"), "");
    drop(log);
    let log = open(&dir);
    assert_eq!(paid(&log), (3, 12));
    drop(log);
    let mut log = take_failures_back(&dir);
    // The same answer a second time: it was asked for again.
    fill(&mut log, &[], &[1]);
    assert_eq!(paid(&log), (4, 22));
    drop(log);
    assert_eq!(paid(&open(&dir)), (4, 22), "killed before the entry was written");
    assert_eq!(paid(&open(&dir)), (4, 22));
}

#[tokio::test]
async fn spend_log_is_made_from_the_outcomes_of_a_version_without_it() {
    let (_temp, dir) = folder();
    let mut log = open(&dir);
    fill(&mut log, &[0, 1], &[2]);
    log.sync().await.expect("a disk with room");
    let mut log = take_failures_back(&dir);
    fill(&mut log, &[2], &[]);
    log.sync().await.expect("a disk with room");
    let before = paid(&log);
    assert_eq!(before, (4, 13));
    drop(log);
    fs::remove_file(dir.spend()).expect("a file");
    assert_eq!(paid(&open(&dir)), before);
    assert_eq!(paid(&open(&dir)), before);
}

/// A call that a process sent, and did not settle.
fn sent(task: usize, completion_tokens: Option<u64>) -> SentCall {
    SentCall {
        task: id(task),
        call: 1,
        lm: "l".to_owned(),
        sent_ms: 17,
        bound: TokenBound {
            prompt_tokens: 100,
            completion_tokens,
        },
    }
}

fn unsettled(log: &OutcomeLog) -> Option<UnsettledTotals> {
    log.counts().unsettled.get("l").copied()
}

#[tokio::test]
async fn calls_in_flight_of_a_killed_process_are_entered_once() {
    let (_temp, dir) = folder();
    let mut log = open(&dir);
    fill(&mut log, &[0], &[]);
    let left = [sent(1, Some(50)), sent(2, None)];
    let expected = UnsettledTotals {
        calls: 2,
        prompt_tokens: 200,
        completion_tokens: 50,
        unbounded: 1,
    };
    log.append_sent(&left).await.expect("a disk with room");
    assert_eq!(unsettled(&log), Some(expected));
    // Killed before the marks were cleared.
    let mut log = open(&dir);
    log.append_sent(&left).await.expect("a disk with room");
    assert_eq!(unsettled(&log), Some(expected));
    assert_eq!(unsettled(&open(&dir)), Some(expected));
    assert_eq!(
        expected.to_string(),
        "2 calls unsettled, at most 250 tokens and the answers of 1 without max_tokens"
    );
    assert_eq!(paid(&log), (1, 1), "they are counted apart");
}

#[tokio::test]
async fn notes_of_an_outcome_are_entered_once_whenever_the_process_is_killed() {
    let (_temp, dir) = folder();
    let mut notes = AnswerNotes {
        unsettled: vec![UnsettledCall {
            call: 0,
            lm: "l".to_owned(),
            bound: sent(0, Some(50)).bound,
        }],
        ..AnswerNotes::default()
    };
    notes.answered("l", 250);
    notes.served("l", "http://a/v1");
    let line = trace(0, "now");
    let mut log = open(&dir);
    let index = LineIndex::parse(&line).expect("a good line");
    log.append_trace(0, &line, index, &notes)
        .expect("a disk with room");
    log.flush().expect("a disk with room");
    drop(log);
    // Killed before the spend log was written; the store still has the outcome.
    let mut log = open(&dir);
    assert_eq!((paid(&log), unsettled(&log)), ((1, 1), None));
    for _ in 0..2 {
        log.append_notes(0, &notes);
    }
    log.sync().await.expect("a disk with room");
    let mut log = open(&dir);
    log.append_notes(0, &notes);
    log.sync().await.expect("a disk with room");
    let log = open(&dir);
    assert_eq!(
        (paid(&log), unsettled(&log).map(|lm| lm.calls)),
        ((1, 1), Some(1))
    );
    let answers = log.counts().by_endpoint("l");
    assert_eq!(answers.as_deref(), Some("1 from http://a/v1"));
    let text = fs::read_to_string(dir.spend()).expect("a file");
    assert_eq!(text.matches("\"latency_ms\":[250]").count(), 1, "{text}");
}
