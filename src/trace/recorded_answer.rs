//! A recorded answer: what keeps a task that starts again from paying again.

use crate::lm::LmResponse;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the store keeps of an answer, in the slot of its place in the task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordedAnswer {
    /// [`question`] of what was asked: an answer to another question is never used.
    pub question: String,
    /// The LM's name in the job file; empty in records of version 0.1.0.
    #[serde(default)]
    pub lm: String,
    /// What came back.
    pub answer: LmResponse,
    /// How long it took, in milliseconds; `None` if that is not known, or the LM is simulated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency_ms: Option<u32>,
    /// The endpoint that gave it; `None` if the LM has only one, or that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

impl RecordedAnswer {
    /// The bytes that the store keeps.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers serialise")
    }
}

/// Digest of an LM's name and the messages it was sent. What else a request holds is the same for every request of a task's
/// id, but for the JSON retry's format, which follows from its messages.
pub fn question(lm: &str, messages: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(lm.as_bytes());
    digest.update([0]);
    digest.update(messages.as_bytes());
    crate::hex::hex(&digest.finalize()[..16])
}
