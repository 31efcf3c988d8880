//! CSV with a header row; every value is a string.

use super::Format;
use super::csv_record::{CsvRecord, CsvRecords, FieldLines, RecordEnd};
use super::row_scanner::{HashingReader, RowScanner};
use crate::value::{Record, Value};
use std::io;

/// A quoted field on more lines than this is reported: two stray quotes, many rows apart, make all rows between them one field.
const MANY_LINES: u32 = 100;

/// Delimiters that other programs write in place of the comma.
const OTHER_DELIMITERS: [(char, &str); 3] = [(';', "a semicolon"), ('\t', "a tab"), ('|', "a bar")];

pub(super) fn scan(source: &mut HashingReader, scanner: &mut RowScanner<'_>) -> io::Result<Option<Format>> {
    let mark = source.skip_mark()?;
    let mut records = CsvRecords::new(&mut *source, mark);
    let mut record = CsvRecord::default();
    let end = records.read(&mut record)?;
    let Some(columns) = columns(&record, end, scanner) else {
        return Ok(None);
    };
    while !scanner.is_full() {
        match records.read(&mut record)? {
            RecordEnd::Whole => row_of(&record, &columns, scanner),
            RecordEnd::OpenQuote(line) => {
                report_open_quote(line, scanner);
                return Ok(None);
            }
            RecordEnd::EndOfFile => break,
        }
    }
    scanner.close(records.offset());
    Ok(Some(Format::Csv(columns)))
}

/// The columns that the header names. `None` if it was refused.
fn columns(header: &CsvRecord, end: RecordEnd, scanner: &mut RowScanner<'_>) -> Option<Vec<String>> {
    match end {
        RecordEnd::Whole => {}
        RecordEnd::OpenQuote(line) => {
            report_open_quote(line, scanner);
            return None;
        }
        RecordEnd::EndOfFile => {
            scanner.bad(
                1,
                "there is no header row",
                "write the names of the columns into the first line",
            );
            return None;
        }
    }
    let names = header.fields().map(|name| String::from_utf8(name.to_vec()));
    let Ok(columns) = names.collect::<Result<Vec<String>, _>>() else {
        scanner.bad(
            header.line,
            "the header row is not UTF-8",
            "save the file as UTF-8",
        );
        return None;
    };
    if let [only] = columns.as_slice()
        && !scanner.is_input(only)
        && let Some((_, name)) = OTHER_DELIMITERS
            .iter()
            .find(|(delimiter, _)| only.contains(*delimiter))
    {
        let message = format!(
            "the header is one column, `{}`: the delimiter is {name}",
            only.escape_debug()
        );
        scanner.bad(
            header.line,
            message,
            "save the file with commas between the columns",
        );
        return None;
    }
    for (i, column) in columns.iter().enumerate() {
        if column.is_empty() || columns[..i].contains(column) {
            let message = format!("column {} is called `{column}`, which is empty or taken", i + 1);
            scanner.bad(header.line, message, "give each column its own name");
            return None;
        }
    }
    Some(columns)
}

/// Without the closing quote, all rows up to the end of the file are part of the field.
fn report_open_quote(line: u32, scanner: &mut RowScanner<'_>) {
    scanner.bad(
        line,
        "a quoted field begins here and never ends: its closing `\"` is missing",
        "close the field with a `\"`, or write `\"\"` for each quote of the text and put the field into quotes",
    );
}

fn row_of(record: &CsvRecord, columns: &[String], scanner: &mut RowScanner<'_>) {
    if record.is_too_long() {
        return scanner.too_long(record.line);
    }
    let FieldLines { first, count } = record.tallest;
    let is_tall = count > MANY_LINES;
    if record.len() != columns.len() {
        let mut message = format!(
            "this row has {} fields, the header {}",
            record.len(),
            columns.len()
        );
        if is_tall {
            message.push_str(&format!(
                "; one of them has {count} lines and begins in line {first}"
            ));
        }
        scanner.bad(
            record.line,
            message,
            "put fields with commas, quotes or line ends into double quotes",
        );
        return;
    }
    let texts: Result<Vec<&str>, _> = record.fields().map(std::str::from_utf8).collect();
    match texts {
        Ok(texts) => {
            let row = columns.iter().map(String::as_str).zip(texts);
            scanner.text_row(record.offset, record.line, row);
            if is_tall {
                scanner.long_field(first, count);
            }
        }
        Err(_) => scanner.bad(record.line, "this row is not UTF-8", "save the file as UTF-8"),
    }
}

/// The row that `bytes` hold.
pub(super) fn row(columns: &[String], bytes: &[u8]) -> Option<Record> {
    let mut record = CsvRecord::default();
    let end = CsvRecords::new(bytes, 0).read(&mut record).ok()?;
    if end != RecordEnd::Whole || record.len() != columns.len() {
        return None;
    }
    let value = |field: &[u8]| std::str::from_utf8(field).ok().map(Value::from);
    columns
        .iter()
        .zip(record.fields())
        .map(|(column, field)| Some((column.clone(), value(field)?)))
        .collect()
}
