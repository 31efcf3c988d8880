//! A run that an earlier version left half-done is finished by this one, with the bytes of an undisturbed run.
//!
//! `tests/upgrade/make.py` made the fixtures with the binaries of earlier commits, killed in the middle.

use crate::support::rabbitmq;
use crate::support::redis_server::{RedisServer, is_installed};
use crate::support::{Folder, Running, clean, lines, same};
use bsft::broker::{Broker as _, Queue, rabbitmq::RabbitMqBroker};
use serde::Deserialize;
use std::path::Path;
use std::process::Command;

/// Examples in the trainset of every fixture.
const EXAMPLES: usize = 300;

/// The namespace of the cluster fixtures on RabbitMQ and Redis.
const NAMESPACE: &str = "upgrade";

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// A message that was left in a queue.
#[derive(Deserialize)]
struct Message {
    queue: String,
    /// In hexadecimal.
    body: String,
}

/// A key that was left on Redis.
#[derive(Deserialize)]
struct RedisKey {
    key: String,
    /// Zero if the key does not expire.
    ttl_ms: u64,
    /// What DUMP returns, in hexadecimal.
    dump: String,
}

/// Every earlier version that has fixtures.
fn versions() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/upgrade");
    let mut versions: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    versions.sort();
    assert!(!versions.is_empty());
    versions
}

/// The content of a fixture in a folder of its own.
fn unpack(archive: &Path) -> Folder {
    let folder = Folder::new();
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(folder.path(""))
        .status()
        .unwrap();
    assert!(unpacked.success(), "{}", archive.display());
    folder
}

/// The result of the fixture's job when this version runs it from the start.
fn reference(fixture: &Folder) -> Folder {
    let folder = Folder::new();
    for file in ["job.toml", "train.jsonl"] {
        folder.write(file, fixture.read(file));
    }
    folder.compile("run").with(0);
    folder
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Asserts that the run is complete and that none of its outcomes was set aside as stale.
#[track_caller]
fn assert_finished(folder: &Folder, reference: &Folder) {
    same(&folder.result("run"), &reference.result("run"));
    let ended =
        lines(&folder.read("run/traces.jsonl")).len() + lines(&folder.read("run/failures.jsonl")).len();
    assert_eq!(ended, EXAMPLES);
    assert!(!folder.path("run/stale.jsonl").exists());
}

#[test]
fn compile_finishes_the_run_directory_of_an_earlier_version() {
    for version in versions() {
        let folder = unpack(&version.join("dir.tar.gz"));
        assert!((1..EXAMPLES).contains(&folder.traced("run")));
        let reference = reference(&folder);
        folder.compile("run").with(0);
        assert_finished(&folder, &reference);
    }
}

#[test]
fn compile_finishes_the_cluster_run_of_an_earlier_version() {
    if !(rabbitmq::installed() && is_installed()) {
        return;
    }
    for version in versions() {
        let folder = unpack(&version.join("cluster.tar.gz"));
        assert!((1..EXAMPLES).contains(&folder.traced("run")));
        let reference = reference(&folder);
        let redis = RedisServer::start(&[]);
        for RedisKey { key, ttl_ms, dump } in
            serde_json::from_str::<Vec<RedisKey>>(&folder.read("keys.json")).unwrap()
        {
            redis.restore(&key, ttl_ms, &bytes(&dump));
        }
        let messages: Vec<Message> = serde_json::from_str(&folder.read("messages.json")).unwrap();
        assert!(!messages.is_empty());
        publish(&rabbitmq::shared_url(), &messages);
        let variables = [
            ("BSFT_AMQP_URL", rabbitmq::shared_url()),
            ("BSFT_REDIS_URL", redis.url()),
            ("BSFT_NAMESPACE", NAMESPACE.to_owned()),
        ];
        let mut worker = clean(Command::new(env!("CARGO_BIN_EXE_bsft-worker")));
        worker.envs(variables.clone());
        let worker = Running::start(worker);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, &**value)).collect();
        folder.start_with(&COMPILE, &variables).end().with(0);
        assert_finished(&folder, &reference);
        worker.signal("TERM");
        worker.end().with(0);
    }
}

#[test]
fn store_in_a_later_format_is_refused_with_the_way_out_and_left_as_it_is() {
    let folder = unpack(&versions()[0].join("dir.tar.gz"));
    let store = folder.path("run/state.redb");
    let database = redb::Database::open(&store).unwrap();
    let write = database.begin_write().unwrap();
    let meta = redb::TableDefinition::<&str, u64>::new("meta");
    write.open_table(meta).unwrap().insert("format", 99).unwrap();
    write.commit().unwrap();
    drop(database);
    let before = folder.traced("run");
    folder
        .compile("run")
        .with(1)
        .saying("has format 99, this bsft reads format 1; compile with the version that wrote it");
    assert_eq!(folder.traced("run"), before);
}

/// Puts the messages back into their queues.
fn publish(amqp_url: &str, messages: &[Message]) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let broker = RabbitMqBroker::connect(amqp_url, NAMESPACE).await.unwrap();
        for queue in [Queue::Bootstrap, Queue::Finetune] {
            let bodies = messages
                .iter()
                .filter(|message| message.queue == queue.name())
                .map(|message| bytes(&message.body))
                .collect();
            broker.publish(&queue, bodies).await.unwrap();
        }
        broker.close().await;
    });
}
