//! SIGTERM to a worker, as systemd, Docker and Kubernetes send it before they kill: nothing is lost, and nothing counts as a failure.

use crate::cli::cluster::{Cluster, job};
use crate::cli::metrics::Watched;
use crate::support::{LmServer, same, until};

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// A task of the job asks the plan and the answer, where every answer can be read.
const QUESTIONS: usize = 2;

#[test]
fn worker_on_sigterm_finishes_tasks_in_flight_and_takes_no_more() {
    const EXAMPLES: usize = 40;
    const IN_FLIGHT: usize = 4;
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let (folder, reference) = job(&server, EXAMPLES);
    server.hold_from(1);
    let worker = cluster.worker(&["--concurrency", &IN_FLIGHT.to_string()]);
    let compiling = cluster.start_in(&folder, &COMPILE);
    server.until_held(IN_FLIGHT);
    worker.signal("TERM");
    worker.until_draining();
    server.release();
    worker.end().with(0);
    let asked = server.count().requests;
    assert!(
        asked < QUESTIONS * EXAMPLES,
        "{asked}: it went on with all of them"
    );
    until("what it was asked to be in DIR, whole", || {
        (QUESTIONS * folder.traced("run") == asked).then_some(())
    });
    let _next = cluster.worker(&[]);
    compiling.end().with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(server.count().repeated, 0);
}

#[test]
fn tasks_unfinished_after_drain_are_requeued_and_count_no_failure() {
    // All but the first are in flight at once: as many as a gate sends to a server of which it knows nothing.
    const EXAMPLES: usize = 9;
    // A task whose workers died as often is given up.
    const TIMES: usize = 12;
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let (folder, reference) = job(&server, EXAMPLES);
    // The first example runs alone, and before the others.
    server.hold_from(1);
    let compiling = cluster.start_in(&folder, &COMPILE);
    for time in 0..TIMES {
        server.reset();
        let worker = cluster.worker(&["--drain", "0"]);
        let answered = if time == 0 { QUESTIONS } else { 0 };
        until("every task but the first to be in flight", || {
            (server.count().requests == answered + EXAMPLES - 1).then_some(())
        });
        worker.signal("TERM");
        worker.end().with(0);
    }
    server.reset();
    server.release();
    let _worker = cluster.worker(&[]);
    compiling.end().with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(folder.traced("run"), EXAMPLES);
    assert_eq!(server.count().requests, QUESTIONS * (EXAMPLES - 1));
}

#[test]
fn worker_waiting_for_redis_stops_on_sigterm_without_drain() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    // Longer than a test may wait for an end.
    let worker = cluster.worker(&["--drain", "3600"]);
    worker.until_said("ready for tasks");
    cluster.redis.kill();
    cluster.publish_task();
    worker.until_said("retrying");
    worker.signal("TERM");
    worker.end().with(0).saying("stopped");
}

#[test]
fn worker_loses_no_answer_while_the_redis_password_is_wrong() {
    // All but the first are in flight at once: as many as a gate sends to a server of which it knows nothing.
    const EXAMPLES: usize = 9;
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let (folder, reference) = job(&server, EXAMPLES);
    server.hold_from(1);
    let worker = cluster.worker_with(&[], &[("BSFT_METRICS_ADDR", "0")]);
    let watched = Watched::new(&worker);
    let compiling = cluster.start_in(&folder, &COMPILE);
    server.until_held(EXAMPLES - 1);
    cluster.change_password("another");
    server.release();
    worker.until_said("let the password that this process has in again");
    watched.until_not_ready("redis: the store at ");
    cluster.set_password_back();
    compiling.end().with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(server.count().requests, QUESTIONS * EXAMPLES);
    cluster.change_password("another");
    watched.until_not_ready("redis: ");
    worker.signal("TERM");
    worker.end().with(0);
}
