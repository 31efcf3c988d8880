//! Signed jobs, recorded answers and outcomes: who may write to Redis cannot forge a training row.

use super::cluster::{Cluster, job};
use crate::support::{Folder, LmServer, Running, same, until};
use redis::from_redis_value;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];
const EXAMPLES: usize = 30;
const KEY: (&str, &str) = ("BSFT_SIGNING_KEY", "a signing key of the tests");

/// What the forger writes into traces.
const FORGED: &str = "forged!!!";

/// Replaces a word in every outcome, and leaves positions and tasks as they are.
const FORGE: &str = "
    local stored = redis.call('XRANGE', KEYS[1], '-', '+')
    redis.call('DEL', KEYS[1])
    for _, entry in ipairs(stored) do
        local fields = entry[2]
        local outcome = string.gsub(fields[4], 'completed', ARGV[1])
        redis.call('XADD', KEYS[1], entry[1], fields[1], fields[2], fields[3], outcome)
    end
    return #stored";

fn start(cluster: &Cluster, folder: &Folder, signing: &[(&str, &str)]) -> Running {
    cluster.start_with_in(folder, &COMPILE, signing)
}

/// Compiles a run whose outcomes another program changes in Redis, before a coordinator takes them. Returns whether a forged one is in
/// DIR.
fn is_forgery_taken(signing: &[(&str, &str)]) -> Option<bool> {
    let cluster = Cluster::start()?;
    let server = LmServer::start("clean");
    let (folder, reference) = job(&server, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let _worker = cluster.worker_with(&["--concurrency", "64"], signing);
    let mut coordinator = start(&cluster, &folder, signing);
    server.until_held(EXAMPLES / 4);
    coordinator.kill();
    server.release();
    let manifest: serde_json::Value = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let outcomes = cluster.key(manifest["run"].as_str().unwrap(), "outcomes");
    until("outcomes in Redis", || {
        let stored: usize = from_redis_value(cluster.redis.ask(&["XLEN", &outcomes])).unwrap();
        (stored >= EXAMPLES / 4).then_some(())
    });
    let forged: usize =
        from_redis_value(cluster.redis.ask(&["EVAL", FORGE, "1", &outcomes, FORGED])).unwrap();
    assert!(forged > 0, "nothing was left to forge");
    start(&cluster, &folder, signing).end().with(0);
    let is_taken = folder.read("run/traces.jsonl").contains(FORGED);
    if !is_taken {
        same(&folder.result("run"), &reference.result("run"));
    }
    Some(is_taken)
}

#[test]
fn forged_outcomes_of_a_signed_run_are_not_taken() {
    // Without signatures the forgery works, so the test can fail.
    let (Some(unsigned), Some(signed)) = (is_forgery_taken(&[]), is_forgery_taken(&[KEY])) else {
        return;
    };
    assert!(unsigned && !signed);
}

#[test]
fn worker_without_the_signing_key_leaves_the_run_to_others() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let (folder, reference) = job(&server, EXAMPLES);
    let without = cluster.worker(&[]);
    let running = start(&cluster, &folder, &[KEY]);
    without.until_said(KEY.0);
    let _with = cluster.worker_with(&[], &[KEY]);
    running.end().with(0);
    same(&folder.result("run"), &reference.result("run"));
    without.signal("TERM");
    without.end().with(0);
}

#[test]
fn short_signing_key_is_bad_usage() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let (folder, _) = job(&server, 3);
    let ended = start(&cluster, &folder, &[("BSFT_SIGNING_KEY", "short")]).end();
    ended
        .with(2)
        .saying("BSFT_SIGNING_KEY has fewer than 16 characters");
}
