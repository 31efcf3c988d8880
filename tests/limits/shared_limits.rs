//! Declared limits that several workers share: the job file declares the whole limit, and the workers keep it together.

use super::closed::quick;
use super::declared::limited;
use super::scene::{COMPILE, workers};
use super::{CALLS, EXAMPLES, Scene};
use crate::cli::cluster::Cluster;
use crate::support::{lines, until};

const DECLARED: &str = "account = \"limited\"\n[account.limited]\nrpm = 6000";

fn assert_declared_rpm_is_shared_by(number: usize) {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::with_lm(limited(), DECLARED);
    let _workers = workers(&cluster, &[&scene], number, "first");
    scene.compile_on(&cluster).with(0);
    let counts = scene.assert_complete();
    assert_eq!((counts.rate_refused, counts.arrivals), (0, CALLS), "{counts:?}");
}

#[test]
fn declared_rpm_is_kept_by_one_worker() {
    assert_declared_rpm_is_shared_by(1);
}

#[test]
fn declared_rpm_is_kept_by_two_workers_together() {
    assert_declared_rpm_is_shared_by(2);
}

#[test]
fn declared_rpm_is_kept_by_eight_workers_together() {
    assert_declared_rpm_is_shared_by(8);
}

#[test]
fn declared_rpm_is_kept_by_fifty_workers_together() {
    assert_declared_rpm_is_shared_by(50);
}

#[test]
fn declared_concurrent_is_the_most_in_flight_of_three_workers() {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::with_lm(
        quick(),
        "account = \"limited\"\n[account.limited]\nconcurrent = 7",
    );
    let _workers = workers(&cluster, &[&scene], 3, "first");
    scene.compile_on(&cluster).with(0);
    let counts = scene.assert_complete();
    assert!(counts.most_in_flight <= 7, "{counts:?}");
}

#[test]
fn declared_rpd_is_the_most_that_two_workers_send() {
    const RPD: u64 = CALLS / 3;
    let Some(cluster) = Cluster::start() else { return };
    let declared = format!("account = \"limited\"\n[account.limited]\nrpd = {RPD}");
    let scene = Scene::with_lm(quick(), &declared);
    let _workers = workers(&cluster, &[&scene], 2, "first");
    for _ in 0..2 {
        // The second time, too: the day is not over.
        scene.compile_on(&cluster).with(3).saying(&format!(
            "the {RPD} requests a day that the job file declares are used up"
        ));
        let counts = scene.server.counts();
        assert!(counts.arrivals <= RPD, "{counts:?}");
        assert_eq!(scene.failures(), Vec::<serde_json::Value>::new());
    }
}

#[test]
fn declared_rpm_is_kept_when_redis_is_wiped_under_the_workers() {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::with_lm(limited(), DECLARED);
    let _workers = workers(&cluster, &[&scene], 3, "first");
    let compile = cluster.start_in(&scene.folder, &COMPILE);
    until("answers", || {
        (scene.server.counts().answers >= CALLS / 4).then_some(())
    });
    cluster.redis.ask(&["FLUSHALL"]);
    compile.end().with(0);
    // Answers that only Redis had are asked for again.
    let counts = scene.server.counts();
    assert_eq!(counts.rate_refused, 0, "{counts:?}");
    assert_eq!(scene.folder.traced("run"), EXAMPLES);
}

#[test]
fn declared_rpm_is_kept_while_workers_come_and_go_and_redis_restarts() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let scene = Scene::with_lm(limited(), DECLARED);
    let mut first = workers(&cluster, &[&scene], 3, "first");
    let compile = cluster.start_in(&scene.folder, &COMPILE);
    let answered = |answers: u64| {
        until("answers", || {
            (scene.server.counts().answers >= answers).then_some(())
        });
    };
    answered(CALLS / 8);
    let _joined = workers(&cluster, &[&scene], 2, "first");
    answered(CALLS / 4);
    first[0].kill();
    answered(CALLS / 3);
    first[1].signal("TERM");
    answered(CALLS / 2);
    cluster.redis.kill();
    cluster.redis.start_again();
    compile.end().with(0);
    let counts = scene.server.counts();
    let failures = lines(&scene.folder.read("run/failures.jsonl"));
    assert!(failures.is_empty(), "{failures:?}");
    assert_eq!(scene.folder.traced("run"), EXAMPLES);
    assert_eq!(counts.rate_refused, 0, "{counts:?}");
}
