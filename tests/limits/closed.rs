//! An account that is refused: the run stops with the reason, and the same command resumes it.

use super::scene::KEY;
use super::{CALLS, EXAMPLES, Scene};
use crate::support::Ended;
use bsft_limited_lm::{ServedCounts, ServerBehaviour};

/// Requests in flight at the default `--concurrency`.
const IN_FLIGHT: u64 = 64;

pub(super) fn quick() -> ServerBehaviour {
    ServerBehaviour {
        latency_ms: 20.0,
        ..ServerBehaviour::default()
    }
}

/// Asserts that the run stops with this exit code, with at most one refused request beyond those in flight. After the cause is removed, the
/// same command completes the run.
#[track_caller]
fn stops_and_resumes(behaviour: ServerBehaviour, code: i32, status: u16) -> (Ended, ServedCounts) {
    let scene = Scene::new(behaviour);
    let ended = scene.compile(&[]).with(code);
    let stopped = scene.server.counts();
    assert!(stopped.status(status) <= IN_FLIGHT + 1, "{stopped:?}");
    assert!(scene.folder.traced("run") < EXAMPLES);
    scene.server.change(quick());
    scene.compile(&[]).with(0);
    scene.assert_complete();
    (ended, stopped)
}

#[test]
fn revoked_key_ends_compile_with_code_1_and_names_api_key_env() {
    let revoked = ServerBehaviour {
        revoke_after: Some(CALLS / 2),
        ..quick()
    };
    let (ended, _) = stops_and_resumes(revoked, 1, 401);
    ended
        .saying(KEY)
        .saying("401")
        .saying("Incorrect API key provided");
}

#[test]
fn new_key_resumes_the_run_of_a_revoked_one() {
    let scene = Scene::new(ServerBehaviour {
        revoke_after: Some(CALLS / 2),
        ..quick()
    });
    scene.compile(&[]).with(1);
    scene.compile_with_key("second", &[]).with(0);
    let counts = scene.assert_complete();
    assert!(counts.by_key["second"] <= CALLS / 2, "{counts:?}");
}

#[test]
fn used_up_quota_ends_compile_with_code_1() {
    let quota = ServerBehaviour {
        quota: Some(CALLS / 2),
        ..quick()
    };
    let (ended, _) = stops_and_resumes(quota, 1, 429);
    ended.saying("You exceeded your current quota");
}

#[test]
fn used_up_daily_quota_ends_compile_with_code_3() {
    let quota = ServerBehaviour {
        quota: Some(CALLS / 2),
        quota_is_daily: true,
        ..quick()
    };
    let (ended, _) = stops_and_resumes(quota, 3, 429);
    ended.saying("requests per day");
}

#[test]
fn unknown_model_ends_compile_with_code_1_after_few_requests() {
    let unknown = ServerBehaviour {
        unknown_model: true,
        ..quick()
    };
    let (ended, stopped) = stops_and_resumes(unknown, 1, 404);
    ended.saying("does not exist");
    assert!(stopped.arrivals <= 3, "{stopped:?}");
}

#[test]
fn key_that_is_refused_at_once_ends_compile_after_few_requests() {
    let revoked = ServerBehaviour {
        revoke_after: Some(0),
        ..quick()
    };
    let (_, stopped) = stops_and_resumes(revoked, 1, 401);
    assert!(stopped.arrivals <= 3, "{stopped:?}");
}
