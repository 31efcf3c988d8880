//! JSON lines: one object a line, empty lines skipped.

use super::Format;
use super::pass::{Pass, Source};
use std::io::{self, BufRead};

pub(super) fn scan(source: &mut Source, pass: &mut Pass<'_>) -> io::Result<Option<Format>> {
    let mut offset = source.skip_mark()?;
    let (mut line, mut bytes) = (0u32, Vec::new());
    while !pass.is_full() {
        bytes.clear();
        let n = source.read_until(b'\n', &mut bytes)?;
        if n == 0 {
            break;
        }
        line = line.saturating_add(1);
        if !bytes.trim_ascii().is_empty() {
            pass.json_row(offset, line, &bytes);
        }
        offset += n as u64;
    }
    pass.close(offset);
    Ok(Some(Format::Jsonl))
}
