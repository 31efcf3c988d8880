//! Declared limits that several workers share: the job file declares the whole limit, and the workers keep it together.

use super::declared::limited;
use super::scene::workers;
use super::{CALLS, EXAMPLES, Scene};
use crate::cli::cluster::Cluster;
use crate::support::{lines, until};

const DECLARED: &str = "account = \"limited\"\n[account.limited]\nrpm = 6000";

fn assert_declared_rpm_is_shared_by(number: usize) {
    let Some(cluster) = Cluster::start() else { return };
    let scene = Scene::with_lm(limited(), DECLARED);
    let _workers = workers(&cluster, number, "first");
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
fn declared_rpm_is_kept_while_workers_come_and_go_and_redis_restarts() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    let scene = Scene::with_lm(limited(), DECLARED);
    let mut first = workers(&cluster, 3, "first");
    let compile = cluster.start_in(&scene.folder, &["compile", "job.toml", "--out", "run"]);
    let answered = |answers: u64| {
        until("answers", || {
            (scene.server.counts().answers >= answers).then_some(())
        });
    };
    answered(CALLS / 8);
    let _joined = workers(&cluster, 2, "first");
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
