//! Decisions from heartbeats: when a run stops, when it waits, and its messages.

mod endpoints;

use super::*;
use crate::coordination::{Process, WorkerInfo};
use crate::lm::{ClosedAccount, ClosedCause, LmState, LmStatus};
use serde_json::json;
use std::num::NonZeroUsize;

const WAITING: Waiting = Waiting {
    patience: Duration::from_secs(3600),
    for_first_answer: false,
};

const IN_PROCESS: Workers = Workers::InProcess {
    in_flight: NonZeroUsize::MIN,
};

fn settings(name: &str) -> LmSettings {
    serde_json::from_value(json!({
        "name": name, "model": "openai/m", "api_base": "http://127.0.0.1:8000/v1", "api_key_env": "KEY",
        "temperature": null, "max_tokens": null, "extra": {}, "timeout_secs": null, "num_retries": null, "price": null,
        "simulate": {"accuracy": 1.0, "latency_ms": 0, "malformed_rate": 0.0, "error_rate": 0.0, "seed": 0},
    }))
    .expect("every field is there")
}

fn status(state: LmState, answered: u64) -> LmStatus {
    let settings = settings("teacher");
    LmStatus {
        model: settings.model.clone(),
        address: settings.shown_address(),
        key_variable: settings.key_variable().map(str::to_owned),
        state,
        answered,
        throttled: 0,
        in_flight: 0,
        waiting: 0,
        answers_per_min: 0,
        limit_per_min: None,
        in_flight_limit: None,
        latency_ms: None,
        last_error: Some(
            "http://127.0.0.1:8000/v1/chat/completions: error sending request: client error (Connect): tcp connect error: connection refused"
                .to_owned(),
        ),
        last_error_names_remedy: false,
        last_error_secs: Some(0),
    }
}

fn closed(cause: ClosedCause) -> LmState {
    LmState::Closed(ClosedAccount {
        cause,
        status: 401,
        message: "invalid key".to_owned(),
        reset_secs: Some(7200),
    })
}

fn away(secs: u64) -> LmState {
    LmState::Away { secs }
}

/// One heartbeat per status, each of a different process.
fn heartbeats(statuses: impl IntoIterator<Item = LmStatus>) -> Vec<Heartbeat> {
    let heartbeat = |(pid, status)| Heartbeat {
        worker: WorkerInfo {
            process: Process {
                pid,
                ..Process::current()
            },
            lanes: Vec::new(),
            concurrency: 1,
            trainers: Vec::new(),
            lms: vec![status],
            refusal: None,
        },
        age_secs: 0,
    };
    (1..).zip(statuses).map(heartbeat).collect()
}

fn watch(waiting: Waiting, workers: Workers) -> (LmWatch, Instant) {
    let now = Instant::now();
    (
        LmWatch::from_settings([settings("teacher")], waiting, workers, now),
        now,
    )
}

/// The verdict on these statuses, `secs` seconds after the start.
fn verdict(watch: &mut LmWatch, statuses: impl IntoIterator<Item = LmStatus>, secs: u64) -> Option<String> {
    let now = watch.started + Duration::from_secs(secs);
    watch.update(&heartbeats(statuses), &OutcomeCounts::default(), now);
    watch.verdict().map(|error| error.to_string())
}

#[test]
fn account_that_is_closed_on_every_worker_stops_the_run() {
    let (mut watch, _) = watch(WAITING, IN_PROCESS);
    let key = || closed(ClosedCause::Key);
    let open = status(LmState::Open, 600);
    assert_eq!(verdict(&mut watch, [open.clone(), status(key(), 400)], 5), None);
    assert_eq!(watch.limits(), ["teacher: key refused on 1 worker"]);
    assert_eq!(
        verdict(&mut watch, [status(key(), 600), status(key(), 400)], 6).as_deref(),
        Some(
            "lm teacher: the key in KEY was refused after 1,000 answers (HTTP 401: invalid key); set KEY to a valid key"
        )
    );
}

#[test]
fn message_and_exit_code_of_a_closed_account_follow_its_cause() {
    for (cause, part, reopens) in [
        (
            ClosedCause::Quota,
            "the account of the key in KEY has no quota left after 1 answer",
            false,
        ),
        (
            ClosedCause::DailyQuota,
            "is used up after 1 answer (HTTP 401: invalid key); it is reset in 2h00m",
            true,
        ),
        (
            ClosedCause::Model,
            "http://127.0.0.1:8000/v1 does not know the model openai/m",
            false,
        ),
        (
            ClosedCause::Request,
            "http://127.0.0.1:8000/v1 refused every request",
            false,
        ),
    ] {
        let (mut watch, now) = watch(WAITING, IN_PROCESS);
        watch.update(
            &heartbeats([status(closed(cause), 1)]),
            &OutcomeCounts::default(),
            now,
        );
        let Some(RunError::AccountClosed(lm)) = watch.verdict() else {
            panic!("{cause:?} does not stop the run");
        };
        assert!(lm.to_string().contains(part), "{lm}");
        assert_eq!(lm.reopens(), reopens);
    }
}

#[test]
fn account_that_closed_before_the_run_does_not_stop_it() {
    let (mut watch, _) = watch(WAITING, Workers::Elsewhere);
    let stale = LmStatus {
        last_error_secs: Some(60),
        ..status(closed(ClosedCause::Quota), 10)
    };
    assert_eq!(verdict(&mut watch, [stale], 5), None);
    let just = LmStatus {
        last_error_secs: Some(4),
        ..status(closed(ClosedCause::Quota), 10)
    };
    assert_eq!(verdict(&mut watch, [just], 5), None, "both times are rounded");
    let probed = status(closed(ClosedCause::Quota), 10);
    assert!(verdict(&mut watch, [probed], 6).is_some());
}

#[test]
fn run_waits_a_few_seconds_for_an_lm_that_never_answered() {
    let (mut watch, _) = watch(WAITING, IN_PROCESS);
    assert_eq!(verdict(&mut watch, [status(away(4), 0)], 4), None);
    assert_eq!(
        verdict(&mut watch, [status(away(5), 0)], 5).as_deref(),
        Some(
            "lm teacher: http://127.0.0.1:8000/v1 cannot be reached, and has not answered in this run: \
             connection refused; start the server, correct lm.teacher.api_base, or wait for the server \
             with --wait"
        )
    );
}

#[test]
fn wait_option_gives_an_lm_that_never_answered_the_whole_patience() {
    let waiting = Waiting {
        for_first_answer: true,
        ..WAITING
    };
    let (mut watch, _) = watch(waiting, IN_PROCESS);
    assert_eq!(verdict(&mut watch, [status(away(3599), 0)], 3599), None);
    assert!(verdict(&mut watch, [status(away(3600), 0)], 3600).is_some());
}

#[test]
fn error_that_names_its_remedy_gets_no_other_advice() {
    let (mut watch, _) = watch(WAITING, IN_PROCESS);
    let error = "http://127.0.0.1:8000/v1/chat/completions: too many open files; allow more";
    let lack = LmStatus {
        last_error: Some(error.to_owned()),
        last_error_names_remedy: true,
        ..status(away(9), 0)
    };
    assert_eq!(
        verdict(&mut watch, [lack], 9).as_deref(),
        Some(
            "lm teacher: http://127.0.0.1:8000/v1 cannot be reached, and has not answered in this run: \
             too many open files; allow more"
        )
    );
}

#[test]
fn run_waits_for_the_patience_for_an_lm_that_has_answered() {
    let (mut watch, _) = watch(WAITING, IN_PROCESS);
    assert_eq!(verdict(&mut watch, [status(LmState::Open, 5)], 1), None);
    assert_eq!(verdict(&mut watch, [status(away(3599), 5)], 3600), None);
    let ended = verdict(&mut watch, [status(away(3600), 5)], 3601);
    let ended = ended.expect("patience has ended");
    assert!(
        ended.contains("has been away for 1h00m, longer than compile.patience allows"),
        "{ended}"
    );
}

#[test]
fn answers_in_the_log_count_for_an_lm_that_is_away() {
    let (mut watch, now) = watch(WAITING, IN_PROCESS);
    let mut counts = OutcomeCounts::default();
    counts.lms.insert(
        "teacher".to_owned(),
        serde_json::from_value(json!({"answers": 1, "prompt_tokens": 0, "completion_tokens": 0}))
            .expect("totals"),
    );
    watch.update(
        &heartbeats([status(away(60), 0)]),
        &counts,
        now + Duration::from_secs(60),
    );
    assert!(watch.verdict().is_none());
}

#[test]
fn outage_before_the_run_does_not_count() {
    let (mut watch, _) = watch(WAITING, Workers::Elsewhere);
    assert_eq!(verdict(&mut watch, [status(away(9999), 5)], 4), None);
    assert!(verdict(&mut watch, [status(away(9999), 5)], 5).is_some());
}

#[test]
fn lm_is_not_away_if_one_worker_gets_answers() {
    let (mut watch, _) = watch(WAITING, IN_PROCESS);
    assert_eq!(
        verdict(
            &mut watch,
            [status(away(9000), 5), status(LmState::Open, 1)],
            9000
        ),
        None
    );
    assert_eq!(
        verdict(&mut watch, [status(away(9000), 5), status(away(10), 1)], 9000),
        None
    );
}

#[test]
fn answers_of_earlier_runs_do_not_count() {
    let (mut watch, _) = watch(WAITING, Workers::Elsewhere);
    verdict(&mut watch, [status(LmState::Open, 500)], 1);
    assert!(watch.answered().is_empty());
    verdict(&mut watch, [status(LmState::Open, 501)], 2);
    assert_eq!(watch.answered(), HashSet::from(["teacher"]));
}

#[test]
fn workers_of_one_process_are_counted_once() {
    let (mut watch, now) = watch(WAITING, IN_PROCESS);
    let limited = LmStatus {
        limit_per_min: Some(5880),
        waiting: 3,
        throttled: 3,
        ..status(LmState::Open, 97)
    };
    let mut twice = heartbeats([limited.clone(), limited]);
    twice[1].worker.process.pid = twice[0].worker.process.pid;
    watch.update(&twice, &OutcomeCounts::default(), now);
    assert_eq!(
        watch.limits(),
        ["teacher: limited to 98/s by the server (429), 3 % refused"]
    );
}

#[test]
fn limits_name_the_reason_why_calls_wait() {
    let (mut watch, now) = watch(WAITING, IN_PROCESS);
    let mut update = |statuses: Vec<LmStatus>| {
        watch.update(
            &heartbeats(statuses),
            &OutcomeCounts::default(),
            now + Duration::from_secs(42),
        );
        watch.limits()
    };
    assert_eq!(update(vec![status(LmState::Open, 1)]), [""; 0]);
    assert_eq!(
        update(vec![status(away(42), 1)]),
        ["teacher: waiting for http://127.0.0.1:8000/v1 (connection refused, 42s)"]
    );
    let limited = |waiting| LmStatus {
        limit_per_min: Some(90),
        waiting,
        ..status(LmState::Open, 1)
    };
    assert_eq!(update(vec![limited(0)]), [""; 0]);
    assert_eq!(
        update(vec![limited(1), limited(0)]),
        ["teacher: limited to 180/min by the server"]
    );
    let saturated = |limit, waiting| LmStatus {
        in_flight_limit: limit,
        waiting,
        ..status(LmState::Open, 1)
    };
    assert_eq!(update(vec![saturated(Some(30), 0)]), [""; 0]);
    assert_eq!(update(vec![saturated(Some(30), 1), saturated(None, 0)]), [""; 0]);
    assert_eq!(
        update(vec![saturated(Some(30), 1), saturated(Some(4), 0)]),
        ["teacher: server is saturated at 34 requests in flight"]
    );
}

#[test]
fn each_change_of_state_gives_one_line() {
    let (mut watch, now) = watch(WAITING, IN_PROCESS);
    let states = [LmState::Open, away(1), away(2), LmState::Open, LmState::Open];
    let mut lines = Vec::new();
    for (secs, state) in (0..).zip(states) {
        let now = now + Duration::from_secs(secs);
        lines.extend(watch.update(&heartbeats([status(state, 1)]), &OutcomeCounts::default(), now));
    }
    let expected = [
        "lm teacher does not answer; waiting for http://127.0.0.1:8000/v1 (connection refused, 1.0s)",
        "lm teacher answers again after 2.0s",
    ];
    assert_eq!(lines, expected);
}
