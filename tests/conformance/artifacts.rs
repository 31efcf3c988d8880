//! The promises of [`ArtifactStore`], on DIR and on Redis.

use crate::conformance::redis::{NAMESPACE, connect};
use crate::conformance::store::run;
use crate::support::redis_server::{RedisServer, is_installed};
use bsft::artifacts::{ArtifactError, ArtifactStore, DirArtifacts};
use bsft::hex::hex;
use bsft::task::RunId;
use bsft::training_file::TrainingFile;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// Larger than two of the parts that Redis is given.
const LARGE: usize = (9 << 20) + 17;

struct UnderTest {
    artifacts: Box<dyn ArtifactStore>,
    dir: TempDir,
    /// Whether files have to be put there first.
    is_filled: bool,
    _server: Option<RedisServer>,
}

impl UnderTest {
    fn folder() -> UnderTest {
        let dir = tempfile::tempdir().unwrap();
        UnderTest {
            artifacts: Box::new(DirArtifacts::new(dir.path().to_owned())),
            dir,
            is_filled: false,
            _server: None,
        }
    }

    async fn redis() -> Option<UnderTest> {
        let server = is_installed().then(|| RedisServer::start(&[]))?;
        Some(UnderTest {
            artifacts: Box::new(connect(&server.url(), NAMESPACE).await),
            dir: tempfile::tempdir().unwrap(),
            is_filled: true,
            _server: Some(server),
        })
    }

    async fn each() -> Vec<UnderTest> {
        let redis = UnderTest::redis().await;
        [UnderTest::folder()].into_iter().chain(redis).collect()
    }

    /// Rows that no compression makes small, and that no part's border falls in line with.
    fn file(&self, name: &str, bytes: usize, seed: u64) -> (TrainingFile, Vec<u8>) {
        let mut random = fastrand::Rng::with_seed(seed);
        let content: Vec<u8> = (0..bytes).map(|_| random.alphanumeric() as u8).collect();
        fs::write(self.dir.path().join(name), &content).unwrap();
        let file = TrainingFile {
            name: name.to_owned(),
            rows: 1,
            bytes: bytes as u64,
            sha256: hex(&Sha256::digest(&content)),
        };
        (file, content)
    }

    fn path(&self, file: &TrainingFile) -> PathBuf {
        self.dir.path().join(&file.name)
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("fetched")
    }
}

#[tokio::test]
async fn get_returns_the_bytes_of_put_at_any_size() {
    for t in UnderTest::each().await {
        for (seed, bytes) in [0, 1, 4 << 20, LARGE].into_iter().enumerate() {
            let (file, content) = t.file(&format!("{bytes}.jsonl"), bytes, seed as u64);
            for _ in 0..2 {
                t.artifacts.put(&run(), &file, &t.path(&file)).await.unwrap();
            }
            assert!(t.artifacts.exists(&run(), &file).await.unwrap());
            t.artifacts.get(&run(), &file, &t.target()).await.unwrap();
            assert!(fs::read(t.target()).unwrap() == content, "{bytes} bytes");
        }
    }
}

#[tokio::test]
async fn get_of_a_missing_or_deleted_file_is_missing_and_leaves_no_file() {
    for t in UnderTest::each().await {
        let (file, _) = t.file("rows.jsonl", 100, 7);
        if t.is_filled {
            assert!(!t.artifacts.exists(&run(), &file).await.unwrap());
            t.artifacts.put(&run(), &file, &t.path(&file)).await.unwrap();
            let other = RunId("other".into());
            assert!(
                !t.artifacts.exists(&other, &file).await.unwrap(),
                "runs are apart"
            );
        } else {
            fs::remove_file(t.path(&file)).unwrap();
        }
        for _ in 0..2 {
            t.artifacts.delete(&run(), &file).await.unwrap();
        }
        assert!(!t.artifacts.exists(&run(), &file).await.unwrap());
        let fetched = t.artifacts.get(&run(), &file, &t.target()).await;
        assert!(matches!(fetched, Err(ArtifactError::Missing(_))), "{fetched:?}");
        assert!(!t.target().exists());
    }
}

#[tokio::test]
async fn get_of_a_file_with_a_wrong_digest_is_missing() {
    for t in UnderTest::each().await {
        let (file, mut content) = t.file("rows.jsonl", 5000, 8);
        content[2500] ^= 1;
        fs::write(t.path(&file), &content).unwrap();
        t.artifacts.put(&run(), &file, &t.path(&file)).await.unwrap();
        let fetched = t.artifacts.get(&run(), &file, &t.target()).await;
        assert!(matches!(fetched, Err(ArtifactError::Missing(_))), "{fetched:?}");
        assert!(!t.target().exists());
    }
}

#[tokio::test]
async fn get_outside_of_the_folder_is_missing() {
    let t = UnderTest::folder();
    let (mut file, _) = t.file("rows.jsonl", 10, 9);
    for name in ["../rows.jsonl", "/etc/hostname", "", ".."] {
        name.clone_into(&mut file.name);
        let fetched = t.artifacts.get(&run(), &file, &t.target()).await;
        assert!(
            matches!(fetched, Err(ArtifactError::Missing(_))),
            "{name}: {fetched:?}"
        );
    }
}
