//! The file of the embedded store: a redb database used as a log with one row per commit, and the data that
//! outlives the log: long values, in pieces.
//!
//! Sequential keys and one value per commit keep the B-tree out of the cost of a call: 2.5 KB cost as much
//! as copying them. Rows are removed at the old end only; entries in them that are still live are rewritten
//! first, in the same transaction.

use super::index::{Index, IndexedRun};
use super::long_value::LongValue;
use crate::caught_panic::caught;
use crate::run_dir::file_options;
use crate::store::StoreError;
use crate::task::TaskId;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

/// Row number -> the last position assigned when it was written (8 bytes), then entries.
const LOG: TableDefinition<u64, &[u8]> = TableDefinition::new("log");
/// Number of a long value and of its piece -> the piece.
const LONG: TableDefinition<(u64, u32), &[u8]> = TableDefinition::new("long");
/// Sequence number -> run (4 bytes), then trimmed task ids (16 bytes each).
const DONE: TableDefinition<u64, &[u8]> = TableDefinition::new("done");
/// Run id -> its number.
const RUNS: TableDefinition<&str, u32> = TableDefinition::new("runs");
/// Run number -> its job.
const JOBS: TableDefinition<u32, &[u8]> = TableDefinition::new("jobs");
/// `format` -> the version of all tables.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");

/// The version that this code writes.
const FORMAT: u64 = 1;

/// Memory for redb. The log is read only at the start, so the cache serves the inner nodes of the trees
/// alone.
const CACHE_BYTES: usize = 16 << 20;

/// The bytes of a piece of a long value: with what redb adds, a page of 256 KiB. redb keeps some pages in memory until a commit.
const PIECE_BYTES: usize = (256 - 4) << 10;

/// How many bytes the log may exceed its live entries before its old half is rewritten. Rewriting one byte
/// per several written costs less than the file space it saves.
const LOG_SLACK_BYTES: usize = 8 << 20;

/// The content of one commit.
pub(super) struct Batch {
    pub(super) row_number: u64,
    pub(super) row: Vec<u8>,
    /// The last position assigned.
    pub(super) position: u64,
    pub(super) trimmed: Vec<(u32, TaskId)>,
    pub(super) runs: Vec<(String, u32)>,
    pub(super) jobs: Vec<(u32, Vec<u8>)>,
    /// Long values that the row mentions.
    pub(super) long: Vec<(LongValue, Vec<u8>)>,
    /// Long values that are needed no more once this is committed.
    pub(super) removed: Vec<LongValue>,
}

/// The open file. Only the writer thread has it.
///
/// redb panics on some damaged pages. Such a panic means that the file is damaged, as its errors do.
pub(super) struct LogFile {
    path: PathBuf,
    /// `None` only while it is closed.
    database: Option<Database>,
    /// Row numbers and sizes, oldest first.
    rows: VecDeque<(u64, usize)>,
    bytes: usize,
    next_done: u64,
}

impl LogFile {
    /// Opens or creates the file and reads it. Returns the runs' names by number last.
    pub(super) fn open(path: &Path) -> Result<(LogFile, Index, Vec<String>), StoreError> {
        caught(|| LogFile::read_from(path)).unwrap_or_else(|panic| Err(corrupt(path, panic)))
    }

    fn read_from(path: &Path) -> Result<(LogFile, Index, Vec<String>), StoreError> {
        // redb would create it for everyone to read.
        file_options(path)
            .and_then(|mut options| options.read(true).write(true).open(path))
            .map_err(|e| failed(path, redb::Error::Io(e)))?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        let database = builder.create(path).map_err(|e| match e {
            DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => StoreError::InUse {
                path: path.to_owned(),
            },
            DatabaseError::Storage(redb::StorageError::Corrupted(message)) => corrupt(path, message),
            DatabaseError::Storage(redb::StorageError::Io(e))
                if e.kind() == std::io::ErrorKind::InvalidData =>
            {
                corrupt(path, e.to_string())
            }
            DatabaseError::UpgradeRequired(_) => corrupt(path, e.to_string()),
            other => failed(path, other),
        })?;
        let mut file = LogFile {
            path: path.to_owned(),
            database: Some(database),
            rows: VecDeque::new(),
            bytes: 0,
            next_done: 0,
        };
        file.found_or_made()?;
        let (index, names) = file.read()?;
        Ok((file, index, names))
    }

    fn found_or_made(&self) -> Result<(), StoreError> {
        let made = || -> Result<u64, redb::Error> {
            let write = self.database().begin_write()?;
            let format = {
                let mut meta = write.open_table(META)?;
                let found = meta.get("format")?.map(|format| format.value());
                if found.is_none() {
                    meta.insert("format", FORMAT)?;
                }
                write.open_table(LOG)?;
                write.open_table(LONG)?;
                write.open_table(DONE)?;
                write.open_table(RUNS)?;
                write.open_table(JOBS)?;
                found.unwrap_or(FORMAT)
            };
            write.commit()?;
            Ok(format)
        };
        match made().map_err(|e| failed(&self.path, e))? {
            FORMAT => Ok(()),
            found => Err(StoreError::OtherFormat {
                place: self.path.display().to_string(),
                found,
                known: FORMAT,
            }),
        }
    }

    fn read(&mut self) -> Result<(Index, Vec<String>), StoreError> {
        let path = self.path.clone();
        self.read_all()
            .map_err(|e| failed(&path, e))?
            .ok_or_else(|| corrupt(&path, "a row has an unknown format".into()))
    }

    fn read_all(&mut self) -> Result<Option<(Index, Vec<String>)>, redb::Error> {
        let read = self.database().begin_read()?;
        let mut index = Index::default();
        let mut names = Vec::new();
        let runs = read.open_table(RUNS)?;
        let count = usize::try_from(runs.len()?).unwrap_or(usize::MAX);
        for entry in runs.iter()? {
            let (name, number) = entry?;
            let number = number.value() as usize;
            // Runs are numbered from 0.
            if number >= count {
                return Ok(None);
            }
            if names.len() <= number {
                names.resize(number + 1, String::new());
            }
            names[number] = name.value().to_owned();
        }
        index.runs.resize_with(names.len(), IndexedRun::default);
        for entry in read.open_table(JOBS)?.iter()? {
            let (run, job) = entry?;
            let Some(run) = index.runs.get_mut(run.value() as usize) else {
                return Ok(None);
            };
            run.job = Some(job.value().to_vec());
        }
        for entry in read.open_table(DONE)?.iter()? {
            let (number, row) = entry?;
            self.next_done = number.value() + 1;
            let Some((run, tasks)) = row.value().split_first_chunk::<4>() else {
                return Ok(None);
            };
            let run = u32::from_le_bytes(*run) as usize;
            let Some(run) = index.runs.get_mut(run) else {
                return Ok(None);
            };
            run.done
                .extend(tasks.as_chunks::<16>().0.iter().map(|id| TaskId(*id)));
        }
        if let Some((key, _)) = read.open_table(LONG)?.last()? {
            index.long.next = key.value().0 + 1;
        }
        for entry in read.open_table(LOG)?.iter()? {
            let (number, row) = entry?;
            let Some((position, entries)) = row.value().split_first_chunk::<8>() else {
                return Ok(None);
            };
            if index.replay(number.value(), entries).is_none() {
                return Ok(None);
            }
            index.position = u64::from_le_bytes(*position);
            index.row_number = number.value() + 1;
            self.rows.push_back((number.value(), row.value().len()));
            self.bytes += row.value().len();
        }
        index.durable = index.position;
        index.open_again();
        Ok(Some((index, names)))
    }

    /// The first row to keep when the log has grown too long, else `None`. Live entries of older rows must
    /// be part of the next batch.
    pub(super) fn cut(&self, live: usize) -> Option<u64> {
        if self.bytes < 2 * live + LOG_SLACK_BYTES {
            return None;
        }
        let mut kept = self.bytes;
        let keep = live + LOG_SLACK_BYTES / 2;
        let mut rows = self.rows.iter();
        rows.find(|(_, bytes)| {
            kept -= bytes;
            kept < keep
        })
        .map(|(number, _)| *number)
    }

    /// Writes the batch and drops the rows before `cut`. Durable when it returns: redb's commit ends with
    /// an fdatasync.
    pub(super) fn commit(&mut self, batch: &Batch, cut: Option<u64>) -> Result<(), StoreError> {
        match caught(|| self.write(batch, cut)) {
            Ok(written) => written.map_err(|e| failed(&self.path, e)),
            Err(panic) => Err(corrupt(&self.path, panic)),
        }
    }

    /// Reads a long value. `None` if it was not committed, or removed.
    pub(super) fn long_value(&self, value: LongValue) -> Result<Option<Vec<u8>>, StoreError> {
        match caught(|| self.read_pieces(value)) {
            Ok(read) => read.map_err(|e| failed(&self.path, e)),
            Err(panic) => Err(corrupt(&self.path, panic)),
        }
    }

    fn read_pieces(&self, value: LongValue) -> Result<Option<Vec<u8>>, redb::Error> {
        let read = self.database().begin_read()?;
        let table = read.open_table(LONG)?;
        let Ok(len) = usize::try_from(value.len) else {
            return Ok(None);
        };
        // A damaged file may have any length in its log.
        let mut bytes = Vec::new();
        for piece in pieces(value) {
            let Some(piece) = table.get((value.number, piece))? else {
                return Ok(None);
            };
            if bytes.is_empty() {
                bytes.reserve_exact(len);
            }
            bytes.extend_from_slice(piece.value());
        }
        Ok((bytes.len() == len).then_some(bytes))
    }

    fn database(&self) -> &Database {
        self.database.as_ref().expect("it is open until it is dropped")
    }

    fn write(&mut self, batch: &Batch, cut: Option<u64>) -> Result<(), redb::Error> {
        let write = self.database().begin_write()?;
        {
            let mut log = write.open_table(LOG)?;
            let bytes = 8 + batch.row.len();
            let mut row = log.insert_reserve(batch.row_number, bytes)?;
            row.as_mut()[..8].copy_from_slice(&batch.position.to_le_bytes());
            row.as_mut()[8..].copy_from_slice(&batch.row);
            drop(row);
            let old = self
                .rows
                .iter()
                .take_while(|(number, _)| Some(*number) < cut)
                .count();
            for (number, bytes) in self.rows.drain(..old) {
                log.remove(number)?;
                self.bytes -= bytes;
            }
            self.rows.push_back((batch.row_number, bytes));
            self.bytes += bytes;
        }
        if !batch.long.is_empty() || !batch.removed.is_empty() {
            let mut long = write.open_table(LONG)?;
            for (value, bytes) in &batch.long {
                for (number, piece) in (0..).zip(bytes.chunks(PIECE_BYTES)) {
                    long.insert((value.number, number), piece)?;
                }
            }
            for value in &batch.removed {
                for piece in pieces(*value) {
                    long.remove((value.number, piece))?;
                }
            }
        }
        if !batch.trimmed.is_empty() {
            let mut done = write.open_table(DONE)?;
            for of_one_run in batch.trimmed.chunk_by(|a, b| a.0 == b.0) {
                let mut row = Vec::with_capacity(4 + 16 * of_one_run.len());
                row.extend_from_slice(&of_one_run[0].0.to_le_bytes());
                of_one_run
                    .iter()
                    .for_each(|(_, task)| row.extend_from_slice(&task.0));
                done.insert(self.next_done, row.as_slice())?;
                self.next_done += 1;
            }
        }
        for (name, number) in &batch.runs {
            write.open_table(RUNS)?.insert(name.as_str(), number)?;
        }
        for (run, job) in &batch.jobs {
            write.open_table(JOBS)?.insert(run, job.as_slice())?;
        }
        write.commit()?;
        Ok(())
    }
}

impl Drop for LogFile {
    fn drop(&mut self) {
        // What redb finds damaged while it closes the file is found again when the file is opened.
        let _ = caught(|| drop(self.database.take()));
    }
}

/// The numbers of the pieces of a value.
fn pieces(value: LongValue) -> std::ops::Range<u32> {
    0..u32::try_from(value.len.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX)
}

fn failed(path: &Path, e: impl Into<redb::Error>) -> StoreError {
    let message = e.into().to_string();
    StoreError::Failed {
        place: path.display().to_string(),
        message,
    }
}

fn corrupt(path: &Path, message: String) -> StoreError {
    StoreError::Corrupt {
        place: path.display().to_string(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// A file with rows of several sizes, closed in order.
    fn written(path: &Path) {
        let (mut file, _, _) = LogFile::open(path).unwrap();
        for row_number in 0..40 {
            let batch = Batch {
                row_number,
                row: Vec::new(),
                position: row_number,
                trimmed: vec![(0, TaskId([row_number as u8; 16]))],
                runs: vec![(format!("run {row_number}"), row_number as u32)],
                jobs: vec![(row_number as u32, vec![7; 300 * row_number as usize])],
                long: Vec::new(),
                removed: Vec::new(),
            };
            file.commit(&batch, None).unwrap();
        }
    }

    #[test]
    fn damaged_file_is_read_or_refused_without_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.redb");
        written(&path);
        let whole = fs::read(&path).unwrap();
        fastrand::seed(7);
        let (mut refused, mut panicked) = (0, 0);
        for _ in 0..1500 {
            let mut damaged = whole.clone();
            for _ in 0..fastrand::usize(1..4) {
                let at = fastrand::usize(..damaged.len());
                damaged[at] = fastrand::u8(..);
            }
            if fastrand::u8(..10) == 0 {
                damaged.truncate(fastrand::usize(..damaged.len()));
            }
            fs::write(&path, damaged).unwrap();
            let opened = caught(|| LogFile::read_from(&path).map(drop));
            panicked += usize::from(opened.is_err());
            refused += usize::from(matches!(opened, Ok(Err(_))));
            if opened.is_err() {
                let refusal = LogFile::open(&path).map(drop);
                assert!(matches!(refusal, Err(StoreError::Corrupt { .. })), "{refusal:?}");
            }
        }
        assert!(refused > 0);
        // Once this fails, redb reports all damage as errors, and nothing need be caught.
        assert!(panicked > 0);
    }
}
