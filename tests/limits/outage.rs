//! A server that is away for a while: the run waits for it, and no example fails.

use super::{CALLS, Scene};
use bsft_limited_lm::{OutageKind, PlannedOutage, ServedCounts, ServerBehaviour};

/// Requests in flight at the default `--concurrency`, all of which may fail in an outage.
const IN_FLIGHT: u64 = 64;

/// The consecutive failures after which the server counts as away, and the probes of three seconds, with room.
const PROBES: u64 = 20;

/// An outage of three seconds after this number of answers.
pub(super) fn away(how: OutageKind, after_answers: u64) -> ServerBehaviour {
    ServerBehaviour {
        latency_ms: 20.0,
        outage: Some(PlannedOutage {
            how,
            from_s: 0.0,
            after_answers,
            for_s: 3.0,
        }),
        ..ServerBehaviour::default()
    }
}

#[track_caller]
fn complete(how: OutageKind) -> ServedCounts {
    let scene = Scene::new(away(how, CALLS / 4));
    scene.compile(&[]).with(0);
    scene.assert_complete()
}

#[test]
fn outage_with_refused_connections_fails_no_example() {
    let counts = complete(OutageKind::Refuse);
    assert!(counts.arrivals <= CALLS + IN_FLIGHT, "{counts:?}");
}

#[test]
fn outage_with_reset_connections_is_probed_by_few_requests() {
    let counts = complete(OutageKind::Reset);
    assert!(counts.resets <= IN_FLIGHT + PROBES, "{counts:?}");
}

#[test]
fn outage_with_status_503_is_probed_by_few_requests() {
    let counts = complete(OutageKind::Unavailable);
    assert!(counts.status(503) <= IN_FLIGHT + PROBES, "{counts:?}");
}

#[test]
fn answers_that_are_cut_off_are_requested_again() {
    let scene = Scene::new(ServerBehaviour {
        latency_ms: 20.0,
        half: 0.05,
        ..ServerBehaviour::default()
    });
    scene.compile(&[]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.halved > 0, "{counts:?}");
    assert_eq!(counts.arrivals, CALLS + counts.halved, "{counts:?}");
    // The server may charge for them.
    assert_eq!(scene.unsettled(), counts.halved);
}

#[test]
fn requests_that_hang_are_sent_again_after_timeout_secs() {
    let hangs = ServerBehaviour {
        latency_ms: 20.0,
        hang: 0.01,
        ..ServerBehaviour::default()
    };
    let scene = Scene::with_lm(hangs, "timeout_secs = 10");
    scene.compile(&[]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.hung > 0, "{counts:?}");
    assert_eq!(scene.unsettled(), counts.arrivals - CALLS, "{counts:?}");
}

#[test]
fn server_that_never_answered_ends_compile_with_code_4() {
    let scene = Scene::new(ServerBehaviour::default());
    scene.server.start_outage(OutageKind::Reset);
    let ended = scene.compile(&[]).with(4);
    let base = scene.server.base();
    let address = base.trim_start_matches("http://").trim_end_matches("/v1");
    assert!(ended.stderr.contains(address), "{}", ended.stderr);
    let counts = scene.server.counts();
    assert!(counts.resets <= PROBES, "{counts:?}");
    // The same command runs the job when the server is up.
    scene.server.end_outage();
    scene.compile(&[]).with(0);
    scene.assert_complete();
}
