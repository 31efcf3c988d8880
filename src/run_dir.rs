//! DIR: the paths of a run's files, their permissions, its lock, and atomic file replacement.
//!
//! DIR has an owner's data, so it is made for its owner alone (0700). What is made in a folder gets the folder's permissions: a user who
//! makes DIR before the run, or changes its permissions, decides who reads the run.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The permissions of a new DIR.
const PRIVATE: u32 = 0o700;

/// The run directory. Holds paths only; no file is open.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Creates the directory where it does not exist.
    pub fn create(root: &Path) -> io::Result<RunDir> {
        if let Some(above) = root.parent() {
            fs::create_dir_all(above)?;
        }
        make_folder(root, PRIVATE)?;
        make_folder(&root.join("data"), permissions(root)?)?;
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
        let file = file_options(&path)?.write(true).open(path)?;
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

/// Options that create a file with the permissions of its folder, or open it as it is. The owner can read and write it in any case.
pub(crate) fn file_options(path: &Path) -> io::Result<OpenOptions> {
    let mut options = OpenOptions::new();
    options
        .create(true)
        .mode(permissions(folder(path))? & 0o666 | 0o600);
    Ok(options)
}

/// Creates the file, for reading and writing, in place of one of that name. A link of that name is replaced and not followed.
pub(crate) fn create_new_file(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    file_options(path)?
        .create_new(true)
        .read(true)
        .write(true)
        .open(path)
}

/// Creates a folder with these permissions, or leaves one that is there as it is.
fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

fn permissions(folder: &Path) -> io::Result<u32> {
    Ok(fs::metadata(folder)?.permissions().mode() & 0o777)
}

fn folder(path: &Path) -> &Path {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// Replaces a file atomically: a reader, or a crash, finds the old content or the new.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_new_file(&unfinished(path))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    take_place(path)
}

/// Renames the finished temporary file to its final name, durably.
pub(crate) fn take_place(path: &Path) -> io::Result<()> {
    fs::rename(unfinished(path), path)?;
    File::open(folder(path))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        permissions(path).unwrap()
    }

    #[test]
    fn new_run_directory_is_for_its_owner_alone() {
        let temp = tempfile::tempdir().unwrap();
        let dir = RunDir::create(&temp.path().join("runs/a")).unwrap();
        drop(dir.lock().unwrap().unwrap());
        write_whole(&dir.manifest(), b"{}").unwrap();
        assert_eq!((mode(dir.root()), mode(&dir.root().join("data"))), (0o700, 0o700));
        assert_eq!(
            (mode(&dir.manifest()), mode(&dir.root().join("lock"))),
            (0o600, 0o600)
        );
    }

    #[test]
    fn files_follow_the_permissions_of_an_existing_directory() {
        let temp = tempfile::tempdir().unwrap();
        fs::set_permissions(temp.path(), Permissions::from_mode(0o750)).unwrap();
        let dir = RunDir::create(temp.path()).unwrap();
        write_whole(&dir.manifest(), b"{}").unwrap();
        assert_eq!((mode(dir.root()), mode(&dir.manifest())), (0o750, 0o640));
    }

    #[test]
    fn link_at_a_temporary_name_is_replaced_and_its_target_left() {
        let temp = tempfile::tempdir().unwrap();
        let (path, target) = (temp.path().join("run.json"), temp.path().join("target"));
        fs::write(&target, "mine").unwrap();
        symlink(&target, unfinished(&path)).unwrap();
        write_whole(&path, b"{}").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        assert_eq!(fs::read(&path).unwrap(), b"{}");
    }
}
