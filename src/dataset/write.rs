//! Training files: the kept rows of an LM key in DSPy's shuffled order, one `{"messages":[…]}` a line.

use super::{LmKey, Row, Rows};
use crate::python::random::Random;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// DSPy shuffles every training set with `random.Random(0)`.
const SHUFFLE_SEED: u32 = 0;

/// A training file that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Lines.
    pub rows: u64,
    /// SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Length.
    pub bytes: u64,
}

/// Writes the training file of an LM key from `traces`, the file that `rows` indexes. Takes 8 bytes of memory a row.
pub fn write_data(traces: &File, rows: &Rows, key: &LmKey, path: &Path) -> io::Result<DataFile> {
    let mut order: Vec<(u32, u32)> = rows
        .kept()
        .filter(|(_, row)| {
            key.predictor
                .as_ref()
                .is_none_or(|(index, _)| rows.row(*row).predictor == *index)
        })
        .collect();
    Random::new(SHUFFLE_SEED).shuffle(&mut order);
    let mut out = Digesting::new(File::create(path)?);
    let (mut line, mut row_bytes) = (Vec::new(), Vec::new());
    for (task, row) in &order {
        let slot = rows.slot(*task as usize);
        let row = rows.row(*row);
        // Prompt and assistant turn stand close together in the line: one read gets both.
        let start = row.prompt.0.min(row.assistant.0);
        let end = row.prompt.1.max(row.assistant.1);
        line.resize((end - start) as usize, 0);
        traces.read_exact_at(&mut line, slot.offset + u64::from(start))?;
        row_bytes.clear();
        append_row(&mut row_bytes, &line, row, start);
        out.write_all(&row_bytes)?;
    }
    out.finish(order.len() as u64)
}

fn append_row(out: &mut Vec<u8>, line: &[u8], row: Row, start: u32) {
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

/// A file that knows the digest of what was written to it.
struct Digesting {
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Digesting {
    fn new(file: File) -> Digesting {
        Digesting {
            file: BufWriter::with_capacity(1 << 20, file),
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
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(DataFile {
            rows,
            sha256: crate::job::hex(&self.digest.finalize()),
            bytes: self.bytes,
        })
    }
}
