//! Messages on the queues. They are plain data: a worker never executes anything that a message names.
//!
//! A message of another version, or in another format, is refused with the cause.

use crate::task::{RunId, TaskId};
use crate::training_file::TrainingFile;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of the layout of [`BootstrapTask`] and [`Completion`].
pub const MESSAGE_VERSION: u32 = 2;

/// The version of the layout of [`FinetuneMessage`]. Version 2 carried the settings of the training.
pub const FINETUNE_VERSION: u32 = 3;

/// A message whose layout has a version.
pub trait Versioned: Serialize + DeserializeOwned {
    /// The version that this process writes and reads.
    const VERSION: u32;
}

impl Versioned for BootstrapTask {
    const VERSION: u32 = MESSAGE_VERSION;
}

impl Versioned for Completion {
    const VERSION: u32 = MESSAGE_VERSION;
}

impl Versioned for FinetuneMessage {
    const VERSION: u32 = FINETUNE_VERSION;
}

/// Run one example with one teacher. Its encoding is a line of JSON, followed by the example's JSON
/// verbatim.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootstrapTask {
    /// [`MESSAGE_VERSION`].
    pub v: u32,
    pub run: RunId,
    /// Digest of the run's job spec. A task whose job has changed since is void.
    pub job: String,
    pub task: TaskId,
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example in the trainset.
    pub example: u32,
    /// Digest of the example's labels: a trace is stale when they have changed.
    pub labels: u64,
    /// Whether the teacher's LMs answered before the coordinator started.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered: bool,
    /// Whether the coordinator reads the notes beside an outcome. One of version 0.1.0 does not.
    #[serde(default)]
    pub notes: bool,
    /// The example's columns, labels included: a JSON object, Python's NaN and Infinity included.
    #[serde(skip)]
    pub data: String,
}

impl BootstrapTask {
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = encode(self);
        bytes.push(b'\n');
        bytes.extend_from_slice(self.data.as_bytes());
        bytes
    }

    pub fn decode(body: &[u8]) -> Result<BootstrapTask, Refusal> {
        let mut parts = body.splitn(2, |byte| *byte == b'\n');
        let head = parts.next().unwrap_or_default();
        let mut task: BootstrapTask = decode(head)?;
        let data = parts.next().unwrap_or_default();
        task.data = String::from_utf8(data.to_vec()).map_err(|_| Refusal::NotText)?;
        Ok(task)
    }
}

/// Train one LM on one shard. The job in the store has the model and the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneTask {
    /// [`FINETUNE_VERSION`].
    pub v: u32,
    pub run: RunId,
    /// Digest of the run's job. A task whose job has changed since is void.
    pub job: String,
    pub task: TaskId,
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor of the rows; `None` for all of them.
    pub predictor: Option<String>,
    /// The training rows.
    pub data: TrainingFile,
    /// The validation rows.
    pub validation: Option<TrainingFile>,
}

/// Check whether a training would fail for a cause that exists already. The job in the store has the model and the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreflightTask {
    /// [`FINETUNE_VERSION`].
    pub v: u32,
    pub run: RunId,
    /// Digest of the run's job. A task whose job has changed since is void.
    pub job: String,
    pub task: TaskId,
    /// The LM's name in the job file.
    pub lm: String,
    /// The predictor of the rows; `None` for all of them.
    pub predictor: Option<String>,
}

/// A message of the finetune queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum FinetuneMessage {
    Train(FinetuneTask),
    Preflight(PreflightTask),
}

/// A task of the run has a result in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// [`MESSAGE_VERSION`].
    pub v: u32,
    pub run: RunId,
    pub task: TaskId,
}

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Written by another bsft version: requeued for a worker of that version.
    #[error("message version {theirs}, this worker knows {ours}")]
    OtherVersion { theirs: u32, ours: u32 },
    /// Not a bsft message: rejected to the dead letters.
    #[error("not a bsft message: {0}")]
    Foreign(#[from] serde_json::Error),
    /// The example is not UTF-8: rejected to the dead letters.
    #[error("not a bsft message: the example is not UTF-8")]
    NotText,
}

/// The run that a message of any version belongs to. `None` if it names none.
pub fn run_of(body: &[u8]) -> Option<RunId> {
    #[derive(Deserialize)]
    struct OfRun {
        run: RunId,
    }
    let head = body.split(|byte| *byte == b'\n').next()?;
    let of = serde_json::from_slice::<OfRun>(head).ok()?;
    Some(of.run)
}

pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages are plain data with string keys")
}

/// Parses a message; a failure caused by its version is [`Refusal::OtherVersion`].
pub fn decode<T: Versioned>(body: &[u8]) -> Result<T, Refusal> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    match serde_json::from_slice(body) {
        Ok(message) => Ok(message),
        Err(error) => match serde_json::from_slice::<Version>(body) {
            Ok(Version { v }) if v != T::VERSION => Err(Refusal::OtherVersion {
                theirs: v,
                ours: T::VERSION,
            }),
            _ => Err(Refusal::Foreign(error)),
        },
    }
}
