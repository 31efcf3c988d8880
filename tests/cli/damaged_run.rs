//! A run whose keys in Redis another program has changed, beside an honest run on the same worker.

use crate::cli::cluster::Cluster;
use crate::support::{Folder, JobFile, Line, LmServer, lines, until};

const EXAMPLES: usize = 60;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

fn job(server: &LmServer) -> Folder {
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    folder
}

/// What another program does to the keys of a run.
type Damage = fn(&Cluster, &str);

#[test]
fn damaged_keys_of_one_run_stop_no_other_run() {
    let Some(cluster) = Cluster::start() else { return };
    let mut worker = cluster.worker(&["--concurrency", "8"]);
    let damages: [Damage; 5] = [
        |cluster, run| drop(cluster.redis.ask(&["SET", &cluster.key(run, "position"), "abc"])),
        |cluster, run| {
            drop(
                cluster
                    .redis
                    .ask(&["SET", &cluster.key(run, "position"), &"9".repeat(30)]),
            )
        },
        |cluster, run| {
            drop(
                cluster
                    .redis
                    .ask(&["SET", &cluster.key(run, "outcomes"), "garbage"]),
            )
        },
        |cluster, run| {
            cluster
                .redis
                .ask_for_each(&cluster.key(run, "task:*"), &["SET", "KEY", "garbage"])
        },
        |cluster, run| {
            let fields = ["HSET", "KEY", "a", "x", "u", "nope", "f", "-1", "zz", "q"];
            cluster.redis.ask_for_each(&cluster.key(run, "task:*"), &fields);
        },
    ];
    for damage in damages {
        let server = LmServer::start("clean");
        let damaged = job(&server);
        server.hold_from(EXAMPLES / 2);
        let mut coordinator = cluster.start_in(&damaged, &COMPILE);
        until("a held call", || (server.held() > 0).then_some(()));
        let manifest: Line = serde_json::from_str(&damaged.read("run/run.json")).unwrap();
        damage(&cluster, manifest["run"].as_str().unwrap());
        server.release();

        let honest_server = LmServer::start("clean");
        let honest = job(&honest_server);
        cluster.run_in(&honest, &COMPILE).with(0);
        assert_eq!(lines(&honest.read("run/traces.jsonl")).len(), EXAMPLES);
        assert_eq!(honest_server.count().repeated, 0);
        coordinator.kill();
        assert!(!worker.has_ended());
    }
    worker.signal("TERM");
    worker.end().with(0);
}
