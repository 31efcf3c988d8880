//! A JSON array of objects, split into its elements as it streams by.

use super::row_scanner::{HashingReader, RowScanner};
use super::{Format, LONGEST_ROW};
use std::io::{self, BufRead};

/// The next token that the array may contain.
#[derive(Clone, Copy)]
enum Expect {
    Open,
    ElementOrEnd,
    Element,
    Inside,
    CommaOrEnd,
    End,
}

/// The current element.
#[derive(Default)]
struct Element {
    /// No more than show that it is too long.
    bytes: Vec<u8>,
    offset: u64,
    line: u32,
    depth: u32,
    quoted: bool,
    escaped: bool,
}

pub(super) fn scan(source: &mut HashingReader, scanner: &mut RowScanner<'_>) -> io::Result<Option<Format>> {
    let mut offset = source.skip_mark()?;
    let (mut line, mut expect, mut element) = (1u32, Expect::Open, Element::default());
    let remedy = "write `[{…}, {…}]`, or one object per line in a .jsonl file";
    'file: loop {
        let chunk = source.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        let n = chunk.len();
        for (at, &byte) in chunk.iter().enumerate() {
            expect = match (expect, byte) {
                (Expect::Inside, _) => match element.take(byte) {
                    // The byte after an unquoted literal or number is not part of it.
                    ScanStep::Inside => Expect::Inside,
                    ScanStep::Done => {
                        scanner.json_row(element.offset, element.line, &element.bytes);
                        Expect::CommaOrEnd
                    }
                    ScanStep::DoneBefore => {
                        scanner.json_row(element.offset, element.line, &element.bytes);
                        match byte {
                            b',' => Expect::Element,
                            b']' => Expect::End,
                            _ => Expect::CommaOrEnd,
                        }
                    }
                },
                (expect, b' ' | b'\t' | b'\r' | b'\n') => expect,
                (Expect::Open, b'[') => Expect::ElementOrEnd,
                (Expect::ElementOrEnd | Expect::CommaOrEnd, b']') => Expect::End,
                (Expect::CommaOrEnd, b',') => Expect::Element,
                (Expect::ElementOrEnd | Expect::Element, _) if !matches!(byte, b',' | b']' | b'}') => {
                    if scanner.is_full() {
                        break 'file;
                    }
                    element.start(offset, line, byte);
                    Expect::Inside
                }
                (Expect::Open, b'{') if are_lines(&chunk[at..]) => {
                    let message = "the file has one JSON object per line, and is no JSON array";
                    scanner.refuse(message, "name it .jsonl, in `data` of the job file too");
                    return Ok(None);
                }
                (Expect::Open, _) => {
                    scanner.bad(line, "the file is not a JSON array", remedy);
                    return Ok(None);
                }
                _ => {
                    scanner.bad(
                        line,
                        format!("`{}` is not expected here", char::from(byte).escape_debug()),
                        remedy,
                    );
                    return Ok(None);
                }
            };
            line = line.saturating_add(u32::from(byte == b'\n'));
            offset += 1;
        }
        source.consume(n);
    }
    if !matches!(expect, Expect::End) && !scanner.is_full() {
        scanner.bad(line, "the JSON array is not closed", remedy);
        return Ok(None);
    }
    scanner.close(offset);
    Ok(Some(Format::Json))
}

/// Whether the text begins with a line that is an object, and a second line that begins one.
fn are_lines(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    text[..end].trim_ascii_end().ends_with(b"}") && text[end..].trim_ascii_start().starts_with(b"{")
}

enum ScanStep {
    Inside,
    /// Ends the element after this byte.
    Done,
    /// Ends the element before this byte.
    DoneBefore,
}

impl Element {
    fn start(&mut self, offset: u64, line: u32, byte: u8) {
        self.bytes.clear();
        (self.offset, self.line, self.depth, self.quoted, self.escaped) = (offset, line, 0, false, false);
        self.take(byte);
    }

    fn take(&mut self, byte: u8) -> ScanStep {
        let bare = self.depth == 0 && !self.quoted && !self.bytes.is_empty();
        if bare && matches!(byte, b',' | b']' | b' ' | b'\t' | b'\r' | b'\n') {
            return ScanStep::DoneBefore;
        }
        if self.bytes.len() <= LONGEST_ROW {
            self.bytes.push(byte);
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.quoted => self.escaped = true,
            b'"' => self.quoted = !self.quoted,
            b'{' | b'[' if !self.quoted => self.depth += 1,
            b'}' | b']' if !self.quoted => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth == 0 {
                    return ScanStep::Done;
                }
            }
            _ => {}
        }
        ScanStep::Inside
    }
}
