//! Tests of CSV records against Python's `csv`, written out here after CPython's `_csv.c`, and against the `csv` crate.

use super::*;
use crate::python::random::Random;

/// The rows of a file, and the line on which quotes open that are never closed.
#[derive(Debug, Default, PartialEq)]
struct Rows {
    rows: Vec<Vec<String>>,
    open: Option<u32>,
}

/// The states of CPython's reader, by its names.
#[derive(Clone, Copy, PartialEq)]
enum PythonState {
    StartRecord,
    StartField,
    InField,
    InQuotedField,
    QuoteInQuotedField,
    EatCrnl,
}

/// CPython's reader as `csv.reader(file)` drives it: line by line, each followed by an end-of-line mark (`None`).
#[derive(Default)]
struct PythonReader {
    fields: Vec<String>,
    field: String,
}

impl PythonReader {
    fn save(&mut self) {
        self.fields.push(std::mem::take(&mut self.field));
    }

    fn process(&mut self, state: PythonState, c: Option<char>) -> PythonState {
        let after_field = match c {
            None => PythonState::StartRecord,
            Some(_) => PythonState::EatCrnl,
        };
        match (state, c) {
            (PythonState::StartRecord, None) => PythonState::StartRecord,
            (PythonState::StartRecord, Some('\n' | '\r')) => PythonState::EatCrnl,
            (PythonState::StartRecord | PythonState::StartField, Some('"')) => PythonState::InQuotedField,
            (PythonState::InQuotedField, None) => PythonState::InQuotedField,
            (PythonState::InQuotedField, Some('"')) => PythonState::QuoteInQuotedField,
            (PythonState::InQuotedField, Some(c)) => {
                self.field.push(c);
                PythonState::InQuotedField
            }
            (PythonState::QuoteInQuotedField, Some('"')) => {
                self.field.push('"');
                PythonState::InQuotedField
            }
            (PythonState::EatCrnl, Some('\n' | '\r')) => PythonState::EatCrnl,
            (PythonState::EatCrnl, None) => PythonState::StartRecord,
            (PythonState::EatCrnl, Some(c)) => panic!("a character {c:?} after a line end"),
            (_, None | Some('\n' | '\r')) => {
                self.save();
                after_field
            }
            (_, Some(',')) => {
                self.save();
                PythonState::StartField
            }
            (_, Some(c)) => {
                self.field.push(c);
                PythonState::InField
            }
        }
    }
}

/// The lines as a file with universal newlines gives them, each with its end.
fn lines(text: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['\r', '\n']) {
        let len = if rest[at..].starts_with("\r\n") { 2 } else { 1 };
        lines.push(&rest[..at + len]);
        rest = &rest[at + len..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// What `csv.reader(file, strict=True)` gives, without its refusal of text behind a closing quote. Its refusal at the end of the file
/// becomes `open`. Empty rows are left out, as `csv.DictReader` does.
fn python(text: &str) -> Rows {
    let mut reader = PythonReader::default();
    let mut found = Rows::default();
    let (mut state, mut opened) = (PythonState::StartRecord, 0);
    for (number, line) in lines(text).into_iter().enumerate() {
        for c in line.chars().map(Some).chain([None]) {
            let next = reader.process(state, c);
            let opens = matches!(state, PythonState::StartRecord | PythonState::StartField);
            if opens && next == PythonState::InQuotedField {
                opened = number as u32 + 1;
            }
            state = next;
        }
        if state == PythonState::StartRecord {
            let row = std::mem::take(&mut reader.fields);
            found.rows.extend((!row.is_empty()).then_some(row));
        }
    }
    found.open = (state == PythonState::InQuotedField).then_some(opened);
    found
}

fn ours(text: &str, buffer: usize) -> Rows {
    let mut records = CsvRecords::new(io::BufReader::with_capacity(buffer, text.as_bytes()), 0);
    let mut record = CsvRecord::default();
    let mut found = Rows::default();
    loop {
        match records.read(&mut record).expect("memory can be read") {
            RecordEnd::EndOfFile => return found,
            RecordEnd::OpenQuote(line) => {
                found.open = Some(line);
                return found;
            }
            RecordEnd::Whole => {
                let text = |field: &[u8]| String::from_utf8(field.to_vec()).expect("UTF-8");
                found.rows.push(record.fields().map(text).collect());
            }
        }
    }
}

fn random_text(random: &mut Random) -> String {
    const PIECES: [&str; 14] = [
        "\"", "\"", "\"", "\"\"", ",", ",", "\n", "\r\n", "\r", "a", "b c", ";", " ", "é",
    ];
    (0..random.below(24))
        .map(|_| PIECES[random.below(PIECES.len() as u32) as usize])
        .collect()
}

#[test]
fn read_gives_the_rows_and_the_open_quote_of_pythons_strict_csv() {
    let mut random = Random::new(22);
    let mut open = 0;
    for _ in 0..20_000 {
        let text = random_text(&mut random);
        let wanted = python(&text);
        open += usize::from(wanted.open.is_some());
        for buffer in [1, 3, 4096] {
            assert_eq!(ours(&text, buffer), wanted, "{text:?}");
        }
    }
    assert!(open > 1000, "{open} texts end within quotes");
}

#[test]
fn read_gives_the_rows_of_the_csv_crate() {
    let mut random = Random::new(23);
    for _ in 0..20_000 {
        let text = random_text(&mut random);
        let mut reader = ::csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes());
        let mut rows = reader
            .records()
            .map(|row| row.expect("UTF-8").iter().map(str::to_owned).collect::<Vec<_>>())
            .collect::<Vec<_>>();
        let found = ours(&text, 4096);
        if found.open.is_some() {
            // The crate closes the quotes itself.
            rows.pop();
        }
        assert_eq!(found.rows, rows, "{text:?}");
    }
}

#[test]
fn record_is_read_again_from_its_offset() {
    let mut random = Random::new(24);
    for _ in 0..2000 {
        let text = random_text(&mut random);
        let mut records = CsvRecords::new(text.as_bytes(), 0);
        let (mut record, mut again) = (CsvRecord::default(), CsvRecord::default());
        while records.read(&mut record).expect("memory can be read") == RecordEnd::Whole {
            let from = record.offset as usize;
            let rest = &text.as_bytes()[from..];
            let end = CsvRecords::new(rest, 0).read(&mut again);
            assert_eq!(end.expect("memory can be read"), RecordEnd::Whole, "{text:?}");
            assert!(record.fields().eq(again.fields()), "{text:?}");
            let before = &text[..from];
            let line_ends = before.matches('\n').count() + before.matches('\r').count();
            let line = line_ends - before.matches("\r\n").count() + 1;
            assert_eq!(record.line as usize, line, "{text:?}");
        }
    }
}

#[test]
fn tallest_is_the_quoted_field_on_most_lines() {
    let text = "a,b\r\n\"1\r\n2\",\"1\r\n2\r\n3\"\r\nx,\"y\"\r\nx,y\r\n";
    let mut records = CsvRecords::new(text.as_bytes(), 0);
    let mut record = CsvRecord::default();
    let mut tallest = Vec::new();
    while records.read(&mut record).expect("memory can be read") == RecordEnd::Whole {
        tallest.push((record.line, record.tallest.first, record.tallest.count));
    }
    assert_eq!(tallest, [(1, 0, 0), (2, 3, 3), (6, 6, 1), (7, 0, 0)]);
}
