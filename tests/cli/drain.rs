//! SIGTERM to a worker, as systemd, Docker and Kubernetes send it before they kill: nothing is lost, and nothing counts as a failure.

use crate::cluster::{Cluster, job};
use crate::metrics::Watched;
use crate::support::{Folder, JobFile, LmServer, free_port, same, until};

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// A task of the job asks the plan and the answer, where every answer can be read.
const QUESTIONS: usize = 2;

#[test]
fn a_worker_that_is_told_to_stop_takes_no_more_and_finishes_what_is_in_flight() {
    const EXAMPLES: usize = 40;
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start_on(0, &["--profile", "clean", "--latency-ms", "1000"]);
    let (folder, reference) = job(&server, EXAMPLES);
    let worker = cluster.worker(&["--concurrency", "4"]);
    let compiling = cluster.start_in(&folder, &COMPILE);
    until("questions in flight", || {
        (server.count().requests >= 4).then_some(())
    });
    worker.signal("TERM");
    worker.end().with(0).saying("finishing the tasks in flight");
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
fn what_is_not_finished_within_the_drain_is_handed_back_and_counts_as_no_failure_however_often() {
    const EXAMPLES: usize = 12;
    // A task whose workers died as often is given up.
    const TIMES: usize = 12;
    let Some(cluster) = Cluster::start() else { return };
    let port = free_port();
    let quick = LmServer::start_on(port, &["--profile", "clean"]);
    let (folder, reference) = (Folder::new(), Folder::new());
    for folder in [&folder, &reference] {
        JobFile::at(&quick.base()).write(folder, EXAMPLES);
    }
    reference.compile("run").with(0);
    drop(quick);
    // No answer comes before the test is over.
    let slow = LmServer::start_on(port, &["--profile", "clean", "--latency-ms", "1000000000"]);
    let compiling = cluster.start_in(&folder, &COMPILE);
    for _ in 0..TIMES {
        slow.reset();
        let worker = cluster.worker(&["--drain", "0"]);
        until("every task to be in flight", || {
            (slow.count().requests == EXAMPLES).then_some(())
        });
        worker.signal("TERM");
        worker.end().with(0);
    }
    drop(slow);
    let quick = LmServer::start_on(port, &["--profile", "clean"]);
    let _worker = cluster.worker(&[]);
    compiling.end().with(0);
    same(&folder.result("run"), &reference.result("run"));
    assert_eq!(folder.traced("run"), EXAMPLES);
    assert_eq!(quick.count().requests, QUESTIONS * EXAMPLES);
}

#[test]
fn a_worker_that_waits_for_redis_to_begin_a_task_has_nothing_in_flight_and_stops_without_its_drain() {
    let Some(mut cluster) = Cluster::start() else {
        return;
    };
    // Longer than a test may wait for an end.
    let worker = cluster.worker(&["--drain", "3600"]);
    until("the worker to be ready", || {
        worker.said().contains("ready for tasks").then_some(())
    });
    cluster.redis.kill();
    cluster.publish_task();
    until("the worker to wait with the task", || {
        worker.said().contains("holding on").then_some(())
    });
    worker.signal("TERM");
    worker.end().with(0).saying("stopped");
}

#[test]
fn a_password_that_is_changed_and_set_back_under_a_worker_costs_no_answer() {
    const EXAMPLES: usize = 12;
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start_on(0, &["--profile", "clean", "--latency-ms", "1000"]);
    let (folder, reference) = job(&server, EXAMPLES);
    let worker = cluster.worker_with(&[], &[("BSFT_METRICS_ADDR", "0")]);
    let watched = Watched::of(&worker);
    let compiling = cluster.start_in(&folder, &COMPILE);
    until("questions in flight", || {
        (server.count().requests == EXAMPLES).then_some(())
    });
    cluster.change_password("another");
    until("the worker to say what to do", || {
        worker
            .said()
            .contains("let the password that this process has in again")
            .then_some(())
    });
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
