//! Splits CSV into records as Python's `csv` does, and knows on which line each of them and each quoted field begins.
//!
//! A quoted field may contain commas, line ends and, doubled, quotes. A quote within a field that has none at its start is a character
//! like any other. A line ends with LF, CR or both.

use super::LONGEST_ROW;
use std::io::{self, BufRead};

/// The most fields of a record that are counted. No job has as many columns.
const MOST_FIELDS: usize = 1 << 16;

/// How the reading of a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordEnd {
    /// At a line end, or at the end of the file.
    Whole,
    /// At the end of the file, within the quotes that open on this line.
    OpenQuote(u32),
    /// There is no further record.
    EndOfFile,
}

/// The lines of a quoted field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldLines {
    /// The line on which the field begins.
    pub(super) first: u32,
    /// On how many lines it lies.
    pub(super) count: u32,
}

/// One record. It is filled again and again, so that reading allocates nothing.
#[derive(Debug, Default)]
pub(super) struct CsvRecord {
    /// The offset of its first byte in the file.
    pub(super) offset: u64,
    /// The line of its first byte.
    pub(super) line: u32,
    /// The lines of the quoted field that lies on most of them; `count` is 0 if no field is quoted.
    pub(super) tallest: FieldLines,
    /// The contents of the fields, one after the other; no more than show that the record is too long.
    bytes: Vec<u8>,
    /// The end of each field in `bytes`.
    ends: Vec<usize>,
    /// The line on which the last quoted field begins.
    opened: u32,
}

#[derive(Clone, Copy, PartialEq)]
enum CsvState {
    RecordStart,
    FieldStart,
    Plain,
    Quoted,
    /// After a quote that ends the field, or is the first of two.
    QuoteInQuoted,
}

/// Reads record after record from a source.
pub(super) struct CsvRecords<R> {
    source: R,
    offset: u64,
    line: u32,
    after_cr: bool,
}

impl<R: BufRead> CsvRecords<R> {
    /// `offset` is the source's own, behind a byte order mark.
    pub(super) fn new(source: R, offset: u64) -> CsvRecords<R> {
        CsvRecords {
            source,
            offset,
            line: 1,
            after_cr: false,
        }
    }

    /// The offset of the first byte that was not read.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next record. Empty lines are no records.
    pub(super) fn read(&mut self, record: &mut CsvRecord) -> io::Result<RecordEnd> {
        record.clear();
        let mut state = CsvState::RecordStart;
        loop {
            let chunk = self.source.fill_buf()?;
            if chunk.is_empty() {
                return Ok(record.end(state));
            }
            let mut used = 0;
            let mut is_whole = false;
            for &byte in chunk {
                if state == CsvState::RecordStart {
                    (record.offset, record.line) = (self.offset + used, self.line);
                }
                let next = record.take(state, byte, self.line);
                used += 1;
                // CR LF is one line end.
                let is_line_end = byte == b'\r' || (byte == b'\n' && !self.after_cr);
                self.line = self.line.saturating_add(u32::from(is_line_end));
                self.after_cr = byte == b'\r';
                match next {
                    Some(next) => state = next,
                    None => {
                        is_whole = true;
                        break;
                    }
                }
            }
            self.source.consume(used as usize);
            self.offset += used;
            if is_whole {
                return Ok(RecordEnd::Whole);
            }
        }
    }
}

impl CsvRecord {
    /// The number of fields.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The contents of the fields.
    pub(super) fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, end)| &self.bytes[start..*end])
    }

    /// Whether it is longer than a row can be.
    pub(super) fn is_too_long(&self) -> bool {
        self.bytes.len() > LONGEST_ROW
    }

    fn push(&mut self, byte: u8) {
        if self.bytes.len() <= LONGEST_ROW {
            self.bytes.push(byte);
        }
    }

    fn end_field(&mut self) {
        if self.ends.len() < MOST_FIELDS {
            self.ends.push(self.bytes.len());
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.tallest = FieldLines::default();
    }

    /// Takes the next byte, which is on `line`. `None` if the record ends with it.
    fn take(&mut self, state: CsvState, byte: u8, line: u32) -> Option<CsvState> {
        match (state, byte) {
            (CsvState::RecordStart, b'\r' | b'\n') => Some(CsvState::RecordStart),
            (CsvState::RecordStart | CsvState::FieldStart, b'"') => {
                self.opened = line;
                Some(CsvState::Quoted)
            }
            (CsvState::Quoted, b'"') => {
                self.measure(line);
                Some(CsvState::QuoteInQuoted)
            }
            (CsvState::Quoted, _) | (CsvState::QuoteInQuoted, b'"') => {
                self.push(byte);
                Some(CsvState::Quoted)
            }
            (_, b',') => {
                self.end_field();
                Some(CsvState::FieldStart)
            }
            (_, b'\r' | b'\n') => {
                self.end_field();
                None
            }
            (_, _) => {
                self.push(byte);
                Some(CsvState::Plain)
            }
        }
    }

    /// Ends the record at the end of the file.
    fn end(&mut self, state: CsvState) -> RecordEnd {
        match state {
            CsvState::RecordStart => RecordEnd::EndOfFile,
            CsvState::Quoted => RecordEnd::OpenQuote(self.opened),
            CsvState::FieldStart | CsvState::Plain | CsvState::QuoteInQuoted => {
                self.end_field();
                RecordEnd::Whole
            }
        }
    }

    /// Records the lines of the quoted field up to `line`.
    fn measure(&mut self, line: u32) {
        let count = line.saturating_sub(self.opened).saturating_add(1);
        if count > self.tallest.count {
            self.tallest = FieldLines {
                first: self.opened,
                count,
            };
        }
    }
}

#[cfg(test)]
mod tests;
