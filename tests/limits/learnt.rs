//! Limits that nothing declares: the server refuses, and no example fails.

use super::{CALLS, Scene};
use bsft_limited_lm::{RateHint, ServedCounts, ServerBehaviour};

/// Requests of a run beside those that are answered: a first burst of all in flight, and half of the rest.
const MOST_REFUSED: u64 = 64 + CALLS / 2;

/// 1,200 requests a minute on a server five times as fast: 100 a second.
fn limited(hint: RateHint) -> ServerBehaviour {
    ServerBehaviour {
        speed: 5.0,
        rpm: Some(1200.0),
        latency_ms: 250.0,
        hint,
        ..ServerBehaviour::default()
    }
}

/// Compiles at the defaults.
#[track_caller]
fn complete(behaviour: ServerBehaviour) -> ServedCounts {
    let scene = Scene::new(behaviour);
    scene.compile(&[]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.rate_refused <= MOST_REFUSED, "{counts:?}");
    counts
}

#[test]
fn limit_without_a_hint_makes_no_example_fail() {
    complete(limited(RateHint::None));
}

#[test]
fn limit_with_retry_after_makes_no_example_fail() {
    complete(limited(RateHint::RetryAfter));
}

#[test]
fn limit_with_x_ratelimit_headers_makes_no_example_fail() {
    let counts = complete(ServerBehaviour {
        // Three seconds of real time, so that no delay of this machine makes a request early.
        burst_s: 15.0,
        ..limited(RateHint::XRatelimit)
    });
    // The first answers carry the limit; only what was in flight before them can be refused.
    assert!(counts.rate_refused <= 64 + CALLS / 50, "{counts:?}");
}

#[test]
fn limit_that_charges_refusals_makes_no_example_fail() {
    complete(ServerBehaviour {
        charge_refused: true,
        ..limited(RateHint::RetryAfter)
    });
}

#[test]
fn limit_that_charges_refusals_without_a_hint_makes_no_example_fail() {
    complete(ServerBehaviour {
        charge_refused: true,
        ..limited(RateHint::None)
    });
}

#[test]
fn limit_makes_no_example_fail_at_a_concurrency_of_1024() {
    let scene = Scene::new(limited(RateHint::None));
    scene.compile(&["--concurrency", "1024"]).with(0);
    let counts = scene.assert_complete();
    // All that are in flight at first may be refused once.
    assert!(counts.rate_refused <= CALLS + MOST_REFUSED, "{counts:?}");
}
