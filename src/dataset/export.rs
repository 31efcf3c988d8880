//! Exports training files: the kept rows of an LM key in DSPy's shuffled order, one `{"messages":[…]}` per line. Validation rows go to
//! a second file in the same order, and both files can be written in other formats as well.
//!
//! One pass over the rows. In memory each row is a position and two digests.

use super::checks::{Checker, Checks, RowRules};
use super::{LmKey, RowIndex, RowSpan, Split};
use crate::finetune::{Conversation, DataPart, RowFormat};
use crate::python::random::Random;
use crate::run_dir::create_new_file;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

/// DSPy shuffles every training set with `random.Random(0)`.
const SHUFFLE_SEED: u32 = 0;

/// The size of the write buffer of each file in bytes.
const BUFFER: usize = 1 << 20;

/// The files to write for one LM key.
pub struct ExportRequest<'a> {
    /// The LM key.
    pub key: &'a LmKey,
    /// The examples of the validation rows.
    pub split: &'a Split,
    /// Returns the digest of the inputs of a task's example.
    pub example: &'a dyn Fn(u32) -> u64,
    /// Formats beside `messages`.
    pub formats: &'a [RowFormat],
    /// What the rows are held against.
    pub rules: RowRules,
    /// Returns the path of each file.
    pub path: &'a dyn Fn(DataPart, Option<RowFormat>) -> PathBuf,
}

/// A training file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// The number of rows.
    pub rows: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// The size in bytes.
    pub bytes: u64,
}

/// The written files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportResult {
    /// The training file.
    pub training: DataFile,
    /// The validation file. `None` without validation rows.
    pub validation: Option<DataFile>,
    /// The statistics of the training rows.
    pub checks: Checks,
    /// An upper bound of the longest row of both files in tokens, with the additions of a chat template.
    pub room: u64,
}

/// Writes an LM key's files from `traces`, the file that `rows` indexes. Uses 16 bytes of memory per row.
pub fn write_data(traces: &File, rows: &RowIndex, wanted: &ExportRequest<'_>) -> io::Result<ExportResult> {
    let mut order: Vec<(u32, u32)> = rows.kept_of(wanted.key).collect();
    Random::new(SHUFFLE_SEED).shuffle(&mut order);
    let mut training = PartWriter::create(wanted, DataPart::Training)?;
    let mut validation = if wanted.split.is_empty() {
        None
    } else {
        Some(PartWriter::create(wanted, DataPart::Validation)?)
    };
    let (mut line, mut row_bytes) = (Vec::new(), Vec::new());
    for (task, row) in &order {
        let slot = rows.slot(*task as usize);
        let row = rows.row(*row);
        // Prompt and assistant turn are close together in the line, so one read gets both.
        let start = row.prompt.0.min(row.assistant.0);
        let end = row.prompt.1.max(row.assistant.1);
        line.resize((end - start) as usize, 0);
        traces.read_exact_at(&mut line, slot.offset + u64::from(start))?;
        row_bytes.clear();
        append_row(&mut row_bytes, &line, row, start);
        match &mut validation {
            Some(validation) if wanted.split.holds_back((wanted.example)(*task)) => {
                validation.write(&row_bytes)?
            }
            _ => training.write(&row_bytes)?,
        }
    }
    let (training, checker) = training.finish()?;
    let (validation, kept_back) = match validation {
        Some(validation) => validation.finish().map(|(file, checker)| (Some(file), checker))?,
        None => (None, Checker::new(wanted.rules)),
    };
    Ok(ExportResult {
        training,
        validation,
        room: checker.room().max(kept_back.room()),
        checks: checker.conclude(&kept_back),
    })
}

fn append_row(out: &mut Vec<u8>, line: &[u8], row: RowSpan, start: u32) {
    let part = |(from, to): (u32, u32)| &line[(from - start) as usize..(to - start) as usize];
    let prompt = part(row.prompt);
    let open = &prompt[..prompt.len().saturating_sub(1)];
    out.extend_from_slice(b"{\"messages\":");
    out.extend_from_slice(open);
    if open != b"[" {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"role\":\"assistant\",\"content\":");
    out.extend_from_slice(part(row.assistant));
    out.extend_from_slice(b"}]}\n");
}

/// Writes the files of the training part or the validation part, and collects their statistics.
struct PartWriter {
    messages: HashingWriter,
    others: Vec<(RowFormat, BufWriter<File>)>,
    checker: Checker,
    converted: String,
}

impl PartWriter {
    fn create(wanted: &ExportRequest<'_>, part: DataPart) -> io::Result<PartWriter> {
        let file = |format| {
            let file = create_new_file(&(wanted.path)(part, format));
            file.map(|file| BufWriter::with_capacity(BUFFER, file))
        };
        let others = wanted
            .formats
            .iter()
            .map(|format| Ok((*format, file(Some(*format))?)));
        Ok(PartWriter {
            messages: HashingWriter::new(file(None)?),
            others: others.collect::<io::Result<_>>()?,
            checker: Checker::new(wanted.rules),
            converted: String::new(),
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let text = std::str::from_utf8(line).map_err(io::Error::other)?;
        let row = Conversation::read(text).map_err(io::Error::other)?;
        self.checker.see(line, &row);
        self.messages.write_all(line)?;
        for (format, file) in &mut self.others {
            self.converted.clear();
            format.write(&row, &mut self.converted);
            file.write_all(self.converted.as_bytes())?;
        }
        Ok(())
    }

    fn finish(self) -> io::Result<(DataFile, Checker)> {
        for (_, file) in self.others {
            finish(file)?;
        }
        Ok((self.messages.finish(self.checker.rows())?, self.checker))
    }
}

/// A file writer that hashes what it writes.
struct HashingWriter {
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl HashingWriter {
    fn new(file: BufWriter<File>) -> HashingWriter {
        HashingWriter {
            file,
            digest: Sha256::new(),
            bytes: 0,
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    fn finish(self, rows: u64) -> io::Result<DataFile> {
        finish(self.file)?;
        Ok(DataFile {
            rows,
            sha256: crate::hex::hex(&self.digest.finalize()),
            bytes: self.bytes,
        })
    }
}

fn finish(file: BufWriter<File>) -> io::Result<()> {
    file.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .sync_all()
}
