//! The screens of `status` and of a compiled run, whole, from one manifest, and the sums that they show.

use super::{Manifest, OutcomeCounts, RunStatus, summary};
use crate::lm::{Price, Usage};
use crate::run_dir::RunDir;
use crate::trace::Spent;
use serde_json::json;

fn manifest(phase: &str, updated: u64) -> Manifest {
    let shard = |predictor: Option<&str>, model: Option<&str>| {
        json!({
            "lm": "student", "predictor": predictor, "file": "data/student.jsonl", "rows": 1200, "sha256": "",
            "validation": {"file": "data/student.validation.jsonl", "rows": 50, "sha256": ""},
            "provider": "openai", "training": model.map(|_| "ftjob-1"), "model": model,
        })
    };
    serde_json::from_value(json!({
        "version": 1, "bsft": "0", "dspy": "0", "run": "intents-1", "name": "intents", "phase": phase, "rehearsal": false,
        "job_file": "", "job_sha256": "", "trainset_sha256": "", "tasks": 2000, "starts": 1, "updated": updated, "rate": 4.0,
        "tally": {
            "traces": 1500, "kept": 1250, "failures": {"lm": 100},
            "lms": {"teacher": {"answers": 1600, "prompt_tokens": 123456, "completion_tokens": 7890}},
        },
        "cost": {"teacher": 12.345}, "seconds": {"bootstrap": 75.0},
        "shards": [shard(None, Some("ft:m")), shard(Some("plan"), None)],
        "load": "program.load(\"compiled.json\", allow_unsafe_lm_state=True)",
    }))
    .expect("every field without a default is there")
}

#[test]
fn summary_lists_outcomes_usage_rows_and_files() {
    let temp = tempfile::tempdir().expect("a folder");
    let dir = RunDir::create(temp.path()).expect("a folder");
    let mut manifest = manifest("compiled", 0);
    let answers = [("http://a/v1", 1500), ("http://b/v1", 100)];
    let answers = answers.map(|(endpoint, answers)| (endpoint.to_owned(), answers));
    manifest.counts.serve("teacher", &answers.into());
    let text = summary(&manifest, &dir, "bsft retry DIR");
    let text = text.replace(&temp.path().display().to_string(), "DIR");
    let expected = "\
compiled intents in 1m15s
  examples   1,500 ran, 1,250 kept (83.3 %), 100 failed
             100 lm failed
  lm teacher: 1,600 answers, 123.5k + 7890 tokens, $12.35
             1,500 from http://a/v1, 100 from http://b/v1
  1,200 rows, 50 for validation data/student.jsonl -> ft:m
  1,200 rows, 50 for validation data/student.jsonl -> not trained: train on the rows yourself
  student    DIR/compiled.json
  in DSPy    program.load(\"compiled.json\", allow_unsafe_lm_state=True)
             (its models are on a private server: without the flag DSPy drops their address and calls OpenAI)
  traces     DIR/traces.jsonl
  failures   DIR/failures.jsonl (again: bsft retry DIR)
  manifest   DIR/run.json";
    assert_eq!(text, expected);
}

#[test]
fn status_of_a_live_run_shows_rate_eta_and_missing_workers() {
    let mut status = RunStatus::new("runs/intents".to_owned(), manifest("bootstrap", u64::MAX));
    status.workers = Some(Vec::new());
    let expected = "\
runs/intents  Bootstrap  1,600 of 2,000 tasks, 1,250 kept (83.3 %), 100 failed (lm 100)  4/s eta 1m40s
  no worker has sent a heartbeat lately";
    assert_eq!(status.to_string(), expected);
}

#[test]
fn status_of_a_live_run_shows_its_limits_and_the_view_of_each_worker() {
    let mut manifest = manifest("bootstrap", u64::MAX);
    manifest.limits = vec!["teacher: limited to 98/s by the server (429), 3 % refused".to_owned()];
    let lm = |state: serde_json::Value, error: Option<&str>| {
        let mut lm = json!({
            "model": "openai/m", "address": "http://lm/v1", "key_variable": null, "state": state, "answered": 9, "throttled": 3,
            "in_flight": 4, "waiting": 60, "answers_per_min": 5880, "limit_per_min": 5900, "latency_ms": 250,
        });
        if error.is_some() {
            lm["in_flight_limit"] = json!(30);
        }
        lm["last_error"] = json!(error);
        lm["last_error_secs"] = json!(error.map(|_| 42));
        lm
    };
    let worker = |pid: u32, age: u32, lm: serde_json::Value| {
        json!({
            "id": "a", "host": "h", "pid": pid, "bsft": "0", "lanes": ["bootstrap"], "concurrency": 64, "age_secs": age,
            "lms": [lm],
        })
    };
    manifest.heartbeats = serde_json::from_value(json!([
        worker(7, 2, lm(json!({"state": "open"}), None)),
        worker(
            8,
            5,
            lm(json!({"state": "away", "secs": 42}), Some("connection refused"))
        ),
    ]))
    .expect("heartbeats");
    manifest.commonest_failure = serde_json::from_value(
        json!({"kind": "parse", "message": "no field `label`", "failures": 412, "example": 1803}),
    )
    .expect("a failure");
    let status = RunStatus::new("runs/intents".to_owned(), manifest);
    let expected = "\
runs/intents  Bootstrap  1,600 of 2,000 tasks, 1,250 kept (83.3 %), 100 failed (lm 100)  4/s eta 1m40s
  teacher: limited to 98/s by the server (429), 3 % refused
  commonest failure: 412 × no field `label` (example 1803)
  worker process 7 on h: bootstrap, 64 calls in flight at most, heartbeat 2 s ago
    openai/m at http://lm/v1: 4 in flight, 60 waiting, 5,880 answers/min of 5,900 allowed, p50 0.2s, 3 × 429
  worker process 8 on h: bootstrap, 64 calls in flight at most, heartbeat 5 s ago
    openai/m at http://lm/v1: away for 42s: 4 in flight of 30 that saturate it, 60 waiting, 5,880 answers/min of 5,900 allowed, p50 0.2s, 3 × 429; \
last error 42s ago: connection refused";
    assert_eq!(status.to_string(), expected);
}

#[test]
fn status_of_a_stopped_run_has_the_reason() {
    let mut manifest = manifest("bootstrap", 0);
    manifest.stopped = Some("lm teacher: the key in KEY was refused".to_owned());
    let mut status = RunStatus::new("runs/intents".to_owned(), manifest);
    status.cancelled = true;
    let text = status.to_string();
    assert!(
        text.ends_with("  stopped: lm teacher: the key in KEY was refused; compile resumes the run"),
        "{text}"
    );
}

#[test]
fn status_of_a_run_without_coordinator_shows_trainings_and_the_remedy() {
    let status = RunStatus::new("runs/intents".to_owned(), manifest("train", 0));
    let expected = "\
runs/intents  Train  1,600 of 2,000 tasks, 1,250 kept (83.3 %), 100 failed (lm 100)  no coordinator has reported lately: \
compile resumes the run
  fine-tune lm student: ended (ftjob-1): ft:m
  fine-tune lm student, predictor plan: waiting for a worker";
    assert_eq!(status.to_string(), expected);
}

#[test]
fn manifest_keeps_the_field_names_of_run_json() {
    let bytes = manifest("train", 0).to_bytes();
    let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let fields: Vec<&String> = value.as_object().expect("an object").keys().collect();
    let expected = [
        "version",
        "bsft",
        "dspy",
        "run",
        "name",
        "phase",
        "rehearsal",
        "job_file",
        "job_sha256",
        "trainset_sha256",
        "tasks",
        "server_in_ids",
        "tally",
        "cost",
        "seconds",
        "starts",
        "shards",
        "trainings",
        "dir",
        "store",
        "trainings_dir",
        "updated",
        "rate",
        "limits",
        "commonest_failure",
        "heartbeats",
        "stopped",
        "load",
    ];
    let (mut fields, mut expected): (Vec<&str>, _) =
        (fields.iter().map(|f| f.as_str()).collect(), expected.to_vec());
    fields.sort_unstable();
    expected.sort_unstable();
    assert_eq!(fields, expected);
}

#[test]
fn token_sums_saturate_and_unknown_usage_makes_the_cost_unknown() {
    let mut counts = OutcomeCounts::default();
    let mut spend = |lm: &str, usage: Usage| {
        counts.spend(&Spent {
            lm: lm.to_owned(),
            answers: 1,
            usage,
        });
    };
    for _ in 0..2 {
        spend("a", Usage::known(u64::MAX, 1));
    }
    spend("b", Usage::UNKNOWN);
    assert_eq!(counts.lms["a"].prompt_tokens, u64::MAX);
    assert_eq!(counts.tokens(), u64::MAX);
    assert_eq!((counts.lms["b"].answers, counts.lms["b"].unknown_usage), (1, 1));
    let price = Price {
        input: 1.0,
        output: 1.0,
    };
    let free = Price {
        input: 0.0,
        output: 0.0,
    };
    assert!(counts.lms["a"].cost(price).is_some());
    assert_eq!(counts.lms["b"].cost(price), None);
    assert_eq!(counts.lms["b"].cost(free), Some(0.0));
}

#[test]
fn reasons_of_cut_answers_are_counted_up_to_a_bound() {
    let mut counts = OutcomeCounts::default();
    for reason in ["stop", "length", "length", "content_filter"] {
        counts.end("a", reason);
    }
    assert_eq!(
        counts.cut("a").as_deref(),
        Some("3 answers were cut (finish_reason content_filter: 1, length: 2)")
    );
    assert_eq!(counts.cut("b"), None);
    for number in 0..100 {
        counts.end("b", &format!("odd{number}"));
    }
    assert_eq!(
        (counts.cut_answers["b"].len(), counts.cut_answers["b"]["other"]),
        (17, 84)
    );
    assert_eq!(counts.cut_answers(), 103);
}
