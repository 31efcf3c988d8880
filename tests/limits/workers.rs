//! Outages and refused accounts on the workers of a cluster.

use super::closed::quick;
use super::outage::away;
use super::scene::{COMPILE, workers};
use super::{CALLS, EXAMPLES, Scene};
use crate::cli::cluster::Cluster;
use crate::support::until;
use bsft_limited_lm::{OutageKind, ServerBehaviour};

const WORKERS: usize = 2;

#[test]
fn outage_fails_no_example_on_workers() {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::new(away(OutageKind::Reset, CALLS / 4));
    let _workers = workers(&cluster, &[&scene], WORKERS, "first");
    scene.compile_on(&cluster).with(0);
    let counts = scene.assert_complete();
    // 16 requests in flight and about ten probes of each worker.
    assert!(counts.resets <= WORKERS as u64 * (16 + 20), "{counts:?}");
}

#[test]
fn revoked_key_stops_the_run_on_workers_and_a_new_one_resumes_it() {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::new(ServerBehaviour {
        revoke_after: Some(CALLS / 2),
        ..quick()
    });
    let old = workers(&cluster, &[&scene], WORKERS, "first");
    scene
        .compile_on(&cluster)
        .with(1)
        .saying(super::scene::KEY)
        .saying("401");
    let stopped = scene.server.counts();
    assert!(stopped.status(401) <= WORKERS as u64 * (16 + 1), "{stopped:?}");
    assert!(scene.folder.traced("run") < EXAMPLES);
    for worker in old {
        worker.signal("TERM");
        worker.end().with(0);
    }
    let _new = workers(&cluster, &[&scene], WORKERS, "second");
    scene.compile_on(&cluster).with(0);
    scene.assert_complete();
}

#[test]
fn used_up_quota_stops_the_run_on_workers_until_compile_resumes_it() {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::new(ServerBehaviour {
        quota: Some(CALLS / 2),
        ..quick()
    });
    let _workers = workers(&cluster, &[&scene], WORKERS, "first");
    scene
        .compile_on(&cluster)
        .with(1)
        .saying("You exceeded your current quota");
    let stopped = scene.server.counts();
    assert!(stopped.status(429) <= WORKERS as u64 * (16 + 1), "{stopped:?}");
    scene.server.change(quick());
    scene.compile_on(&cluster).with(0);
    scene.assert_complete();
}

#[test]
fn run_whose_server_is_away_holds_up_no_other_run_on_its_workers() {
    let Some(cluster) = Cluster::start() else { return };
    let (scene, other) = (Scene::new(quick()), Scene::new(quick()));
    let _workers = workers(&cluster, &[&scene, &other], 1, "first");
    let away = cluster.start_in(&scene.folder, &COMPILE);
    until("a quarter of the answers", || {
        (scene.server.counts().answers >= CALLS / 4).then_some(())
    });
    scene.server.start_outage(OutageKind::Unavailable);
    until("the outage to be noticed", || {
        (scene.server.counts().status(503) > 0).then_some(())
    });
    // The tasks that wait for the server are more than the worker executes at a time.
    other.compile_on(&cluster).with(0);
    other.assert_complete();
    scene.server.end_outage();
    away.end().with(0);
    scene.assert_complete();
}
