//! Limits that the job file does not declare: the server refuses requests, and no example fails.

use super::{CALLS, Scene};
use bsft_limited_lm::{RateHint, ServedCounts, ServerBehaviour};

/// The most refused requests of a run: all in flight at first, and half as many as the calls of the run.
const MOST_REFUSED: u64 = 64 + CALLS / 2;

/// 1,200 requests per minute on a server whose time runs five times as fast: 100 per second.
fn limited(hint: RateHint) -> ServerBehaviour {
    ServerBehaviour {
        speed: 5.0,
        rpm: Some(1200.0),
        latency_ms: 250.0,
        hint,
        ..ServerBehaviour::default()
    }
}

/// Compiles with the default options.
#[track_caller]
fn complete(behaviour: ServerBehaviour) -> ServedCounts {
    let scene = Scene::new(behaviour);
    scene.compile(&[]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.rate_refused <= MOST_REFUSED, "{counts:?}");
    counts
}

#[test]
fn limit_without_a_hint_fails_no_example() {
    complete(limited(RateHint::None));
}

#[test]
fn limit_with_retry_after_fails_no_example() {
    complete(limited(RateHint::RetryAfter));
}

#[test]
fn limit_with_x_ratelimit_headers_fails_no_example() {
    let counts = complete(ServerBehaviour {
        // Three seconds of real time, which allow for delays of this machine.
        burst_s: 15.0,
        ..limited(RateHint::XRatelimit)
    });
    // The first answers contain the limit, so only requests that were in flight before them can be refused.
    assert!(counts.rate_refused <= 64 + CALLS / 50, "{counts:?}");
}

#[test]
fn limit_that_charges_refusals_fails_no_example() {
    complete(ServerBehaviour {
        charge_refused: true,
        ..limited(RateHint::RetryAfter)
    });
}

#[test]
fn limit_that_charges_refusals_without_a_hint_fails_no_example() {
    complete(ServerBehaviour {
        charge_refused: true,
        ..limited(RateHint::None)
    });
}

#[test]
fn limit_fails_no_example_at_a_concurrency_of_1024() {
    let scene = Scene::new(limited(RateHint::None));
    scene.compile(&["--concurrency", "1024"]).with(0);
    let counts = scene.assert_complete();
    // All requests that are in flight at first may be refused once.
    assert!(counts.rate_refused <= CALLS + MOST_REFUSED, "{counts:?}");
}
