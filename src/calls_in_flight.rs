//! `calls-in-flight` in DIR: the LM calls whose answers are not recorded yet. The next process counts those of a killed one.
//!
//! A call is marked before its request is sent. The mark is erased when the answer is durable, or when the server has refused the request.
//! A mark is one write to the page cache: it survives `kill -9`, but not a power loss. The next process of the run reads the marks that are
//! left, enters them in `spend.jsonl`, and clears the file.

use crate::lock::lock;
use crate::run_dir::file_options;
use crate::system_error::explained;
use crate::task::TaskId;
use crate::trace::TokenBound;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::warn;

/// Bytes of a mark, with its line feed.
const WIDTH: usize = 256;

/// The most bytes of an LM's name in a mark.
const NAME: usize = 64;

/// A call that was sent and whose result is unknown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentCall {
    pub task: TaskId,
    /// The number of the call in its task.
    pub call: u32,
    /// The LM's name in the job file, shortened.
    pub lm: String,
    /// When it was sent, in milliseconds since the Unix epoch.
    pub sent_ms: u64,
    #[serde(flatten)]
    pub bound: TokenBound,
}

/// The file, open for writing.
#[derive(Debug)]
pub struct CallsInFlight {
    file: File,
    /// Places without a mark. Locked for look-ups only.
    free: Mutex<FreePlaces>,
    /// Whether a mark could not be written.
    has_failed: AtomicBool,
}

#[derive(Debug, Default)]
struct FreePlaces {
    erased: Vec<u32>,
    /// The first place that was never used.
    next: u32,
}

/// The place of one call in the file. If it is dropped before [`CallMark::ended`], the mark stays: the answer was not recorded.
#[derive(Debug)]
pub struct CallMark<'a> {
    calls: &'a CallsInFlight,
    task: TaskId,
    call: u32,
    lm: &'a str,
    /// `None` while no request is in flight.
    place: Option<u32>,
}

impl CallsInFlight {
    /// Opens the file and leaves the marks in it.
    ///
    /// # Errors
    ///
    /// Returns the error of opening the file.
    pub fn open(path: &Path) -> io::Result<CallsInFlight> {
        let file = file_options(path)?.read(true).write(true).open(path)?;
        // Existing marks are read and cleared before this process makes a call.
        Ok(CallsInFlight {
            file,
            free: Mutex::default(),
            has_failed: AtomicBool::new(false),
        })
    }

    /// The calls that earlier processes left. Skips lines that are not marks of this version.
    ///
    /// # Errors
    ///
    /// Returns an error if the file exists and cannot be read.
    pub fn left(path: &Path) -> io::Result<Vec<SentCall>> {
        match fs::read(path) {
            Ok(bytes) => {
                let lines = bytes.split(|byte| *byte == b'\n');
                Ok(lines.filter_map(mark).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Erases all marks, before this process makes a call.
    ///
    /// # Errors
    ///
    /// Returns an error if the file exists and cannot be truncated.
    pub fn clear(path: &Path) -> io::Result<()> {
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => file.set_len(0),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A place for a call that is not sent yet.
    pub fn call<'a>(&'a self, task: TaskId, call: u32, lm: &'a str) -> CallMark<'a> {
        CallMark {
            calls: self,
            task,
            call,
            lm,
            place: None,
        }
    }

    fn free(&self) -> MutexGuard<'_, FreePlaces> {
        lock(&self.free)
    }

    /// Writes a mark or erases it. A failed write stops no call, because a full disk ends the run anyway.
    fn write(&self, place: u32, bytes: &[u8]) {
        let written = self.file.write_all_at(bytes, u64::from(place) * WIDTH as u64);
        if let Err(error) = written
            && !self.has_failed.swap(true, Ordering::Relaxed)
        {
            warn!(error = explained(&error), "LM calls in flight are not marked");
        }
    }
}

impl CallMark<'_> {
    /// Marks the call, before its request with this body is sent.
    pub fn sent(&mut self, body: &str) {
        let place = *self.place.get_or_insert_with(|| self.calls.free().take());
        let sent = SentCall {
            task: self.task,
            call: self.call,
            lm: shortened(self.lm).to_owned(),
            sent_ms: unix_milliseconds(),
            bound: TokenBound::from_body(body),
        };
        let mut mark = serde_json::to_vec(&sent).expect("a mark is plain data");
        // A mark whose name has many escapes is cut off here, and is skipped when it is read.
        mark.resize(WIDTH - 1, b' ');
        mark.push(b'\n');
        self.calls.write(place, &mark);
    }

    /// Erases the mark: the answer is durable, or the request was refused without cost.
    pub fn ended(&mut self) {
        if let Some(place) = self.place.take() {
            // A line that does not begin as a mark is skipped.
            self.calls.write(place, b" ");
            self.calls.free().erased.push(place);
        }
    }
}

impl FreePlaces {
    fn take(&mut self) -> u32 {
        self.erased.pop().unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        })
    }
}

/// The call of a line; `None` for an erased mark and for a line that is not a mark of this version.
fn mark(line: &[u8]) -> Option<SentCall> {
    serde_json::from_slice(line)
        .ok()
        .filter(|_| line.first() == Some(&b'{'))
}

/// The first [`NAME`] bytes, up to a character boundary.
fn shortened(name: &str) -> &str {
    let mut end = name.len().min(NAME);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId([7; 16]);
    const BODY: &str =
        r#"{"model":"m","messages":[{"role":"user","content":"\"max_tokens\": 9"}],"max_tokens":100}"#;

    fn open() -> (tempfile::TempDir, CallsInFlight) {
        let folder = tempfile::tempdir().expect("a folder");
        let calls = CallsInFlight::open(&folder.path().join("calls")).expect("a file");
        (folder, calls)
    }

    fn left(folder: &tempfile::TempDir) -> Vec<u32> {
        let left = CallsInFlight::left(&folder.path().join("calls")).expect("readable");
        left.iter().map(|sent| sent.call).collect()
    }

    #[test]
    fn left_returns_the_calls_that_did_not_end() {
        let (folder, calls) = open();
        let mut marks: Vec<CallMark<'_>> = (0..4).map(|call| calls.call(TASK, call, "teacher")).collect();
        for mark in &mut marks[..3] {
            mark.sent(BODY);
        }
        marks[1].ended();
        drop(marks);
        assert_eq!(left(&folder), [0, 2]);
        // The place of a call that ended is used again, that of a dropped one is not.
        let mut next = calls.call(TASK, 9, "teacher");
        next.sent(BODY);
        next.sent(BODY);
        assert_eq!(left(&folder), [0, 9, 2]);
        CallsInFlight::clear(&folder.path().join("calls")).expect("cleared");
        assert_eq!(left(&folder), [0; 0]);
    }

    #[test]
    fn mark_has_the_token_bound_of_the_call() {
        let (folder, calls) = open();
        let name = "é".repeat(200);
        calls.call(TASK, 3, &name).sent(BODY);
        let left = CallsInFlight::left(&folder.path().join("calls")).expect("readable");
        let bound = TokenBound {
            prompt_tokens: BODY.len() as u64,
            completion_tokens: Some(100),
        };
        assert_eq!((left[0].task, left[0].bound), (TASK, bound));
        assert!(name.starts_with(&left[0].lm) && left[0].lm.len() == NAME);
    }
}
