//! Artifacts in Redis: training files in compressed parts beside the run's other keys, until their training
//! has ended.

use super::{KEPT, RedisStore, reply};
use crate::artifacts::{ArtifactError, ArtifactStore};
use crate::hex::hex;
use crate::run_dir::{create_new_file, take_place, unfinished};
use crate::store::StoreError;
use crate::task::RunId;
use crate::training_file::TrainingFile;
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::Path;

/// Bytes of a file per value: small for one reply of the server, large enough for good compression.
const PART_BYTES: u64 = 4 << 20;

/// zstd's default: the rows of one program repeat each other and shrink to a tenth or less.
const LEVEL: i32 = 3;

#[async_trait]
impl ArtifactStore for RedisStore {
    async fn put(&self, run: &RunId, file: &TrainingFile, path: &Path) -> Result<(), ArtifactError> {
        let mut source = File::open(path).map_err(ArtifactError::with_path(path))?;
        let parts = file.bytes.div_ceil(PART_BYTES);
        for part in 0..parts {
            let (rest, compressed) = blocking(move || {
                let mut bytes = Vec::new();
                (&mut source).take(PART_BYTES).read_to_end(&mut bytes)?;
                Ok((source, zstd::bulk::compress(&bytes, LEVEL)?))
            })
            .await
            .map_err(ArtifactError::with_path(path))?;
            source = rest;
            self.set(self.keys.file_part(run, &file.sha256, part), &compressed)
                .await?;
        }
        // Last, so that the file counts as stored only with all its parts.
        let parts = parts.to_string();
        Ok(self
            .set(self.keys.file(run, &file.sha256), parts.as_bytes())
            .await?)
    }

    async fn exists(&self, run: &RunId, file: &TrainingFile) -> Result<bool, ArtifactError> {
        let parts = self.get(self.keys.file(run, &file.sha256)).await?;
        Ok(parts.is_some())
    }

    async fn get(&self, run: &RunId, file: &TrainingFile, to: &Path) -> Result<(), ArtifactError> {
        let missing = || ArtifactError::Missing(file.name.clone());
        let tmp = unfinished(to);
        let mut target = create_new_file(&tmp).map_err(ArtifactError::with_path(&tmp))?;
        let mut digest = Sha256::new();
        for part in 0..file.bytes.div_ceil(PART_BYTES) {
            let key = self.keys.file_part(run, &file.sha256, part);
            let compressed = self.get(key).await?.ok_or_else(missing)?;
            let written = blocking(move || {
                // Foreign data may have any length: the limit is one part.
                let bytes = zstd::bulk::decompress(&compressed, PART_BYTES as usize)?;
                digest.update(&bytes);
                target.write_all(&bytes)?;
                Ok((target, digest))
            });
            (target, digest) = written.await.map_err(ArtifactError::with_path(&tmp))?;
        }
        if hex(&digest.finalize()) != file.sha256 {
            let _ = fs::remove_file(&tmp);
            return Err(missing());
        }
        blocking(move || target.sync_all())
            .await
            .map_err(ArtifactError::with_path(&tmp))?;
        take_place(to).map_err(ArtifactError::with_path(to))
    }

    async fn delete(&self, run: &RunId, file: &TrainingFile) -> Result<(), ArtifactError> {
        let parts = 0..file.bytes.div_ceil(PART_BYTES);
        let parts = parts.map(|part| self.keys.file_part(run, &file.sha256, part));
        for key in [self.keys.file(run, &file.sha256)].into_iter().chain(parts) {
            self.link.ask(redis::cmd("DEL").arg(key)).await?;
        }
        Ok(())
    }
}

impl RedisStore {
    pub(super) async fn set(&self, key: String, bytes: &[u8]) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(key).arg(bytes).arg("EX").arg(KEPT.as_secs());
        self.link.ask(&set).await.map(drop)
    }

    pub(super) async fn get(&self, key: String) -> Result<Option<Vec<u8>>, StoreError> {
        let reply = self.link.ask(redis::cmd("GET").arg(key)).await?;
        self.read(reply, reply::optional)
    }
}

/// Runs blocking work outside of the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|gone| Err(io::Error::other(gone)))
}
