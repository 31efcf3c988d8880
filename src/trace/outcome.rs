//! What an attempt produced, as the store keeps it.

use super::AnswerNotes;

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

/// The same with notes, which follow the line after a line feed.
const NOTED_TRACE: u8 = b't';
const NOTED_FAILURE: u8 = b'f';

impl Outcome {
    /// The line, then a tag.
    pub fn encode(self) -> Vec<u8> {
        self.encode_with(&AnswerNotes::default())
    }

    /// The line, the notes, then a tag. A training has no notes.
    pub fn encode_with(self, notes: &AnswerNotes) -> Vec<u8> {
        let is_noted = !notes.is_empty();
        let (tag, line) = match self {
            Outcome::Trace(line) if is_noted => (NOTED_TRACE, line),
            Outcome::Trace(line) => (TRACE, line),
            Outcome::Failure(line) if is_noted => (NOTED_FAILURE, line),
            Outcome::Failure(line) => (FAILURE, line),
            Outcome::Training(json) => (TRAINING, json),
        };
        let mut bytes = line.into_bytes();
        if matches!(tag, NOTED_TRACE | NOTED_FAILURE) {
            bytes.push(b'\n');
            let written = serde_json::to_writer(&mut bytes, notes);
            written.expect("notes are plain data, and memory takes them");
        }
        // At the end, so that the line need not move.
        bytes.push(tag);
        bytes
    }

    /// Reads what [`Outcome::encode`] or [`Outcome::encode_with`] wrote.
    pub fn decode(mut bytes: Vec<u8>) -> Result<(Outcome, AnswerNotes), NotAnOutcome> {
        let tag = bytes.pop().ok_or(NotAnOutcome)?;
        let mut line = String::from_utf8(bytes).map_err(|_| NotAnOutcome)?;
        let mut notes = AnswerNotes::default();
        if matches!(tag, NOTED_TRACE | NOTED_FAILURE) {
            // A line has no line feed.
            let (end, noted) = line
                .rsplit_once('\n')
                .map(|(line, noted)| (line.len(), noted))
                .ok_or(NotAnOutcome)?;
            notes = serde_json::from_str(noted).map_err(|_| NotAnOutcome)?;
            line.truncate(end);
        }
        let outcome = match tag {
            TRACE | NOTED_TRACE => Outcome::Trace(line),
            FAILURE | NOTED_FAILURE => Outcome::Failure(line),
            TRAINING => Outcome::Training(line),
            _ => return Err(NotAnOutcome),
        };
        Ok((outcome, notes))
    }
}
