//! JSON lines: one object a line, empty lines skipped.

use super::Format;
use super::row_scanner::{HashingReader, RowScanner};
use std::io::{self, BufRead};

pub(super) fn scan(source: &mut HashingReader, scanner: &mut RowScanner<'_>) -> io::Result<Option<Format>> {
    let mut offset = source.skip_mark()?;
    let (mut line, mut bytes) = (0u32, Vec::new());
    while !scanner.is_full() {
        bytes.clear();
        let n = source.read_until(b'\n', &mut bytes)?;
        if n == 0 {
            break;
        }
        line = line.saturating_add(1);
        if !bytes.trim_ascii().is_empty() {
            scanner.json_row(offset, line, &bytes);
        }
        offset += n as u64;
    }
    scanner.close(offset);
    Ok(Some(Format::Jsonl))
}
