//! Limits that the job file declares: no request is refused.

use super::{CALLS, Scene};
use bsft_limited_lm::ServerBehaviour;

/// 100 requests per second. The burst of three seconds allows for delays of this machine.
pub(super) fn limited() -> ServerBehaviour {
    ServerBehaviour {
        rpm: Some(6000.0),
        burst_s: 3.0,
        latency_ms: 20.0,
        ..ServerBehaviour::default()
    }
}

#[track_caller]
fn assert_declared_rpm_is_kept(concurrency: &str) {
    let scene = Scene::with_lm(limited(), "account = \"limited\"\n[account.limited]\nrpm = 6000");
    scene.compile(&["--concurrency", concurrency]).with(0);
    let counts = scene.assert_complete();
    assert_eq!((counts.rate_refused, counts.arrivals), (0, CALLS), "{counts:?}");
}

#[test]
fn declared_rpm_is_kept_at_a_concurrency_of_64() {
    assert_declared_rpm_is_kept("64");
}

#[test]
fn declared_rpm_is_kept_at_a_concurrency_of_1024() {
    assert_declared_rpm_is_kept("1024");
}

#[test]
fn declared_tpm_is_kept_with_answers_of_1_to_2000_tokens() {
    // About 1,250 tokens per call, so about 100 calls per second.
    let tokens = ServerBehaviour {
        rpm: None,
        tpm: Some(7_500_000.0),
        answer_tokens: [1, 2000],
        ..limited()
    };
    let scene = Scene::with_lm(
        tokens,
        "account = \"limited\"\n[account.limited]\ntpm = 7_500_000",
    );
    scene.compile(&["--concurrency", "256"]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.rate_refused <= CALLS / 50, "{counts:?}");
}

#[test]
fn declared_concurrent_is_the_most_in_flight() {
    let scene = Scene::with_lm(
        ServerBehaviour {
            latency_ms: 20.0,
            ..ServerBehaviour::default()
        },
        "account = \"limited\"\n[account.limited]\nconcurrent = 7",
    );
    scene.compile(&["--concurrency", "64"]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.most_in_flight <= 7, "{counts:?}");
}
