//! Failures that belong to one example fail only that one.

use super::scene::KEY;
use super::{CALLS, EXAMPLES, Scene};
use bsft_limited_lm::{ServedCounts, ServerBehaviour};

/// The question of this example, which is in both of its requests.
const MARKED: &str = "Question 150,";

/// Asserts that one example fails. Returns its line in `failures.jsonl`.
#[track_caller]
fn one_failure(behaviour: ServerBehaviour) -> (serde_json::Value, ServedCounts) {
    one_failure_in(&Scene::new(behaviour))
}

#[track_caller]
fn one_failure_in(scene: &Scene) -> (serde_json::Value, ServedCounts) {
    scene.compile(&[]).with(0);
    let counts = scene.server.counts();
    let mut failures = scene.failures();
    assert_eq!(failures.len(), 1, "{failures:?}\n{counts:?}");
    assert_eq!(scene.folder.traced("run"), EXAMPLES - 1);
    assert_eq!(
        (counts.answers, counts.answered_twice),
        (CALLS - 2, 0),
        "{counts:?}"
    );
    let failure = failures.remove(0);
    assert_eq!(failure["example"], 150, "{failure}");
    (failure, counts)
}

#[test]
fn example_that_the_server_always_fails_on_is_the_only_failure() {
    let (failure, counts) = one_failure(ServerBehaviour {
        latency_ms: 20.0,
        poison: Some(MARKED.to_owned()),
        ..ServerBehaviour::default()
    });
    assert_eq!(failure["kind"], "lm", "{failure}");
    // Requests of one call with the default of `num_retries`, and with room for tries while the server was probed.
    assert!((2..=20).contains(&counts.status(500)), "{counts:?}");
}

#[test]
fn example_that_is_refused_with_403_is_the_only_failure() {
    let (failure, counts) = one_failure(ServerBehaviour {
        latency_ms: 20.0,
        forbidden: Some(MARKED.to_owned()),
        ..ServerBehaviour::default()
    });
    assert_eq!(failure["kind"], "lm", "{failure}");
    assert!(counts.status(403) <= 3, "{counts:?}");
}

#[test]
fn retry_of_only_an_example_refused_with_403_fails_it_again() {
    let scene = Scene::new(ServerBehaviour {
        latency_ms: 20.0,
        forbidden: Some(MARKED.to_owned()),
        ..ServerBehaviour::default()
    });
    let (first, _) = one_failure_in(&scene);
    let retry = || {
        scene
            .folder
            .start_with(&["retry", "run"], &[(KEY, "first")])
            .end()
    };
    retry().with(0);
    assert_eq!(scene.failures()[0]["message"], first["message"]);
    scene.server.change(super::closed::quick());
    retry().with(0);
    scene.assert_complete();
}
