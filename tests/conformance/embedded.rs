//! The embedded queue and store: every case, and what only a file can promise.

use crate::conformance::broker::{BrokerUnderTest, broker_cases};
use crate::conformance::store::{
    LEASE, StoreUnderTest, claimed, outcomes, places, run, store_cases, task, work_through,
};
use async_trait::async_trait;
use bsft::broker::embedded::EmbeddedBroker;
use bsft::broker::{Broker, Queue};
use bsft::store::embedded::{DEATHS_FORGIVEN, EmbeddedStore};
use bsft::store::{Claim, Position, Store, StoreError};
use bsft::task::Attempt;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;

#[async_trait]
impl BrokerUnderTest for EmbeddedBroker {
    async fn start() -> EmbeddedBroker {
        EmbeddedBroker::new()
    }

    fn broker(&self) -> &dyn Broker {
        self
    }

    async fn dead_letters(&self, queue: &Queue, _expected: usize) -> Vec<Vec<u8>> {
        EmbeddedBroker::dead_letters(self, queue)
    }

    async fn close(&self) {
        EmbeddedBroker::close(self);
    }
}

broker_cases!(EmbeddedBroker, tokio::test(start_paused = true));

struct InTempDir {
    store: EmbeddedStore,
    dir: TempDir,
}

#[async_trait]
impl StoreUnderTest for InTempDir {
    async fn start() -> InTempDir {
        let dir = tempfile::tempdir().unwrap();
        InTempDir {
            store: open(&file(&dir)),
            dir,
        }
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reopened(self) -> InTempDir {
        let InTempDir { store, dir } = self;
        drop(store);
        InTempDir {
            store: open(&file(&dir)),
            dir,
        }
    }
}

store_cases!(InTempDir, tokio::test);

fn file(dir: &TempDir) -> PathBuf {
    dir.path().join("store.redb")
}

fn open(path: &Path) -> EmbeddedStore {
    EmbeddedStore::open(path).unwrap()
}

#[tokio::test]
async fn store_file_in_use_is_an_error() {
    let t = InTempDir::start().await;
    let Err(e) = EmbeddedStore::open(&file(&t.dir)) else {
        panic!("the file was opened twice")
    };
    assert!(matches!(&e, StoreError::InUse { path } if *path == file(&t.dir)));
    let message = e.to_string();
    assert!(
        message.contains("store.redb") && message.contains("another bsft"),
        "{message}"
    );
}

#[test]
fn open_of_another_file_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for bytes in [b"{}".to_vec(), vec![b'x'; 100_000]] {
        std::fs::write(file(&dir), &bytes).unwrap();
        let Err(e) = EmbeddedStore::open(&file(&dir)) else {
            panic!("it was opened")
        };
        assert!(matches!(e, StoreError::Corrupt { .. }), "{e}");
        assert_eq!(std::fs::read(file(&dir)).unwrap(), bytes);
    }
}

#[tokio::test]
async fn attempts_that_die_with_the_process_reopen_and_count_beyond_a_limit() {
    let mut t = InTempDir::start().await;
    for death in 0..DEATHS_FORGIVEN + 3 {
        let (attempt, failures, _) = claimed(t.store(), task(1), LEASE).await;
        assert_eq!(attempt.attempt, Attempt(death + 1));
        assert_eq!(failures, death.saturating_sub(DEATHS_FORGIVEN));
        t = t.reopened().await;
    }
}

#[tokio::test]
async fn record_is_on_the_disk_when_it_returns() {
    let t = InTempDir::start().await;
    let (attempt, _, _) = claimed(t.store(), task(1), LEASE).await;
    t.store.record(&run(), attempt, 0, b"paid".into()).await.unwrap();
    // The bytes of the file at this moment: the store is not closed.
    let copy = t.dir.path().join("copy.redb");
    std::fs::copy(file(&t.dir), &copy).unwrap();
    let (again, failures, records) = claimed(&open(&copy), task(1), LEASE).await;
    assert_eq!(
        (again.attempt, failures, records),
        (Attempt(2), 0, vec![(0, b"paid".into())])
    );
}

/// Names the file to the child of the next test; without it the child has nothing to do.
const CHILD_FILE: &str = "BSFT_TEST_STORE_FILE";
/// Acknowledged writes before the child is killed.
const ACKNOWLEDGED: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn child_prints_acknowledged_writes() {
    let Some(path) = std::env::var_os(CHILD_FILE) else {
        return;
    };
    let store = Arc::new(open(Path::new(&path)));
    let mut writers = tokio::task::JoinSet::new();
    for first in 0..16 {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in (first..).step_by(16) {
                let (attempt, _, _) = claimed(&*store, task(n), LEASE).await;
                store
                    .record(&run(), attempt, n, n.to_le_bytes().to_vec())
                    .await
                    .unwrap();
                if n % 2 == 0 {
                    store
                        .finish(&run(), attempt, n.to_le_bytes().to_vec())
                        .await
                        .unwrap();
                }
                writeln!(std::io::stdout().lock(), "acknowledged {n}").unwrap();
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn acknowledged_writes_survive_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "conformance::embedded::child_prints_acknowledged_writes",
            "--nocapture",
        ])
        .env(CHILD_FILE, file(&dir))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        let number = line
            .split_once("acknowledged ")
            .and_then(|(_, number)| number.parse::<u32>().ok());
        acknowledged.extend(number);
        if acknowledged.len() == ACKNOWLEDGED {
            // SIGKILL; what the pipe still holds was acknowledged as well.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= ACKNOWLEDGED);
    let store = open(&file(&dir));
    for n in acknowledged {
        let bytes = n.to_le_bytes().to_vec();
        if n % 2 == 0 {
            assert_eq!(
                store.outcome(&run(), task(n)).await.unwrap(),
                Some(bytes),
                "outcome {n}"
            );
        } else {
            let (attempt, _, records) = claimed(&store, task(n), LEASE).await;
            assert_eq!((attempt.attempt, records), (Attempt(2), vec![(n, bytes)]));
        }
    }
}

/// Tasks of the growth test.
const TASKS: u32 = 200_000;
/// How many of them are not trimmed at once.
const WINDOW: u32 = 2_000;
/// Bytes that the file may have at the end: a quarter of what went through it. How much less it has depends on how many tasks share a
/// commit.
const SIZE: u64 = TASKS as u64 * 2_800 / 4;

#[tokio::test]
async fn store_file_grows_with_the_window_and_not_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(open(&file(&dir)));
    // Stays at work from the first to the last: it must not pin what came after it.
    let (straggler, _, _) = claimed(&*store, task(TASKS), LEASE).await;
    store.record(&run(), straggler, 0, b"paid".into()).await.unwrap();
    let mut after = Position::default();
    for window in 0..TASKS / WINDOW {
        work_through(&store, window * WINDOW..(window + 1) * WINDOW).await;
        let mut left = WINDOW as usize;
        while left > 0 {
            let stored = outcomes(&*store, after, left).await;
            left -= stored.len();
            after = stored.last().unwrap().position;
            store.trim(&run(), &places(&stored)).await.unwrap();
        }
    }
    drop(store);
    let size = std::fs::metadata(file(&dir)).unwrap().len();
    assert!(size < SIZE, "{size} bytes");
    let store = open(&file(&dir));
    for n in (0..TASKS).step_by(997) {
        assert_eq!(store.claim(&run(), task(n), LEASE).await.unwrap(), Claim::Done);
    }
    assert_eq!(
        claimed(&store, task(TASKS), LEASE).await.2,
        [(0, b"paid".to_vec())]
    );
}
