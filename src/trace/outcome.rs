//! What an attempt produced, as the store keeps it.

/// A task's outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A line of `traces.jsonl`.
    Trace(String),
    /// A line of `failures.jsonl`.
    Failure(String),
    /// How a training ended, as JSON.
    Training(String),
}

/// The bytes are no outcome of this version.
#[derive(Debug, thiserror::Error)]
#[error("not an outcome of this version")]
pub struct NotAnOutcome;

const TRACE: u8 = b'T';
const FAILURE: u8 = b'F';
const TRAINING: u8 = b'M';

impl Outcome {
    /// The line, then a tag.
    pub fn encode(self) -> Vec<u8> {
        let (tag, line) = match self {
            Outcome::Trace(line) => (TRACE, line),
            Outcome::Failure(line) => (FAILURE, line),
            Outcome::Training(json) => (TRAINING, json),
        };
        let mut bytes = line.into_bytes();
        // At the end, so that the line need not move.
        bytes.push(tag);
        bytes
    }

    /// Reads what [`Outcome::encode`] wrote.
    pub fn decode(mut bytes: Vec<u8>) -> Result<Outcome, NotAnOutcome> {
        let tag = bytes.pop().ok_or(NotAnOutcome)?;
        let line = String::from_utf8(bytes).map_err(|_| NotAnOutcome)?;
        match tag {
            TRACE => Ok(Outcome::Trace(line)),
            FAILURE => Ok(Outcome::Failure(line)),
            TRAINING => Ok(Outcome::Training(line)),
            _ => Err(NotAnOutcome),
        }
    }
}
