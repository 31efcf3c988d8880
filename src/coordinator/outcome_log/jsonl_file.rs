//! One append-only file of JSON lines: buffered appends, reads by offset, and a rewrite into task order.

use crate::run_dir::{create_new_file, file_options, take_place, unfinished};
use serde::Serialize;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Bytes that are collected before a write.
pub(super) const FLUSH_BYTES: usize = 1 << 20;

/// A file of the outcome log cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct OutcomeLogError {
    /// The file.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// A file of JSON lines, open for appending.
pub(super) struct JsonlFile {
    path: PathBuf,
    file: File,
    /// The file's length.
    end: u64,
    /// Lines that were pushed and not yet written.
    buffer: Vec<u8>,
}

impl JsonlFile {
    pub(super) fn open(path: PathBuf) -> Result<JsonlFile, OutcomeLogError> {
        let file = file_options(&path).and_then(|mut options| options.read(true).write(true).open(&path));
        let file = file.map_err(with_path(&path))?;
        let end = file.metadata().map_err(with_path(&path))?.len();
        Ok(JsonlFile {
            path,
            file,
            end,
            buffer: Vec::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Drops what follows `end`: half a line that a killed process left behind.
    pub(super) fn truncate(&mut self, end: u64) -> Result<(), OutcomeLogError> {
        if end < self.end {
            self.file.set_len(end).map_err(with_path(&self.path))?;
            self.end = end;
        }
        Ok(())
    }

    /// Adds a line to the buffer, or a long one to the file. Returns the offset that it gets in the file.
    pub(super) fn push(&mut self, line: &str) -> Result<u64, OutcomeLogError> {
        if line.len() >= FLUSH_BYTES {
            self.flush()?;
            let offset = self.end;
            self.write(line.as_bytes())?;
            self.write(b"\n")?;
            return Ok(offset);
        }
        let offset = self.end + self.buffer.len() as u64;
        self.buffer.extend_from_slice(line.as_bytes());
        self.buffer.push(b'\n');
        Ok(offset)
    }

    /// Adds a value as a line to the buffer.
    pub(super) fn push_json(&mut self, value: &impl Serialize) {
        serde_json::to_writer(&mut self.buffer, value).expect("strings and numbers serialise");
        self.buffer.push(b'\n');
    }

    /// How many bytes the buffer holds.
    pub(super) fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Hands the buffer to the operating system.
    pub(super) fn flush(&mut self) -> Result<(), OutcomeLogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let written = self.write(&buffer);
        if written.is_ok() {
            buffer.clear();
        }
        self.buffer = buffer;
        written
    }

    /// Appends to the file.
    fn write(&mut self, bytes: &[u8]) -> Result<(), OutcomeLogError> {
        self.file
            .write_all_at(bytes, self.end)
            .map_err(with_path(&self.path))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Waits until the flushed lines are on the disk.
    pub(super) async fn sync(&self) -> Result<(), OutcomeLogError> {
        let file = self.file.try_clone().map_err(with_path(&self.path))?;
        let synced = tokio::task::spawn_blocking(move || file.sync_data()).await;
        // The closure cannot panic; a runtime that is shutting down cancels it.
        synced
            .unwrap_or_else(|gone| Err(io::Error::other(gone)))
            .map_err(with_path(&self.path))
    }

    /// Reads the line of `len` bytes at `offset`.
    pub(super) fn line(&self, offset: u64, len: u32) -> Result<String, OutcomeLogError> {
        let mut bytes = vec![0; len as usize];
        self.file
            .read_exact_at(&mut bytes, offset)
            .map_err(with_path(&self.path))?;
        String::from_utf8(bytes).map_err(|error| with_path(&self.path)(io::Error::other(error)))
    }

    /// Writes the lines in the order of their tasks to a new file that takes this one's place; only syncs a file that has this order.
    ///
    /// `line_of` gives the offset and the length of a task's line in `index`; the length is 0 if the task has none. `moved` enters the
    /// line's new offset. Lines of no task are dropped. The buffer must be empty.
    pub(super) fn rewrite<I>(
        &mut self,
        tasks: usize,
        index: &mut I,
        line_of: impl Fn(&I, usize) -> (u64, u32),
        moved: impl Fn(&mut I, usize, u64),
    ) -> Result<(), OutcomeLogError> {
        debug_assert!(self.buffer.is_empty(), "a rewrite follows a flush");
        if self.is_in_order((0..tasks).map(|task| line_of(index, task))) {
            return self.file.sync_all().map_err(with_path(&self.path));
        }
        let tmp = unfinished(&self.path);
        let file = create_new_file(&tmp).map_err(with_path(&tmp))?;
        let mut out = BufWriter::with_capacity(FLUSH_BYTES, file);
        let (mut end, mut bytes) = (0, Vec::new());
        for task in 0..tasks {
            let (offset, len) = line_of(index, task);
            if len == 0 {
                continue;
            }
            bytes.resize(len as usize + 1, 0);
            self.file
                .read_exact_at(&mut bytes, offset)
                .map_err(with_path(&self.path))?;
            out.write_all(&bytes).map_err(with_path(&tmp))?;
            moved(index, task, end);
            end += bytes.len() as u64;
        }
        let file = out
            .into_inner()
            .map_err(|error| with_path(&tmp)(error.into_error()))?;
        file.sync_all().map_err(with_path(&tmp))?;
        take_place(&self.path).map_err(with_path(&self.path))?;
        self.file = file;
        self.end = end;
        Ok(())
    }

    /// Whether the file consists of exactly these lines, given as offset and length.
    fn is_in_order(&self, lines: impl Iterator<Item = (u64, u32)>) -> bool {
        let mut expected = 0;
        let are_adjacent = lines.filter(|(_, len)| *len > 0).all(|(offset, len)| {
            let is_next = offset == expected;
            expected += u64::from(len) + 1;
            is_next
        });
        are_adjacent && expected == self.end
    }
}

/// Calls `each` with the offset and the text of every complete line. Returns the end of the last one. A line that is not UTF-8 is
/// passed as an empty line, which no reader accepts.
pub(super) fn for_each_line(path: &Path, mut each: impl FnMut(u64, &str)) -> Result<u64, OutcomeLogError> {
    let file = File::open(path).map_err(with_path(path))?;
    let mut reader = BufReader::with_capacity(FLUSH_BYTES, file);
    let (mut offset, mut line) = (0, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(with_path(path))?;
        if line.pop() != Some(b'\n') {
            return Ok(offset);
        }
        each(offset, std::str::from_utf8(&line).unwrap_or(""));
        offset += read as u64;
    }
}

/// Names the file of an I/O error.
pub(super) fn with_path(path: &Path) -> impl FnOnce(io::Error) -> OutcomeLogError {
    let path = path.to_owned();
    move |source| OutcomeLogError { path, source }
}
