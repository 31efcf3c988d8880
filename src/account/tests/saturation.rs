//! Servers that never refuse: the gate keeps them below saturation, and their calls do not time out.

use super::Load;
use super::limited_lm::Behavior;
use super::shared_capacity::Capacity;
use std::time::Duration;

/// At most 100 answers per second, reached with 30 requests in flight, thrashing from 256.
const SHARED: Capacity = Capacity {
    per_sec: 100.0,
    base: Duration::from_millis(300),
    thrashes_from: 256.0,
};

fn shared(capacity: Capacity) -> Behavior {
    Behavior {
        shared: Some(capacity),
        ..Behavior::default()
    }
}

#[tokio::test(start_paused = true)]
async fn saturated_server_reaches_its_best_with_few_in_flight() {
    let load = Load {
        questions: 6000,
        concurrency: 1024,
        ..Load::new(shared(SHARED))
    };
    let ended = load.run().await;
    ended.assert_complete(6000);
    let used = 60.0 / ended.wall.as_secs_f64();
    let most = ended.seen(|seen| seen.most_in_flight);
    assert!(used >= 0.95, "{used}");
    assert!(most <= 60, "{most}");
}

#[tokio::test(start_paused = true)]
async fn status_names_the_requests_that_saturate_the_server() {
    let load = Load {
        questions: 4000,
        concurrency: 1024,
        ..Load::new(shared(SHARED))
    };
    let (accounts, gated, permits) = load.parts();
    let mut calls = tokio::task::JoinSet::new();
    for question in 0..4000 {
        let (gated, permits) = (std::sync::Arc::clone(&gated), std::sync::Arc::clone(&permits));
        calls.spawn(async move { super::ask(&gated, &permits, question).await });
    }
    tokio::time::sleep(Duration::from_secs(15)).await;
    let status = accounts.statuses().remove(0);
    let limit = status.in_flight_limit.unwrap_or_default();
    assert!((25..=60).contains(&limit), "{status:?}");
    assert!(status.in_flight <= limit, "{status:?}");
    assert_eq!(status.limit_per_min, None);
}

#[tokio::test(start_paused = true)]
async fn server_that_is_not_saturated_is_used_with_all_permits() {
    for concurrency in [64, 1024] {
        let load = Load {
            questions: 20_000,
            concurrency,
            ..Load::new(Behavior::default())
        };
        let ended = load.run().await;
        ended.assert_complete(20_000);
        assert_eq!(ended.status().in_flight_limit, None);
        let ideal = 20_000.0 / concurrency as f64 * 0.2;
        // The first calls, the growth of the limit, and the last calls in flight.
        let secs = ended.wall.as_secs_f64();
        assert!(secs <= ideal + 3.5, "{concurrency} in flight: {secs} of {ideal}");
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_calls_are_given_up_before_the_default_timeout() {
    for questions in [600, 6000] {
        let load = Load {
            questions,
            concurrency: 64,
            ..Load::new(Behavior {
                hangs: Some((100, Duration::from_secs(600))),
                ..Behavior::default()
            })
        };
        let ended = load.run().await;
        ended.assert_complete(questions);
        let ideal = questions as f64 / 64.0 * 0.2;
        let secs = ended.wall.as_secs_f64();
        assert!(secs <= ideal + 60.0, "{questions}: {secs} of {ideal}");
    }
}

#[tokio::test(start_paused = true)]
async fn min_timeout_of_timeout_secs_gives_up_no_call() {
    let hang = Duration::from_secs(500);
    let load = Load {
        min_timeout_secs: Some(600.0),
        ..Load::new(Behavior {
            hangs: Some((100, hang)),
            ..Behavior::default()
        })
    };
    let ended = load.run().await;
    ended.assert_complete(2000);
    // Each call that hung was sent again when its connection broke, and not before.
    assert!(ended.wall >= hang, "{:?}", ended.wall);
}

#[tokio::test(start_paused = true)]
async fn short_timeout_fails_no_call_of_a_slow_server() {
    // Alone, a request takes 2 s of its timeout of 5 s; with 51 in flight it takes more than half of it.
    let slow = Capacity {
        per_sec: 20.0,
        base: Duration::from_secs(2),
        ..SHARED
    };
    for capacity in [SHARED, slow] {
        let load = Load {
            questions: 3000,
            concurrency: 1024,
            timeout_secs: Some(5.0),
            ..Load::new(shared(capacity))
        };
        let ended = load.run().await;
        ended.assert_complete(3000);
        let sent = ended.seen(|seen| seen.sent.len());
        assert!(sent <= 3000 * 12 / 10, "{sent}");
    }
}

#[tokio::test(start_paused = true)]
async fn server_that_slows_down_times_out_few_calls_and_fails_none() {
    // At first, more requests are in flight than the slow server can answer in time.
    let load = Load {
        questions: 8000,
        concurrency: 256,
        timeout_secs: Some(5.0),
        ..Load::new(Behavior {
            shared: Some(Capacity {
                per_sec: 1000.0,
                ..SHARED
            }),
            slower: Some((Duration::from_secs(5), 30.0)),
            ..Behavior::default()
        })
    };
    let ended = load.run().await;
    ended.assert_complete(8000);
    let sent = ended.seen(|seen| seen.sent.len());
    assert!(sent <= 8000 * 12 / 10, "{sent}");
}
