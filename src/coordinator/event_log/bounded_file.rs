//! A file of lines with a size limit. When it is full, it is renamed to the earlier file, which it replaces.

use crate::run_dir::file_options;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::PathBuf;

/// The most bytes of one file. It holds days of a run whose rates change all the time.
const MOST_BYTES: u64 = 16 << 20;

/// The block size for finding the last line feed.
const BLOCK: u64 = 4096;

/// The file, open for appending.
#[derive(Debug)]
pub(super) struct BoundedFile {
    path: PathBuf,
    earlier: PathBuf,
    file: File,
    bytes: u64,
    most: u64,
}

impl BoundedFile {
    /// Opens the file and truncates it after its last line feed.
    pub(super) fn open(path: PathBuf, earlier: PathBuf) -> io::Result<BoundedFile> {
        BoundedFile::with_most(path, earlier, MOST_BYTES)
    }

    pub(super) fn with_most(path: PathBuf, earlier: PathBuf, most: u64) -> io::Result<BoundedFile> {
        let mut file = file_options(&path)?.append(true).read(true).open(&path)?;
        let bytes = whole_lines(&mut file)?;
        file.set_len(bytes)?;
        Ok(BoundedFile {
            path,
            earlier,
            file,
            bytes,
            most,
        })
    }

    /// Appends a line, with its line feed in the same write.
    ///
    /// # Errors
    ///
    /// Returns the error of the write. An incomplete line is removed from the file.
    pub(super) fn append(&mut self, line: &str) -> io::Result<()> {
        let line = format!("{line}\n");
        let len = line.len() as u64;
        if self.bytes > 0 && self.bytes + len > self.most {
            fs::rename(&self.path, &self.earlier)?;
            self.file = file_options(&self.path)?.append(true).open(&self.path)?;
            self.bytes = 0;
        }
        let written = self.file.write_all(line.as_bytes());
        match written {
            Ok(()) => self.bytes += len,
            // The disk may be full: half a line would make the next one unreadable.
            Err(_) => self.file.set_len(self.bytes)?,
        }
        written
    }
}

/// The length of the file up to its last line feed.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        block.resize((end - start) as usize, 0);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(at) = block.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &tempfile::TempDir) -> BoundedFile {
        let path = dir.path().join("events.jsonl");
        BoundedFile::with_most(path, dir.path().join("events.earlier.jsonl"), 20).expect("a file")
    }

    fn read(dir: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(dir.path().join(name)).expect("a file")
    }

    #[test]
    fn full_file_replaces_the_earlier_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let mut file = open(&dir);
        for line in ["one 45678", "two 45678", "three 678", "four 5678", "five 5678"] {
            file.append(line).expect("written");
        }
        assert_eq!(read(&dir, "events.jsonl"), "five 5678\n");
        assert_eq!(read(&dir, "events.earlier.jsonl"), "three 678\nfour 5678\n");
        let mut file = open(&dir);
        file.append("six").expect("written");
        assert_eq!(read(&dir, "events.jsonl"), "five 5678\nsix\n");
    }

    #[test]
    fn open_cuts_off_an_incomplete_last_line() {
        let dir = tempfile::tempdir().expect("a folder");
        for (left, kept) in [
            ("", ""),
            ("whole\n", "whole\n"),
            ("whole\nhalf", "whole\n"),
            ("half", ""),
        ] {
            fs::write(dir.path().join("events.jsonl"), left).expect("written");
            open(&dir).append("next").expect("written");
            assert_eq!(read(&dir, "events.jsonl"), format!("{kept}next\n"), "{left:?}");
        }
        let long = "x".repeat(3 * BLOCK as usize);
        fs::write(dir.path().join("events.jsonl"), format!("whole\n{long}")).expect("written");
        drop(open(&dir));
        assert_eq!(read(&dir, "events.jsonl"), "whole\n");
    }
}
