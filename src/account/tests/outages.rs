//! Servers that are away are probed with few requests, and get the full rate as soon as they are back.

use super::limited_lm::{Behavior, Poison, Report};
use super::{Load, within};
use crate::lm::LmState;
use std::time::Duration;

/// Enough questions to outlast an outage.
const QUESTIONS: u64 = 8000;

const LIMIT: f64 = 100.0;

/// Asserts that the server got at most one request per second in this period, after those in flight, and that the full rate was back within
/// five seconds.
pub(super) fn assert_waited_for(seen: &super::Seen, [from, to]: [u64; 2], in_flight: usize, full: f64) {
    let dead = seen.dead.len();
    let probes = within(&seen.dead, from + 1, to);
    assert!(dead <= in_flight + (to - from) as usize, "{dead}");
    assert!(probes <= (to - from) as usize, "{probes}");
    let after = within(&seen.accepted, to + 5, to + 10) as f64 / 5.0;
    assert!(after >= 0.9 * full, "{after} a second");
}

#[tokio::test(start_paused = true)]
async fn outage_of_90_seconds_fails_no_example() {
    for concurrency in [16, 256] {
        let load = Load {
            questions: QUESTIONS,
            concurrency,
            ..Load::new(Behavior {
                per_sec: Some(LIMIT),
                down: Some([10, 100]),
                ..Behavior::default()
            })
        };
        let ended = load.run().await;
        ended.assert_complete(QUESTIONS);
        let full = (concurrency as f64 / 0.2).min(LIMIT);
        ended.seen(|seen| assert_waited_for(seen, [10, 100], concurrency, full));
        let ideal = QUESTIONS as f64 / full;
        let secs = ended.wall.as_secs_f64();
        assert!(secs <= ideal + 90.0 + 30.0, "{secs}");
    }
}

#[tokio::test(start_paused = true)]
async fn status_503_for_five_minutes_fails_no_example() {
    let load = Load {
        questions: QUESTIONS,
        concurrency: 256,
        ..Load::new(Behavior {
            per_sec: Some(LIMIT),
            report: Report::RetryAfter,
            busy: Some([10, 310]),
            ..Behavior::default()
        })
    };
    let ended = load.run().await;
    ended.assert_complete(QUESTIONS);
    ended.seen(|seen| assert_waited_for(seen, [10, 310], 256, LIMIT));
    let secs = ended.wall.as_secs_f64();
    assert!(secs <= QUESTIONS as f64 / LIMIT + 300.0 + 30.0, "{secs}");
}

#[tokio::test(start_paused = true)]
async fn only_the_example_that_crashes_the_server_fails() {
    // Question 0 is asked alone, so no other call shows that the server works.
    for poisoned in [0, 3, 1000, 1998] {
        let load = Load {
            concurrency: 64,
            ..Load::new(Behavior {
                poisoned: Some((poisoned, Poison::Away)),
                ..Behavior::default()
            })
        };
        let ended = load.run().await;
        let failed: Vec<u64> = ended.failed.iter().map(|(question, _)| *question).collect();
        assert_eq!(failed, [poisoned]);
        assert!(ended.failed[0].1.contains("HTTP 500"), "{:?}", ended.failed);
        assert_eq!(ended.seen(|seen| seen.answered.len()), 1999);
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_calls_delay_no_other_call() {
    let load = Load {
        questions: 6000,
        concurrency: 64,
        ..Load::new(Behavior {
            hangs: Some((100, Duration::from_secs(60))),
            ..Behavior::default()
        })
    };
    let ended = load.run().await;
    ended.assert_complete(6000);
    let secs = ended.wall.as_secs_f64();
    // Each of the 64 permits is held by a hung call for a part of the time.
    assert!(secs <= 6000.0 / 64.0 * (0.2 + 0.6) + 65.0, "{secs}");
}

#[tokio::test(start_paused = true)]
async fn lack_of_open_files_fails_no_example_and_is_no_outage() {
    for seed in 0..5 {
        let load = Load {
            seed,
            ..Load::new(Behavior {
                connections: Some(8),
                ..Behavior::default()
            })
        };
        let ended = load.run().await;
        ended.assert_complete(2000);
        let status = ended.status();
        assert_eq!(status.state, LmState::Open, "{status:?}");
        assert!(ended.seen(|seen| seen.unsent) > 0);
        // The connections that there are stay in use.
        let secs = ended.wall.as_secs_f64();
        assert!(secs <= 2000.0 / 8.0 * 0.2 * 2.0, "{secs}");
    }
}

#[tokio::test(start_paused = true)]
async fn lasting_lack_of_open_files_is_reported_with_its_remedy() {
    let load = Load {
        questions: 1,
        ..Load::new(Behavior {
            connections: Some(0),
            ..Behavior::default()
        })
    };
    let (accounts, gated, permits) = load.parts();
    let mut changes = accounts.state_changes();
    let call = super::ask(&gated, &permits, 0);
    tokio::select! {
        _ = call => panic!("nothing can be sent"),
        () = changes.changed() => {}
        () = tokio::time::sleep(Duration::from_secs(180)) => panic!("it takes too long"),
    }
    let status = accounts.statuses().remove(0);
    assert!(matches!(status.state, LmState::Away { .. }), "{status:?}");
    assert_eq!(status.last_error.as_deref(), Some("too many open files"));
    assert!(status.last_error_names_remedy);
}

#[tokio::test(start_paused = true)]
async fn lm_that_never_answered_is_away_within_seconds() {
    let load = Load {
        questions: 1,
        ..Load::new(Behavior {
            down: Some([0, 3600]),
            ..Behavior::default()
        })
    };
    let (accounts, gated, permits) = load.parts();
    let mut changes = accounts.state_changes();
    let call = super::ask(&gated, &permits, 0);
    let away = async {
        changes.changed().await;
        serde_json::to_value(accounts.statuses().remove(0)).unwrap()
    };
    tokio::select! {
        _ = call => panic!("there is no server"),
        status = away => {
            assert_eq!(status["state"]["state"], "away", "{status}");
            assert_eq!(status["last_error"], "connection refused", "{status}");
        }
        () = tokio::time::sleep(Duration::from_secs(4)) => panic!("it takes too long"),
    }
}
