//! A training's own folder, `DIR/KEY`: what lies in it under which name.

use super::stop::StopCause;
use super::values::Values;
use crate::finetune::{FinetuneJob, TrainingState};
use crate::run_dir::write_whole;
use crate::task::RunId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Names that `files` of a trainer may not take.
pub(super) const OWN_NAMES: [&str; 27] = [
    "train",
    "validation",
    "rows.jsonl",
    "unfinished",
    "output",
    "hyperparams.json",
    "progress.jsonl",
    "result.json",
    "measure.py",
    "stdout.log",
    "stderr.log",
    "upload.log",
    "serve.log",
    "order.json",
    "prepared.json",
    "definition",
    "attempts",
    "lock",
    "finish.lock",
    "pid",
    "proc.json",
    "exit_code",
    "stop.json",
    "outcome.json",
    "manifest.json",
    "ended",
    "serve.json",
];

/// How many characters a key may have: it is a folder's name.
const LONGEST_KEY: usize = 128;

/// A training's folder. Paths and small files; nothing is decided here.
#[derive(Clone, Debug)]
pub(super) struct WorkDir {
    root: PathBuf,
}

/// What the training is for: enough to find its task again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnfinishedTraining {
    /// The run that wants it.
    pub run: RunId,
    /// The order's key.
    pub key: String,
    /// What is trained.
    pub shard: FinetuneJob,
}

/// What every attempt at the training starts with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PreparedTraining {
    /// The placeholders' values, `resume_dir` and `output_dir` aside.
    pub(super) values: Values,
    /// What is worth telling: rows that are too long.
    pub(super) message: Option<String>,
}

/// The trainer that runs, or ran last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TrainerProcess {
    /// The wrapper's id, and that of its group.
    pub(super) pid: i32,
    /// When it started, in clock ticks since the machine did.
    pub(super) start_ticks: Option<u64>,
    /// Drawn by the kernel at each start of the machine.
    pub(super) boot_id: String,
    /// The machine.
    pub(super) host: String,
    /// What it has between TERM and KILL, in milliseconds.
    pub(super) grace_ms: u64,
}

/// Who holds it works on the training: whoever prepares it, then the trainer itself.
#[derive(Debug)]
pub(super) struct WorkLock(pub(super) File);

impl WorkDir {
    /// The folder of that key; none: the key is no folder's name.
    pub(super) fn of(dir: &Path, key: &str) -> Option<WorkDir> {
        let is_plain = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let is_fit = is_plain && !key.is_empty() && key.len() <= LONGEST_KEY && key != PLACE;
        is_fit.then(|| WorkDir { root: dir.join(key) })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// A file or folder in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(super) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root)
    }

    /// Takes the lock; none: somebody has it.
    pub(super) fn lock(&self, name: &str) -> io::Result<Option<WorkLock>> {
        let path = self.path(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(WorkLock(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Whether somebody holds the lock.
    pub(super) fn is_held(&self) -> io::Result<bool> {
        let file = match File::options().write(true).open(self.path("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // Shared, so that two who look do not take each other for a trainer.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The JSON file of that name; none: it is not there, or not what it should be.
    fn json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    pub(super) fn write_json<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        write_whole(&self.path(name), &serde_json::to_vec(value)?)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        fs::read_to_string(self.path(name)).ok()?.trim().parse().ok()
    }

    /// What it is for.
    pub(super) fn order(&self) -> Option<UnfinishedTraining> {
        self.json("order.json")
    }

    pub(super) fn prepared(&self) -> Option<PreparedTraining> {
        self.json("prepared.json")
    }

    /// A digest of the trainer as it was defined when it was started last.
    pub(super) fn definition(&self) -> Option<String> {
        fs::read_to_string(self.path("definition")).ok()
    }

    /// When the training ended.
    pub(super) fn ended_at(&self) -> Option<SystemTime> {
        fs::metadata(self.path("outcome.json")).ok()?.modified().ok()
    }

    /// How often the trainer was started.
    pub(super) fn attempts(&self) -> u32 {
        self.number("attempts").unwrap_or(0)
    }

    /// The trainer that runs or ran last. Its wrapper writes down its id itself, before anything else: a worker that dies
    /// right after starting it leaves no `proc.json`.
    pub(super) fn proc(&self) -> Option<TrainerProcess> {
        let known: Option<TrainerProcess> = self.json("proc.json");
        known.or_else(|| {
            Some(TrainerProcess {
                pid: self.number("pid")?,
                start_ticks: None,
                boot_id: super::procfs::boot_id(),
                host: super::procfs::host(),
                grace_ms: u64::try_from(super::config::DEFAULT_GRACE.as_millis()).unwrap_or(u64::MAX),
            })
        })
    }

    /// The trainer's exit code, where it has ended by itself.
    pub(super) fn exit_code(&self) -> Option<i32> {
        self.number("exit_code")
    }

    /// Why we stop it, if we do.
    pub(super) fn stop(&self) -> Option<StopCause> {
        self.json("stop.json")
    }

    pub(super) fn outcome(&self) -> Option<TrainingState> {
        self.json("outcome.json")
    }

    /// Removes what is there under that name, file or folder.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The file that names the place: part of each training's id.
pub(super) const PLACE: &str = "place";

/// The folders of all trainings of `dir`.
pub(super) fn all(dir: &Path) -> Vec<WorkDir> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let keys = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<WorkDir> = keys
        .filter_map(|key| WorkDir::of(dir, &key))
        .filter(|w| w.root.is_dir())
        .collect();
    found.sort_by(|a, b| a.root.cmp(&b.root));
    found
}

/// What was begun in `dir` and is not tidied up: for a worker that starts again.
pub(in crate::finetune) fn unfinished(dir: &Path) -> Vec<UnfinishedTraining> {
    let begun = all(dir).into_iter().filter(|work| !work.has("ended"));
    begun.filter_map(|work| work.order()).collect()
}

/// The name of the place `dir`, made when first asked for: the machine, and something drawn.
pub(super) fn place(dir: &Path) -> io::Result<String> {
    let path = dir.join(PLACE);
    let read = || fs::read_to_string(&path).map(|text| text.trim().to_owned());
    match read() {
        Ok(place) if !place.is_empty() => return Ok(place),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(dir)?;
    let host: String = super::procfs::host()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let drawn = format!("{host}-{:016x}", fastrand::u64(..));
    let tmp = dir.join(format!("{PLACE}.{drawn}"));
    fs::write(&tmp, &drawn)?;
    // Whoever links first has named it.
    let linked = fs::hard_link(&tmp, &path);
    fs::remove_file(&tmp)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(),
    }
}
