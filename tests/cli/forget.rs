//! `forget`: what it removes, whom it spares, when it refuses, and what a killed one leaves to the next.

use crate::cli::cluster::{Cluster, job};
use crate::support::{Folder, JobFile, LmServer, Running, same, until};
use bsft::broker::Queue;
use bsft::message::{BootstrapTask, MESSAGE_VERSION};
use bsft::task::{RunId, TaskId};
use serde_json::Value;

const EXAMPLES: usize = 60;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// The id of the run in the folder.
fn run_id(folder: &Folder) -> String {
    let manifest = until("a manifest", || {
        let text = std::fs::read_to_string(folder.path("run/run.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()
    });
    manifest["run"].as_str().unwrap().to_owned()
}

/// The names of the run's keys.
fn keys(cluster: &Cluster, run: &str) -> Vec<String> {
    let pattern = cluster.key(run, "*");
    let mut keys: Vec<String> = redis::from_redis_value(cluster.redis.ask(&["KEYS", &pattern])).unwrap();
    keys.sort();
    keys
}

/// What `status` prints of all runs.
fn statuses(cluster: &Cluster, folder: &Folder) -> Vec<Value> {
    let ended = cluster.run_in(folder, &["status", "--json"]).with(0);
    serde_json::from_str(&ended.stdout).unwrap()
}

/// The messages in a queue, as `status` prints them.
fn waiting(cluster: &Cluster, folder: &Folder, queue: &str) -> Option<u64> {
    statuses(cluster, folder).first()?["queues"][queue].as_u64()
}

/// Lines of `failures.jsonl` so far.
fn failed(folder: &Folder) -> usize {
    let text = std::fs::read_to_string(folder.path("run/failures.jsonl")).unwrap_or_default();
    text.lines().count()
}

fn task(run: &str, number: u8) -> Vec<u8> {
    let task = BootstrapTask {
        v: MESSAGE_VERSION,
        run: RunId(run.to_owned()),
        job: String::new(),
        task: TaskId([number; 16]),
        teacher: 0,
        example: 0,
        labels: 0,
        answered: false,
        notes: true,
        data: "{}".to_owned(),
    };
    task.encode()
}

#[test]
fn forget_removes_all_of_a_run_and_nothing_of_another() {
    let Some(cluster) = Cluster::start() else { return };
    let servers = [LmServer::start("mild"), LmServer::start("mild")];
    let (one, one_alone) = job(&servers[0], EXAMPLES);
    let (other, other_alone) = job(&servers[1], EXAMPLES);
    // Only the first example of each run ends; the others are published then.
    servers.iter().for_each(|server| server.hold_from(1));
    let [gone, stays] = [&one, &other].map(|folder| cluster.start_in(folder, &COMPILE));
    let (run, other_run) = (run_id(&one), run_id(&other));
    // Each has a message that no worker can read.
    let damaged = |run: &str| format!("{{\"v\":{MESSAGE_VERSION},\"run\":\"{run}\"}}").into_bytes();
    cluster.publish(&Queue::Bootstrap, vec![damaged(&run), damaged(&other_run)]);
    let worker = cluster.worker(&["--concurrency", "2"]);
    until("the messages of both", || {
        let have_traces = one.traced("run") > 0 && other.traced("run") > 0;
        let are_published = waiting(&cluster, &one, "bootstrap")? > EXAMPLES as u64;
        (have_traces && are_published && waiting(&cluster, &one, "dead_bootstrap")? == 2).then_some(())
    });
    worker.signal("TERM");
    worker.until_draining();
    servers.iter().for_each(LmServer::release);
    worker.end().with(0);
    cluster.run_in(&one, &["cancel", "run"]).with(0);
    gone.end().with(3);

    let name = cluster.run_in(&one, &["forget", "tested"]).with(2);
    let name = name.saying("2 runs have the name tested").saying(&run);
    name.saying(&other_run);
    let forgotten = cluster.run_in(&one, &["forget", &run]).with(0);
    assert!(
        forgotten.stdout.contains("1 dead letter and"),
        "{}",
        forgotten.stdout
    );
    assert!(!forgotten.stdout.contains(" 0 "), "{}", forgotten.stdout);
    assert_eq!(keys(&cluster, &run), Vec::<String>::new());
    let keys = keys(&cluster, &other_run);
    for name in ["job", "leader", "report"] {
        assert!(keys.contains(&cluster.key(&other_run, name)), "{keys:?}");
    }
    until("the other run's messages to be in their queues", || {
        let unfinished = EXAMPLES - other.traced("run") - failed(&other);
        let are_back = waiting(&cluster, &one, "bootstrap")? == unfinished as u64
            && waiting(&cluster, &one, "dead_bootstrap")? == 1;
        are_back.then_some(())
    });
    let listed = statuses(&cluster, &one);
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["run"].as_str(), Some(other_run.as_str()));

    // Again by its folder, which is left.
    let again = cluster.run_in(&one, &["forget", "run"]).with(0).stdout;
    assert!(
        again.contains("nothing of it is in RabbitMQ and Redis"),
        "{again}"
    );
    assert!(
        again.contains("left: run with ") && again.contains("traces.jsonl"),
        "{again}"
    );

    let _worker = cluster.worker(&["--concurrency", "16"]);
    stays.end().with(0);
    same(&other.result("run"), &other_alone.result("run"));
    assert_eq!(servers[1].count().repeated, 0);
    cluster.run_in(&one, &COMPILE).with(0);
    same(&one.result("run"), &one_alone.result("run"));
}

#[test]
fn forget_refuses_a_run_in_use_and_names_who_uses_it() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("mild");
    let (folder, _reference) = job(&server, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let worker = cluster.worker(&["--concurrency", "2"]);
    let mut coordinator = cluster.start_in(&folder, &COMPILE);
    server.until_held(2);
    let run = run_id(&folder);
    let cancel = format!("bsft cancel {run}");
    let led = cluster.run_in(&folder, &["forget", "run"]).with(1);
    let process = |of: &Running| format!("process {} on ", of.pid());
    led.saying(&process(&coordinator)).saying(&cancel);
    coordinator.kill();
    coordinator.end();
    let held = cluster.run_in(&folder, &["forget", "run"]).with(1);
    held.saying(&format!("in flight (workers: {}", process(&worker)))
        .saying(&cancel);
    assert_ne!(keys(&cluster, &run), Vec::<String>::new());

    cluster.run_in(&folder, &["cancel", "run"]).with(0);
    let forgetting = cluster.start_in(&folder, &["forget", "run"]);
    forgetting.until_said("in flight; waiting");
    server.release();
    forgetting.end().with(0);
    // The heartbeats of the worker, which knows the run, bring no key back.
    worker.signal("TERM");
    worker.end().with(0);
    assert_eq!(keys(&cluster, &run), Vec::<String>::new());
}

#[test]
fn killed_forget_is_finished_by_the_next_one() {
    const OTHERS: u8 = 100;
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    let (run, other) = ("gone-0123456789abcdef", "stays-0123456789abcdef");
    let mixed = (0..OTHERS).flat_map(|number| [task(run, number), task(other, number), task(run, number)]);
    cluster.publish(&Queue::Bootstrap, mixed.collect());
    const FILL: &str = "for i = 1, 50000 do redis.call('SET', ARGV[1] .. i, i) end";
    cluster
        .redis
        .ask(&["EVAL", FILL, "0", &cluster.key(run, "task:")]);
    cluster
        .redis
        .ask(&["EVAL", FILL, "0", &cluster.key(other, "task:")]);
    let exists = |name: &str| {
        let found = cluster.redis.ask(&["EXISTS", &cluster.key(run, name)]);
        redis::from_redis_value::<u8>(found).unwrap() == 1
    };
    let is_half_gone = || keys(&cluster, run).len() < 50_000;
    let moments: [&dyn Fn() -> bool; 2] = [&|| exists("leader"), &is_half_gone];
    for has_come in moments {
        let mut forgetting = cluster.start_in(&folder, &["forget", run]);
        until("the moment, or its end", || {
            (has_come() || forgetting.has_ended()).then_some(())
        });
        forgetting.kill();
    }
    cluster.run_in(&folder, &["forget", run]).with(0);
    assert_eq!(keys(&cluster, run), Vec::<String>::new());
    assert_eq!(keys(&cluster, other).len(), 50_000);
    let expected: Vec<Vec<u8>> = (0..OTHERS).map(|number| task(other, number)).collect();
    assert_eq!(cluster.take(&Queue::Bootstrap, usize::from(OTHERS)), expected);
    let nothing = cluster.run_in(&folder, &["forget", run]).with(0);
    assert!(nothing.stdout.contains("nothing of it"), "{}", nothing.stdout);
}

#[test]
fn forget_removes_keys_that_bsft_did_not_write() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    let run = "damaged-0123456789abcdef";
    for name in [
        "job", "outcomes", "position", "task:x", "workers", "report", "done:7", "file:x:1",
    ] {
        cluster
            .redis
            .ask(&["HSET", &cluster.key(run, name), "zz", "garbage"]);
    }
    cluster
        .redis
        .ask(&["HSET", &cluster.key(run, "task:y"), "u", "nope", "a", "-1"]);
    cluster.run_in(&folder, &["forget", run]).with(0);
    assert_eq!(keys(&cluster, run), Vec::<String>::new());
}

#[test]
fn forget_refuses_a_name_that_is_no_run() {
    let Some(cluster) = Cluster::start() else { return };
    let folder = Folder::new();
    // No pattern reaches the keys of another run.
    let other = cluster.key("stays-0123456789abcdef", "job");
    cluster.redis.ask(&["SET", &other, "job"]);
    for name in ["no-such-run", "*", "stays-0123456789abcde?", "a}:x:{b"] {
        cluster
            .run_in(&folder, &["forget", name])
            .with(2)
            .saying("no run");
    }
    cluster.run_in(&folder, &["forget", "*-0123456789abcdef"]).with(0);
    let left: u8 = redis::from_redis_value(cluster.redis.ask(&["EXISTS", &other])).unwrap();
    assert_eq!(left, 1);
}

#[test]
fn forget_of_a_run_in_one_process_finds_nothing_outside_of_dir() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 12);
    folder.run(&["compile", "job.toml"]).with(0);
    for named in ["runs/tested", "tested"] {
        let ended = folder.run(&["forget", named]).with(0);
        assert!(
            ended
                .stdout
                .contains("runs/tested: nothing to forget; this run is in its directory only"),
            "{}",
            ended.stdout
        );
        assert!(
            ended.stdout.contains("left: runs/tested with "),
            "{}",
            ended.stdout
        );
        assert!(
            ended.stdout.contains("compiled.json, data/, "),
            "{}",
            ended.stdout
        );
    }
    folder.run(&["forget", "nowhere"]).with(2).saying("holds no run");
    let manifest = folder.read("runs/tested/run.json");
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["store"] = "redis://bsft@redis.example:6379".into();
    folder.write("runs/tested/run.json", manifest.to_string());
    folder
        .run(&["forget", "tested"])
        .with(2)
        .saying("redis://bsft@redis.example:6379")
        .saying("give both URLs");
}
