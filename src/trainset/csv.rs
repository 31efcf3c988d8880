//! CSV with a header row; every value is a string.

use super::Format;
use super::row_scanner::{HashingReader, RowScanner};
use crate::value::{Record, Value};
use csv::{ByteRecord, Reader, ReaderBuilder};
use std::io::{self, Read};

fn reader<R: Read>(source: R) -> Reader<R> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(1 << 18)
        .from_reader(source)
}

pub(super) fn scan(source: &mut HashingReader, scanner: &mut RowScanner<'_>) -> io::Result<Option<Format>> {
    let mark = source.skip_mark()?;
    let mut rows = reader(&mut *source);
    let mut record = ByteRecord::new();
    let header = if rows.read_byte_record(&mut record)? {
        record
            .iter()
            .map(|c| String::from_utf8(c.to_vec()).ok())
            .collect()
    } else {
        None
    };
    let Some(columns): Option<Vec<String>> = header else {
        scanner.bad(
            1,
            "there is no header row in UTF-8",
            "write the names of the columns into the first line",
        );
        return Ok(None);
    };
    for (i, column) in columns.iter().enumerate() {
        if column.is_empty() || columns[..i].contains(column) {
            let message = format!("column {} is called `{column}`, which is empty or taken", i + 1);
            scanner.bad(1, message, "give each column its own name");
            return Ok(None);
        }
    }
    while !scanner.is_full() && rows.read_byte_record(&mut record)? {
        // Reading has gone past the position's line ends, never past its first field.
        let Some(start) = record.position() else { continue };
        let (offset, line) = (
            start.byte() + mark,
            u32::try_from(start.line()).unwrap_or(u32::MAX),
        );
        if record.len() != columns.len() {
            let message = format!(
                "this row has {} fields, the header {}",
                record.len(),
                columns.len()
            );
            scanner.bad(
                line,
                message,
                "put fields with commas, quotes or line ends into double quotes",
            );
            continue;
        }
        let texts: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
        match texts {
            Ok(texts) => scanner.text_row(offset, line, columns.iter().map(String::as_str).zip(texts)),
            Err(_) => scanner.bad(line, "this row is not UTF-8", "save the file as UTF-8"),
        }
    }
    scanner.close(rows.position().byte() + mark);
    Ok(Some(Format::Csv(columns)))
}

/// The row that `bytes` hold.
pub(super) fn row(columns: &[String], bytes: &[u8]) -> Option<Record> {
    let mut record = csv::StringRecord::new();
    let mut rows = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(bytes.len().clamp(64, 1 << 16))
        .from_reader(bytes);
    let whole = rows.read_record(&mut record).ok()? && record.len() == columns.len();
    whole.then(|| {
        columns
            .iter()
            .cloned()
            .zip(record.iter().map(Value::from))
            .collect()
    })
}
