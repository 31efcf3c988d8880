//! What a task costs in each store: claim, record 300 B, finish 2.5 KB, read and trim. Prints one line per load.
//!
//! The Redis server shares the machine's cores with the benchmark; without one installed only the embedded store is measured.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

#[path = "../tests/support/port.rs"]
#[expect(clippy::unwrap_used, reason = "made for tests: they panic")]
mod port;
#[path = "../tests/support/redis_server.rs"]
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "made for tests: they use the rest, and panic"
)]
mod redis_server;
#[path = "../tests/support/wait.rs"]
mod wait;

use bsft::store::embedded::EmbeddedStore;
use bsft::store::redis::RedisStore;
use bsft::store::{Claim, Position, Store};
use bsft::task::{AttemptRef, RunId, TaskId};
use redis_server::RedisServer;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const TASKS: u64 = 200_000;
const LEASE: Duration = Duration::from_secs(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime with two threads starts");
    for at_once in [64, 256, 1_024] {
        let dir = tempfile::tempdir_in(".").expect("the current directory takes a temporary one");
        let path = dir.path().join("store.redb");
        let load = {
            let path = path.clone();
            async move {
                run(
                    Arc::new(EmbeddedStore::open(&path).expect("a new file opens")),
                    at_once,
                )
                .await
            }
        };
        let cost = measured(&runtime, load);
        println!(
            "embedded, {at_once:>5} at once: {cost}, file {} MiB",
            file_size(&path) >> 20
        );
    }
    if !redis_server::is_installed() {
        return;
    }
    for fsync in ["everysec", "always"] {
        for at_once in [64, 1_024] {
            let server = RedisServer::start(&["--appendfsync", fsync]);
            let url = server.url();
            let load = async move {
                let store = RedisStore::connect(&url, "bench").await;
                run(
                    Arc::new(store.expect("the server just started takes us")),
                    at_once,
                )
                .await;
            };
            let before = server_micros(&server);
            let cost = measured(&runtime, load);
            println!(
                "Redis {fsync:>8}, {at_once:>5} at once: {cost}, server {:>5.1} us cpu per task",
                (server_micros(&server) - before) as f64 / TASKS as f64
            );
        }
    }
}

fn measured(runtime: &Runtime, load: impl Future<Output = ()> + Send + 'static) -> String {
    let (cpu, start) = (cpu_micros(), Instant::now());
    runtime
        .block_on(runtime.spawn(load))
        .expect("the load runs to its end");
    let (cpu, wall) = (cpu_micros() - cpu, start.elapsed());
    format!(
        "{:>5.1} us cpu per task, {:>7.0} tasks/s",
        cpu as f64 / TASKS as f64,
        TASKS as f64 / wall.as_secs_f64(),
    )
}

async fn run(store: Arc<dyn Store>, at_once: u64) {
    let run = RunId("bench".into());
    let next = Arc::new(AtomicU64::new(0));
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (store, run, next) = (Arc::clone(&store), run.clone(), Arc::clone(&next));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= TASKS {
                    return;
                }
                let task = TaskId(u128::from(number).to_be_bytes());
                let claim = store.claim(&run, task, LEASE).await;
                let Ok(Claim::Run { attempt, .. }) = claim else {
                    panic!("a new task is ours")
                };
                let attempt = AttemptRef { task, attempt };
                store
                    .record(&run, attempt, 0, vec![b'r'; 300])
                    .await
                    .expect("the record is stored");
                store
                    .finish(&run, attempt, vec![b'o'; 2_500])
                    .await
                    .expect("the outcome is stored");
            }
        });
    }
    let (mut after, mut seen) = (Position::default(), 0);
    while seen < TASKS {
        let stored = store
            .outcomes(&run, after, 1_000, Duration::from_secs(10))
            .await
            .expect("outcomes are read");
        let trims: Vec<_> = stored
            .iter()
            .map(|stored| (stored.position, stored.task))
            .collect();
        after = trims.last().expect("outcomes come within the wait").0;
        seen += trims.len() as u64;
        store.trim(&run, &trims).await.expect("outcomes are trimmed");
    }
    workers.join_all().await;
}

/// User and system time of the process, by Linux's 10 ms ticks.
fn cpu_micros() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the benchmark runs on Linux");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    [11, 12]
        .iter()
        .map(|i| fields[*i].parse::<u64>().expect("ticks are numbers") * 10_000)
        .sum()
}

/// The same of a server, by its own account.
fn server_micros(server: &RedisServer) -> u64 {
    let user_and_system = ["used_cpu_user", "used_cpu_sys"].map(|name| server.info::<f64>(name));
    (user_and_system.iter().sum::<f64>() * 1e6) as u64
}

fn file_size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("the store left its file").len()
}
