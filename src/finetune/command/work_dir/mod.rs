//! The folder of one training, `DIR/KEY`: its files, their names and their formats.

pub(super) mod progress;
pub(super) mod state;

use crate::finetune::command::procfs;
use crate::finetune::command::template::values::Values;
use crate::finetune::{FinetuneJob, ProviderError, TrainingState};
use crate::run_dir::write_whole;
use crate::task::RunId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// File names that bsft uses itself; `files` of a trainer must not use them.
pub(crate) const OWN_NAMES: [&str; 27] = [
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

/// The output folder of a trainer until its result has been checked.
pub(crate) const UNFINISHED: &str = "unfinished";

/// The default time between TERM and KILL: enough to write a checkpoint of a model with a few billion parameters.
pub(crate) const DEFAULT_GRACE: Duration = Duration::from_secs(30);

/// The maximum length of a key in characters: a key names a folder.
const MAX_KEY_CHARS: usize = 128;

/// The folder of one training. Reads and writes its small files; decides nothing.
#[derive(Clone, Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
}

/// A training whose folder has not been cleaned up, with what a worker needs to resume its task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UnfinishedTraining {
    /// The run that requested it.
    pub run: RunId,
    /// The idempotency key of the request.
    pub key: String,
    /// The fine-tune job.
    pub shard: FinetuneJob,
}

/// Why bsft stops a training. Stored before the first signal: a trainer that exits with 0 after the signal has no valid result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StopCause {
    /// Its run was cancelled.
    Cancelled,
    /// It exceeded a time limit, described here.
    Late(String),
}

impl StopCause {
    /// The state of a training that was stopped for this reason.
    pub(crate) fn outcome(self) -> TrainingState {
        match self {
            StopCause::Cancelled => TrainingState::Cancelled,
            StopCause::Late(why) => TrainingState::Failed(why),
        }
    }
}

/// The input of every attempt at the training: `prepared.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PreparedTraining {
    /// The values of all placeholders except `resume_dir` and `output_dir`.
    pub(crate) values: Values,
    /// A warning about rows that will be truncated.
    pub(crate) message: Option<String>,
}

/// The process of the current or the last trainer: `proc.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrainerProcess {
    /// The process id of the wrapper, which is also its group id.
    pub(crate) pid: i32,
    /// Its start time in clock ticks since boot. `None` when the worker died before it could read it.
    pub(crate) start_ticks: Option<u64>,
    /// The kernel's boot id, different after every reboot.
    pub(crate) boot_id: String,
    /// The host name of its machine.
    pub(crate) host: String,
    /// The time between TERM and KILL in milliseconds.
    pub(crate) grace_ms: u64,
}

/// The lock on a training's folder, held by the worker that prepares the training, then by the trainer.
#[derive(Debug)]
pub(crate) struct WorkLock(pub(crate) File);

impl WorkDir {
    /// The folder of that key. `None` when the key cannot be a folder name.
    pub(crate) fn for_key(dir: &Path, key: &str) -> Option<WorkDir> {
        let has_plain_characters = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let is_valid =
            has_plain_characters && !key.is_empty() && key.len() <= MAX_KEY_CHARS && key != FOLDER_ID_FILE;
        is_valid.then(|| WorkDir { root: dir.join(key) })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a file or folder in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.root)
    }

    /// Acquires the lock file of that name. `None` while another process holds it.
    pub(crate) fn lock(&self, name: &str) -> io::Result<Option<WorkLock>> {
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

    /// Whether a process holds the lock on the folder.
    pub(crate) fn is_held(&self) -> io::Result<bool> {
        let file = match File::options().write(true).open(self.path("lock")) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // A shared lock, so that two workers that check at once do not take each other for a trainer.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Reads the JSON file of that name. `None` when it is missing or has another format.
    fn json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(name)).ok()?).ok()
    }

    pub(crate) fn write_json<T: Serialize>(&self, name: &str, value: &T) -> io::Result<()> {
        write_whole(&self.path(name), &serde_json::to_vec(value)?)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        fs::read_to_string(self.path(name)).ok()?.trim().parse().ok()
    }

    /// The run, key and job of the training.
    pub(crate) fn request(&self) -> Option<UnfinishedTraining> {
        self.json("order.json")
    }

    pub(crate) fn prepared(&self) -> Option<PreparedTraining> {
        self.json("prepared.json")
    }

    /// The digest of the trainer's definition when it was last started.
    pub(crate) fn definition(&self) -> Option<String> {
        fs::read_to_string(self.path("definition")).ok()
    }

    /// When the outcome was stored.
    pub(crate) fn ended_at(&self) -> Option<SystemTime> {
        fs::metadata(self.path("outcome.json")).ok()?.modified().ok()
    }

    /// How many times the trainer was started.
    pub(crate) fn attempts(&self) -> u32 {
        self.number("attempts").unwrap_or(0)
    }

    /// The current or the last trainer. Its wrapper writes `pid` before anything else, because a worker that dies right after
    /// it started the trainer leaves no `proc.json`.
    pub(crate) fn proc(&self) -> Option<TrainerProcess> {
        let stored: Option<TrainerProcess> = self.json("proc.json");
        stored.or_else(|| {
            Some(TrainerProcess {
                pid: self.number("pid")?,
                start_ticks: None,
                boot_id: procfs::boot_id(),
                host: procfs::host(),
                grace_ms: u64::try_from(DEFAULT_GRACE.as_millis()).unwrap_or(u64::MAX),
            })
        })
    }

    /// The exit code of a trainer that has ended.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        self.number("exit_code")
    }

    /// Why bsft stops the training. `None` if it does not.
    pub(crate) fn stop(&self) -> Option<StopCause> {
        self.json("stop.json")
    }

    pub(crate) fn outcome(&self) -> Option<TrainingState> {
        self.json("outcome.json")
    }

    /// Maps an I/O error in this folder to a transient provider error: a full disk may be freed.
    pub(crate) fn io_error(&self) -> impl Fn(io::Error) -> ProviderError + use<> {
        let root = self.root.clone();
        move |error| ProviderError::Passing(format!("{}: {error}", root.display()))
    }

    /// Removes the file or folder of that name. Succeeds when it is missing.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
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

/// The file with the id of a trainings folder, which is part of every training id.
pub(crate) const FOLDER_ID_FILE: &str = "place";

/// The folders of all trainings in `dir`.
pub(crate) fn all_in(dir: &Path) -> Vec<WorkDir> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let keys = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<WorkDir> = keys
        .filter_map(|key| WorkDir::for_key(dir, &key))
        .filter(|w| w.root.is_dir())
        .collect();
    found.sort_by(|a, b| a.root.cmp(&b.root));
    found
}

/// The trainings in `dir` that were started and not cleaned up. A restarted worker resumes them.
pub(in crate::finetune) fn unfinished(dir: &Path) -> Vec<UnfinishedTraining> {
    let open = all_in(dir).into_iter().filter(|work| !work.has("ended"));
    open.filter_map(|work| work.request()).collect()
}

/// The id of the trainings folder `dir`: the host name and a random number. Created on the first call.
pub(crate) fn folder_id(dir: &Path) -> io::Result<String> {
    let path = dir.join(FOLDER_ID_FILE);
    let read = || fs::read_to_string(&path).map(|text| text.trim().to_owned());
    match read() {
        Ok(id) if !id.is_empty() => return Ok(id),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(dir)?;
    let host: String = procfs::host()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .collect();
    let id = format!("{host}-{:016x}", fastrand::u64(..));
    let tmp = dir.join(format!("{FOLDER_ID_FILE}.{id}"));
    fs::write(&tmp, &id)?;
    // The first process that creates the link determines the id.
    let linked = fs::hard_link(&tmp, &path);
    fs::remove_file(&tmp)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => read(),
    }
}
