//! DIR: the paths of a run's files, its lock, and atomic file replacement.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// The run directory. Holds paths only; no file is open.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Creates the directory where it does not exist.
    pub fn create(root: &Path) -> io::Result<RunDir> {
        fs::create_dir_all(root.join("data"))?;
        Ok(RunDir {
            root: root.to_owned(),
        })
    }

    /// The directory of an existing run, recognised by its manifest; otherwise `None`.
    pub fn existing(root: &Path) -> Option<RunDir> {
        root.join("run.json").exists().then(|| RunDir {
            root: root.to_owned(),
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The traces: in order of arrival during the run, sorted at its end.
    pub fn traces(&self) -> PathBuf {
        self.root.join("traces.jsonl")
    }

    /// The failures, in the same order as the traces.
    pub fn failures(&self) -> PathBuf {
        self.root.join("failures.jsonl")
    }

    /// What was paid for LM calls.
    pub fn spend(&self) -> PathBuf {
        self.root.join("spend.jsonl")
    }

    /// Marks of the LM calls in flight.
    pub fn calls_in_flight(&self) -> PathBuf {
        self.root.join("calls-in-flight")
    }

    /// What happened to the run: its rates, LMs, workers and services.
    pub fn events(&self) -> PathBuf {
        self.root.join("events.jsonl")
    }

    /// What happened before the file was full.
    pub fn earlier_events(&self) -> PathBuf {
        self.root.join("events.earlier.jsonl")
    }

    /// Outcomes that no longer count: a changed job made them stale, or `retry` runs their tasks again. They cost LM calls, so they are
    /// kept.
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

    pub fn manifest(&self) -> PathBuf {
        self.root.join("run.json")
    }

    /// Exists while a cancellation is requested.
    pub fn cancel_request(&self) -> PathBuf {
        self.root.join("cancel")
    }

    /// Excludes other processes until the returned file is dropped or the process ends. `None` when another
    /// process holds the lock.
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
            // A file system without locks: the store has its own.
            Err(fs::TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {
                Ok(Some(file))
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The file of the embedded store.
    pub fn store(&self) -> PathBuf {
        self.root.join("state.redb")
    }
}

/// The temporary name of a file that is being written.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

/// Replaces a file atomically: a reader, or a crash, finds the old content or the new.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let tmp = unfinished(path);
    let mut file = File::create(&tmp)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    take_place(path)
}

/// Renames the finished temporary file to its final name, durably.
pub(crate) fn take_place(path: &Path) -> io::Result<()> {
    fs::rename(unfinished(path), path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
