//! Servers that never refuse: with too many requests in flight they are slow, and with far too many their throughput falls.

use super::{CALLS, Scene};
use bsft_limited_lm::{ServedCounts, ServerBehaviour, SharedCapacity};

/// The requests in flight at which the server reaches its 100 answers per second.
const KNEE: u64 = 30;

/// 48 are in flight on an idle machine. On a busy one, the client adds to the latency.
const MOST_IN_FLIGHT: u64 = 4 * KNEE;

fn slow() -> ServerBehaviour {
    ServerBehaviour {
        saturation: Some(SharedCapacity {
            peak_rps: 100.0,
            base_s: 0.3,
            thrash_from: Some(256.0),
        }),
        ..ServerBehaviour::default()
    }
}

#[track_caller]
fn complete(scene: &Scene) -> ServedCounts {
    scene.compile(&["--concurrency", "1024"]).with(0);
    let counts = scene.assert_complete();
    assert!(
        (KNEE / 2..=MOST_IN_FLIGHT).contains(&counts.most_in_flight),
        "{counts:?}"
    );
    counts
}

#[test]
fn concurrency_of_1024_does_not_make_a_slow_server_thrash() {
    let counts = complete(&Scene::new(slow()));
    assert_eq!(counts.arrivals, CALLS, "{counts:?}");
}

#[test]
fn timeout_secs_of_5_fails_no_example_on_a_slow_server() {
    let counts = complete(&Scene::with_lm(slow(), "timeout_secs = 5"));
    assert!(counts.arrivals <= CALLS * 12 / 10, "{counts:?}");
}

#[test]
fn requests_that_hang_are_sent_again_at_the_default_timeout() {
    let scene = Scene::new(ServerBehaviour {
        latency_ms: 20.0,
        hang: 0.01,
        ..ServerBehaviour::default()
    });
    scene.compile(&[]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.hung > 0, "{counts:?}");
    assert_eq!(counts.arrivals, CALLS + counts.hung, "{counts:?}");
}
