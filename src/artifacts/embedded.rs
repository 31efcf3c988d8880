//! Artifacts of a self-contained run: DIR's `data` folder, where the coordinator writes the files anyway.
//! So `put` and `delete` have nothing to do.

use super::{ArtifactError, ArtifactStore};
use crate::hex::hex;
use crate::run_dir::{create_new_file, take_place, unfinished};
use crate::task::RunId;
use crate::training_file::TrainingFile;
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

/// Bytes per read.
const CHUNK: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct DirArtifacts {
    data: PathBuf,
}

impl DirArtifacts {
    /// `data` is the folder of the files.
    pub fn new(data: PathBuf) -> DirArtifacts {
        DirArtifacts { data }
    }

    /// The file's path, or `None` if its name would leave the folder.
    fn path(&self, file: &TrainingFile) -> Option<PathBuf> {
        let name = Path::new(&file.name);
        let is_plain = name.file_name().is_some_and(|plain| plain == name.as_os_str());
        is_plain.then(|| self.data.join(name))
    }
}

#[async_trait]
impl ArtifactStore for DirArtifacts {
    async fn put(&self, _: &RunId, _: &TrainingFile, _: &Path) -> Result<(), ArtifactError> {
        Ok(())
    }

    async fn exists(&self, _: &RunId, file: &TrainingFile) -> Result<bool, ArtifactError> {
        let found = self.path(file).and_then(|path| fs::metadata(path).ok());
        Ok(found.is_some_and(|found| found.len() == file.bytes))
    }

    async fn get(&self, _: &RunId, file: &TrainingFile, to: &Path) -> Result<(), ArtifactError> {
        let missing = || ArtifactError::Missing(file.name.clone());
        let from = self.path(file).ok_or_else(missing)?;
        let (expected, to) = (file.sha256.clone(), to.to_owned());
        let copied = tokio::task::spawn_blocking(move || copy(&from, &to, &expected)).await;
        let is_copied =
            copied.unwrap_or_else(|gone| Err(ArtifactError::with_path("copying")(io::Error::other(gone))))?;
        if is_copied { Ok(()) } else { Err(missing()) }
    }

    async fn delete(&self, _: &RunId, _: &TrainingFile) -> Result<(), ArtifactError> {
        Ok(())
    }
}

/// Returns whether the file exists with the expected digest.
fn copy(from: &Path, to: &Path, expected: &str) -> Result<bool, ArtifactError> {
    let mut source = match File::open(from) {
        Ok(source) => source,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(ArtifactError::with_path(from)(error)),
    };
    let tmp = unfinished(to);
    let mut target = create_new_file(&tmp).map_err(ArtifactError::with_path(&tmp))?;
    let (mut digest, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
    loop {
        let read = source.read(&mut chunk).map_err(ArtifactError::with_path(from))?;
        if read == 0 {
            break;
        }
        digest.update(&chunk[..read]);
        target
            .write_all(&chunk[..read])
            .map_err(ArtifactError::with_path(&tmp))?;
    }
    if hex(&digest.finalize()) != expected {
        let _ = fs::remove_file(&tmp);
        return Ok(false);
    }
    target.sync_all().map_err(ArtifactError::with_path(&tmp))?;
    take_place(to).map_err(ArtifactError::with_path(to))?;
    Ok(true)
}
