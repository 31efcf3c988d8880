//! What travels on the lanes. Straight data: a worker never runs anything that a message names.
//!
//! A message of another version, or that is no message at all, is refused with what was wrong.

use crate::task::{RunId, TaskId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version of every message's layout.
pub const MESSAGE_VERSION: u32 = 2;

/// Run one teacher on one example. Its bytes are a line of JSON, then the example's JSON as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BootstrapTask {
    /// [`MESSAGE_VERSION`].
    pub v: u32,
    /// The run, as the store knows it.
    pub run: RunId,
    /// Digest of the run's job spec: a task of a job that has changed since is void.
    pub job: String,
    /// The task.
    pub task: TaskId,
    /// Index of the teacher.
    pub teacher: u32,
    /// Index of the example in the trainset.
    pub example: u32,
    /// Digest of the example's labels: a trace is stale when they have changed.
    pub labels: u64,
    /// The example's columns, labels included: a JSON object, Python's NaN and Infinity included.
    #[serde(skip)]
    pub data: String,
}

impl BootstrapTask {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = encode(self);
        bytes.push(b'\n');
        bytes.extend_from_slice(self.data.as_bytes());
        bytes
    }

    /// Reads the message.
    pub fn decode(body: &[u8]) -> Result<BootstrapTask, Refusal> {
        let mut parts = body.splitn(2, |byte| *byte == b'\n');
        let head = parts.next().unwrap_or_default();
        let mut task: BootstrapTask = decode(head)?;
        let data = parts.next().unwrap_or_default();
        task.data = String::from_utf8(data.to_vec()).map_err(|_| Refusal::NotText)?;
        Ok(task)
    }
}

/// Train one LM on one file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneTask {
    /// [`MESSAGE_VERSION`].
    pub v: u32,
    /// The run, as the store knows it.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// What is to be trained, on what.
    pub shard: crate::finetune::FinetuneJob,
}

/// Say whether a training would fail for a reason that is there already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreflightTask {
    /// [`MESSAGE_VERSION`].
    pub v: u32,
    /// The run, as the store knows it.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// What would be trained, how and by whom.
    pub recipe: crate::finetune::TrainingSpec,
}

/// What waits in the finetune lane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum FinetuneMessage {
    /// A training.
    Train(FinetuneTask),
    /// A look ahead.
    Preflight(PreflightTask),
}

/// A task of the run has something to tell; it is in the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// [`MESSAGE_VERSION`].
    pub v: u32,
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
}

/// Why a message was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Another bsft's message: left for a worker that knows it.
    #[error("message version {theirs}, this worker knows {MESSAGE_VERSION}")]
    OtherVersion {
        /// The version that the message names.
        theirs: u32,
    },
    /// Not ours: goes to the dead letters.
    #[error("not a message of ours: {0}")]
    Foreign(#[from] serde_json::Error),
    /// An example that is not UTF-8: goes to the dead letters.
    #[error("not a message of ours: the example is not UTF-8")]
    NotText,
}

/// The bytes of a message.
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages are plain data with string keys")
}

/// Reads a message.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    match serde_json::from_slice(body) {
        Ok(message) => Ok(message),
        Err(error) => match serde_json::from_slice::<Version>(body) {
            Ok(Version { v }) if v != MESSAGE_VERSION => Err(Refusal::OtherVersion { theirs: v }),
            _ => Err(Refusal::Foreign(error)),
        },
    }
}
