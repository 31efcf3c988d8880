//! An LM with two endpoints: the run continues while one of them takes calls.

use super::*;
use crate::lm::LmEndpoint;

const SECOND: &str = "http://127.0.0.1:8001/v1";

fn with_two_endpoints() -> LmSettings {
    LmSettings {
        more_endpoints: vec![LmEndpoint {
            api_base: Some(SECOND.to_owned()),
            api_key_env: Some("OTHER".to_owned()),
            account: None,
        }],
        ..settings("teacher")
    }
}

fn watch_two(waiting: Waiting) -> LmWatch {
    LmWatch::from_settings([with_two_endpoints()], waiting, IN_PROCESS, Instant::now())
}

/// The heartbeat of one process, with a status of each endpoint.
fn heartbeat(first: LmState, second: LmState) -> Vec<Heartbeat> {
    let endpoints = with_two_endpoints().endpoints();
    let lms = endpoints
        .iter()
        .zip([first, second])
        .map(|(endpoint, state)| LmStatus {
            address: endpoint.shown_address(),
            key_variable: endpoint.key_variable().map(str::to_owned),
            ..status(state, 10)
        });
    let mut heartbeats = heartbeats([status(LmState::Open, 0)]);
    heartbeats[0].worker.lms = lms.collect();
    heartbeats
}

/// The log lines, and the error that ends the run.
fn seen(watch: &mut LmWatch, first: LmState, second: LmState) -> (Vec<String>, Option<String>) {
    let now = watch.started;
    let changes = watch.update(&heartbeat(first, second), &OutcomeCounts::default(), now);
    (changes, watch.verdict().map(|error| error.to_string()))
}

fn lines(changes: &[&str]) -> (Vec<String>, Option<String>) {
    (changes.iter().map(|line| (*line).to_owned()).collect(), None)
}

#[test]
fn endpoint_that_is_left_out_or_back_gives_one_line() {
    let mut watch = watch_two(WAITING);
    assert_eq!(seen(&mut watch, LmState::Open, LmState::Open), lines(&[]));
    let left_out = "lm teacher: endpoint http://127.0.0.1:8000/v1 is left out (connection refused)";
    assert_eq!(seen(&mut watch, away(7200), LmState::Open), lines(&[left_out]));
    assert_eq!(seen(&mut watch, away(7202), LmState::Open), lines(&[]));
    assert_eq!(
        watch.limits(),
        ["teacher: http://127.0.0.1:8000/v1 is left out (connection refused, 2h00m)"]
    );
    let back = "lm teacher: endpoint http://127.0.0.1:8000/v1 is back after 2h00m";
    assert_eq!(seen(&mut watch, LmState::Open, LmState::Open), lines(&[back]));
    let refused =
        "lm teacher: endpoint http://127.0.0.1:8001/v1 is left out: key refused (HTTP 401: invalid key)";
    assert_eq!(
        seen(&mut watch, LmState::Open, closed(ClosedCause::Key)),
        lines(&[refused])
    );
    assert_eq!(
        watch.limits(),
        ["teacher: http://127.0.0.1:8001/v1 is left out (key refused)"]
    );
    assert_eq!(watch.answered(), HashSet::from(["teacher"]));
}

#[test]
fn run_waits_for_the_patience_if_all_endpoints_are_away() {
    let mut watch = watch_two(WAITING);
    seen(&mut watch, away(7200), LmState::Open);
    let (changes, verdict) = seen(&mut watch, away(7300), away(3599));
    assert_eq!(
        changes,
        [
            "lm teacher: endpoint http://127.0.0.1:8001/v1 is left out (connection refused)",
            "lm teacher has no endpoint left; waiting until one is back"
        ]
    );
    assert_eq!(verdict, None);
    assert_eq!(
        seen(&mut watch, away(7301), away(3600)).1.as_deref(),
        Some(
            "lm teacher: http://127.0.0.1:8000/v1 and http://127.0.0.1:8001/v1 have been away for 1h00m, longer than \
             compile.patience allows: connection refused"
        )
    );
}

#[test]
fn closed_accounts_of_all_endpoints_stop_the_run_and_are_named() {
    let mut watch = watch_two(WAITING);
    let (_, verdict) = seen(&mut watch, closed(ClosedCause::Key), closed(ClosedCause::Quota));
    assert_eq!(
        verdict.as_deref(),
        Some(
            "lm teacher: the key in KEY was refused after 20 answers (HTTP 401: invalid key); set KEY to a valid key; \
             http://127.0.0.1:8001/v1 is left out: quota used up (HTTP 401: invalid key)"
        )
    );
    // The account that reopens by itself decides.
    seen(
        &mut watch,
        closed(ClosedCause::Key),
        closed(ClosedCause::DailyQuota),
    );
    let Some(RunError::AccountClosed(account)) = watch.verdict() else {
        panic!("the accounts are closed")
    };
    assert!(account.reopens());
    assert_eq!(account.key_variable.as_deref(), Some("OTHER"));
}

#[test]
fn run_waits_for_a_server_beside_an_endpoint_with_a_closed_account() {
    let mut watch = watch_two(WAITING);
    let key = || closed(ClosedCause::Key);
    assert_eq!(seen(&mut watch, key(), away(60)).1, None);
    let (_, verdict) = seen(&mut watch, key(), away(3600));
    assert_eq!(
        verdict.as_deref(),
        Some(
            "lm teacher: http://127.0.0.1:8001/v1 has been away for 1h00m, longer than compile.patience allows: connection refused"
        )
    );
}

#[test]
fn limits_are_shown_if_every_endpoint_has_one() {
    let mut watch = watch_two(WAITING);
    let mut heartbeats = heartbeat(LmState::Open, LmState::Open);
    let lms = &mut heartbeats[0].worker.lms;
    (lms[0].waiting, lms[0].limit_per_min) = (5, Some(1200));
    watch.update(&heartbeats, &OutcomeCounts::default(), watch.started);
    assert_eq!(watch.limits(), [""; 0]);
    let lms = &mut heartbeats[0].worker.lms;
    (lms[1].waiting, lms[1].limit_per_min) = (5, Some(60));
    watch.update(&heartbeats, &OutcomeCounts::default(), watch.started);
    assert_eq!(
        watch.limits(),
        [
            "teacher at http://127.0.0.1:8000/v1: limited to 20/s by the server",
            "teacher at http://127.0.0.1:8001/v1: limited to 60/min by the server"
        ]
    );
}
