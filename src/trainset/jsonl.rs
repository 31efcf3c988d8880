//! JSON lines: one object a line, empty lines skipped.

use super::row_scanner::{HashingReader, RowScanner};
use super::{Format, LONGEST_ROW};
use std::io::{self, BufRead, Read as _};

pub(super) fn scan(source: &mut HashingReader, scanner: &mut RowScanner<'_>) -> io::Result<Option<Format>> {
    let mut offset = source.skip_mark()?;
    let (mut line, mut bytes) = (0u32, Vec::new());
    let mut is_first = true;
    while !scanner.is_full() {
        bytes.clear();
        let room = LONGEST_ROW as u64 + 1;
        let mut n = source.by_ref().take(room).read_until(b'\n', &mut bytes)? as u64;
        if n == 0 {
            break;
        }
        line = line.saturating_add(1);
        if n == room && bytes.last() != Some(&b'\n') {
            n += source.skip_line()?;
        }
        let row = bytes.trim_ascii();
        if is_first && let Some((message, remedy)) = not_lines(row) {
            scanner.refuse(message, remedy);
            return Ok(None);
        }
        if !row.is_empty() {
            is_first = false;
            scanner.json_row(offset, line, &bytes);
        }
        offset += n;
    }
    scanner.close(offset);
    Ok(Some(Format::Jsonl))
}

/// What the first row shows the file to be, if that is not one object a line, and what to do.
fn not_lines(first_row: &[u8]) -> Option<(&'static str, &'static str)> {
    match first_row {
        // Rows that are lists of values are reported one by one.
        [b'[', rest @ ..] if matches!(rest.trim_ascii_start(), [] | [b'{' | b']', ..]) => Some((
            "the file is one JSON array, not one object per line",
            "name it .json, in `data` of the job file too",
        )),
        b"{" => Some((
            "the first object is written on several lines",
            "write each object on one line",
        )),
        _ => None,
    }
}
