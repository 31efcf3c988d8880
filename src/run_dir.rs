//! DIR: where everything of a run lies.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The run's folder. Paths only: nothing is opened here.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// The folder, made where it does not exist.
    pub fn create(root: &Path) -> io::Result<RunDir> {
        fs::create_dir_all(root.join("data"))?;
        Ok(RunDir {
            root: root.to_owned(),
        })
    }

    /// The folder of a run that is there already.
    pub fn existing(root: &Path) -> Option<RunDir> {
        root.join("run.json").exists().then(|| RunDir {
            root: root.to_owned(),
        })
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The traces: in order of arrival while the run goes on, sorted when it is done.
    pub fn traces(&self) -> PathBuf {
        self.root.join("traces.jsonl")
    }

    /// The failure ledger, likewise.
    pub fn failures(&self) -> PathBuf {
        self.root.join("failures.jsonl")
    }

    /// What a changed job has made stale: paid for, so kept.
    pub fn stale(&self) -> PathBuf {
        self.root.join("stale.jsonl")
    }

    /// A training file.
    pub fn data(&self, file_name: &str) -> PathBuf {
        self.root.join("data").join(file_name)
    }

    /// The compiled student.
    pub fn compiled(&self) -> PathBuf {
        self.root.join("compiled.json")
    }

    /// The manifest.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// There while somebody wants the run to be cancelled.
    pub fn cancel_request(&self) -> PathBuf {
        self.root.join("cancel")
    }

    /// Keeps other processes from working on the folder, until the lock is dropped or the process ends, however it ends.
    /// `None`: another process has it.
    pub fn lock(&self) -> io::Result<Option<File>> {
        let path = self.root.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            // A file system without locks: the store has one of its own.
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(file))
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The embedded store's file.
    pub fn store(&self) -> PathBuf {
        self.root.join("state.redb")
    }
}

/// The name under which a file is written before it takes its place.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Writes a whole file so that a reader, or a death, sees the old one or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let tmp = unfinished(path);
    let mut file = File::create(&tmp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    take_place(path)
}

/// Moves the finished file to its place, durably.
pub(crate) fn take_place(path: &Path) -> io::Result<()> {
    fs::rename(unfinished(path), path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
