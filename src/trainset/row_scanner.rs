//! Scans a file once: hashes its bytes, checks its rows and records their offsets.

use super::{LONGEST_ROW, LongFields};
use crate::python::json::{MAX_DEPTH, dumps, parse, written_len};
use crate::schema::{Problems, nearest};
use crate::value::Value;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// How many bad rows are reported one by one.
const MAX_REPORTED: usize = 20;
/// The read buffer in bytes.
const CHUNK: usize = 1 << 18;

/// A file reader that hashes everything it reads.
pub(super) struct HashingReader(BufReader<HashingFile>);

struct HashingFile {
    file: File,
    sha: Sha256,
}

impl Read for HashingFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.sha.update(&buffer[..n]);
        Ok(n)
    }
}

impl HashingReader {
    pub(super) fn open(path: &Path) -> io::Result<HashingReader> {
        Ok(HashingReader(BufReader::with_capacity(
            CHUNK,
            HashingFile {
                file: File::open(path)?,
                sha: Sha256::new(),
            },
        )))
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.0.get_ref().file.metadata()
    }

    /// Skips a UTF-8 byte order mark at the start and returns its length.
    pub(super) fn skip_mark(&mut self) -> io::Result<u64> {
        let mark = self.0.fill_buf()?.starts_with(b"\xef\xbb\xbf");
        self.0.consume(if mark { 3 } else { 0 });
        Ok(if mark { 3 } else { 0 })
    }

    /// Skips the rest of a line, and returns its length.
    pub(super) fn skip_line(&mut self) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let chunk = self.0.fill_buf()?;
            let end = memchr::memchr(b'\n', chunk);
            let len = end.map_or(chunk.len(), |end| end + 1);
            self.0.consume(len);
            skipped += len as u64;
            if end.is_some() || len == 0 {
                return Ok(skipped);
            }
        }
    }

    /// Reads the rest, and returns the file and its SHA-256.
    pub(super) fn finish(mut self) -> io::Result<(File, [u8; 32])> {
        io::copy(&mut self.0, &mut io::sink())?;
        let hashing = self.0.into_inner();
        Ok((hashing.file, hashing.sha.finalize().into()))
    }
}

impl Read for HashingReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl BufRead for HashingReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.0.consume(n);
    }
}

/// The result of a scan.
pub(super) struct ScanResult {
    pub(super) offsets: Vec<u64>,
    pub(super) digests: Vec<u64>,
    pub(super) label_digests: Vec<u64>,
    pub(super) gaps: Vec<(String, u32)>,
    /// For each input: the first line without it and the number of such lines.
    pub(super) lacking: Vec<Option<(u32, usize)>>,
    pub(super) long_fields: Option<LongFields>,
    pub(super) first_line: u32,
    columns: Vec<String>,
}

impl ScanResult {
    /// The columns of every row without `inputs`.
    pub(super) fn labels(&self, inputs: &[String]) -> Vec<String> {
        self.columns
            .iter()
            .filter(|c| !inputs.contains(c))
            .cloned()
            .collect()
    }
}

/// Checks the rows that a format's reader finds.
pub(super) struct RowScanner<'p> {
    path: &'p Path,
    limit: u64,
    inputs: &'p [String],
    problems: &'p mut Problems,
    bad: usize,
    /// The line of the last bad row.
    last_bad: u32,
    found: ScanResult,
    /// Current row: whether each of `found.columns` occurred.
    seen: Vec<bool>,
    /// Current row: the digest of each input's value. `None` if it is missing.
    parts: Vec<Option<[u8; 16]>>,
    /// Current row: the digest of all other columns and values, in order.
    rest: Sha256,
}

impl<'p> RowScanner<'p> {
    pub(super) fn new(
        path: &'p Path,
        limit: u64,
        inputs: &'p [String],
        problems: &'p mut Problems,
    ) -> RowScanner<'p> {
        let found = ScanResult {
            offsets: Vec::new(),
            digests: Vec::new(),
            label_digests: Vec::new(),
            gaps: Vec::new(),
            lacking: vec![None; inputs.len()],
            long_fields: None,
            first_line: 1,
            columns: Vec::new(),
        };
        RowScanner {
            path,
            limit,
            inputs,
            problems,
            bad: 0,
            last_bad: 0,
            found,
            seen: Vec::new(),
            parts: vec![None; inputs.len()],
            rest: Sha256::new(),
        }
    }

    /// Whether `limit` rows have been read.
    pub(super) fn is_full(&self) -> bool {
        self.found.digests.len() as u64 + self.bad as u64 >= self.limit
    }

    /// Whether the job names this column among the inputs.
    pub(super) fn is_input(&self, column: &str) -> bool {
        self.inputs.iter().any(|input| input == column)
    }

    /// Reports a problem of the whole file.
    pub(super) fn refuse(&mut self, message: impl Into<String>, remedy: &str) {
        self.problems.add(self.path, None, message, remedy);
    }

    /// Counts a field of so many lines that rows may be part of it.
    pub(super) fn long_field(&mut self, line: u32, lines: u32) {
        let first = LongFields {
            line,
            lines,
            count: 0,
        };
        self.found.long_fields.get_or_insert(first).count += 1;
    }

    /// Reports a bad row, or a bad file.
    pub(super) fn bad(&mut self, line: u32, message: impl Into<String>, remedy: &str) {
        self.bad += 1;
        if self.bad <= MAX_REPORTED {
            self.problems.add(self.path, Some(line), message, remedy);
        }
        self.last_bad = line;
    }

    /// A row that no task can have.
    pub(super) fn too_long(&mut self, line: u32) {
        let message = format!("this row has more than {} MiB", LONGEST_ROW >> 20);
        self.bad(
            line,
            message,
            "shorten its texts, or leave it out: a task has no room for it",
        );
    }

    /// A row written as a JSON object: `bytes` at `offset`, on `line`.
    pub(super) fn json_row(&mut self, offset: u64, line: u32, bytes: &[u8]) {
        if bytes.len() > LONGEST_ROW {
            return self.too_long(line);
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return self.bad(line, "this row is not UTF-8", "save the file as UTF-8");
        };
        self.begin();
        let mut row = serde_json::Deserializer::from_str(text);
        let fast = row.deserialize_map(Columns(self)).and_then(|()| row.end());
        if fast.is_err() || may_nest_too_deeply(bytes) {
            // Python accepts more than plain JSON (lone surrogates, deeper nesting), so its parser decides.
            self.begin();
            match parse(text.trim()) {
                Ok(Value::Dict(_)) if serde_json::from_str::<&RawValue>(text).is_err() => {
                    let message = "this row holds NaN or Infinity, which JSON does not have";
                    return self.bad(line, message, "write null, a string or a finite number");
                }
                Ok(row @ Value::Dict(_)) if !is_finite(&row) => {
                    let message = "this row holds a number that is too large for a float, such as 1e400";
                    return self.bad(line, message, "write a smaller number, or put it into quotes");
                }
                Ok(Value::Dict(pairs)) => {
                    for (key, value) in &pairs {
                        self.column(key.as_str().unwrap_or_default(), |d| d.update(dumps(value)));
                    }
                }
                Ok(other) => {
                    let message = format!("this row is {}, not an object", kind(&other));
                    return self.bad(line, message, "write one `{\"column\": value, …}` per row");
                }
                Err(error) => {
                    let message = format!("this row is not JSON: {error}");
                    return self.bad(line, message, "write one `{\"column\": value, …}` per row");
                }
            }
        }
        self.end(offset, line);
    }

    /// A row of strings, one for each of `columns`.
    pub(super) fn text_row<'t>(
        &mut self,
        offset: u64,
        line: u32,
        row: impl Iterator<Item = (&'t str, &'t str)>,
    ) {
        self.begin();
        let mut len = 0;
        for (column, text) in row {
            self.column(column, |d| digest_text(text, d));
            len += written_len(column) + written_len(text) + 2;
        }
        if len > LONGEST_ROW {
            return self.too_long(line);
        }
        self.end(offset, line);
    }

    fn begin(&mut self) {
        self.seen.fill(false);
        self.parts.fill(None);
        self.rest.reset();
    }

    fn column(&mut self, name: &str, value: impl FnOnce(&mut Sha256)) {
        if let Some(i) = self.inputs.iter().position(|c| c == name) {
            let mut digest = Sha256::new();
            value(&mut digest);
            let mut part = [0; 16];
            part.copy_from_slice(&digest.finalize()[..16]);
            self.parts[i] = Some(part);
        } else {
            self.rest.update(name);
            value(&mut self.rest);
        }
        match self.found.columns.iter().position(|c| c == name) {
            Some(i) => {
                if let Some(seen) = self.seen.get_mut(i) {
                    *seen = true;
                }
            }
            None if self.found.digests.is_empty() => {
                self.found.columns.push(name.to_owned());
                self.seen.push(true);
            }
            None => {}
        }
    }

    fn end(&mut self, offset: u64, line: u32) {
        let missing: Vec<&str> = self
            .inputs
            .iter()
            .zip(&self.parts)
            .filter(|(_, p)| p.is_none())
            .map(|(c, _)| c.as_str())
            .collect();
        if missing.len() == self.inputs.len() && !missing.is_empty() {
            let message = format!("this row has no `{}`, an input column", missing.join("`, `"));
            return self.bad(
                line,
                message,
                "add it to the row, or change `data.inputs` in the job file",
            );
        }
        for (part, lacking) in self.parts.iter().zip(&mut self.found.lacking) {
            if part.is_none() {
                lacking.get_or_insert((line, 0)).1 += 1;
            }
        }
        if self.found.digests.is_empty() {
            self.found.first_line = line;
        }
        if self.seen.contains(&false) {
            let mut seen = self.seen.iter();
            let gaps = &mut self.found.gaps;
            self.found.columns.retain(|column| {
                let keep = seen.next().is_none_or(|s| *s);
                if !keep {
                    gaps.push((column.clone(), line));
                }
                keep
            });
            self.seen.truncate(self.found.columns.len());
        }
        let digest = match self.parts.as_slice() {
            [Some(only)] => *only,
            parts => {
                let mut digest = Sha256::new();
                for part in parts {
                    match part {
                        Some(part) => digest.update(part),
                        None => digest.update(b"missing"),
                    }
                }
                let mut first = [0; 16];
                first.copy_from_slice(&digest.finalize()[..16]);
                first
            }
        };
        self.found.digests.push(first_8(&digest));
        self.found
            .label_digests
            .push(first_8(&self.rest.finalize_reset()));
        self.found.offsets.push(offset);
    }

    /// Sets the end of the last row.
    pub(super) fn close(&mut self, offset: u64) {
        self.found.offsets.push(offset);
    }

    /// Returns the result and reports how many bad rows were not listed.
    pub(super) fn finish(mut self) -> ScanResult {
        let rows = self.found.digests.len();
        for (column, lacking) in self.inputs.iter().zip(&self.found.lacking) {
            if lacking.is_some_and(|(_, count)| count == rows) {
                let message = format!("no row has `{column}`, an input column");
                let known = self.found.columns.iter().map(String::as_str);
                self.problems
                    .add(self.path, None, message, nearest(column, known));
            }
        }
        if self.bad > MAX_REPORTED {
            let message = format!("and {} more rows are bad", self.bad - MAX_REPORTED);
            // On the last one's line, so that it follows the others.
            let line = Some(self.last_bad);
            self.problems
                .add(self.path, line, message, "fix the reported rows first");
        }
        self.found.offsets.shrink_to_fit();
        self.found.digests.shrink_to_fit();
        self.found.label_digests.shrink_to_fit();
        self.found
    }
}

/// Raw values are skipped whatever their depth; what runs the example reads them for good.
fn may_nest_too_deeply(row: &[u8]) -> bool {
    row.len() > MAX_DEPTH && row.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > MAX_DEPTH
}

fn first_8(digest: &[u8]) -> u64 {
    digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Whether every number within the value is finite. Python reads 1e400 as infinity.
fn is_finite(value: &Value) -> bool {
    match value {
        Value::Float(number) => number.is_finite(),
        Value::List(items) => items.iter().all(|item| is_finite(&item)),
        Value::Dict(items) => items.iter().all(|(_, value)| is_finite(value)),
        _ => true,
    }
}

/// Hashes a string as its JSON, so that all formats agree.
fn digest_text(text: &str, digest: &mut Sha256) {
    if text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        return digest.update(dumps(&Value::from(text)));
    }
    digest.update(b"\"");
    digest.update(text);
    digest.update(b"\"");
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::None => "null",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => "a number",
        Value::Str(_) => "a string",
        _ => "a list",
    }
}

/// Passes the columns of a JSON object to a scanner without building their values.
struct Columns<'a, 'p>(&'a mut RowScanner<'p>);

impl<'de> Visitor<'de> for Columns<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(ObjectKey(key)) = map.next_key()? {
            let raw: &RawValue = map.next_value()?;
            let text = raw.get();
            // The JSON of a plain string is its source text.
            if text.starts_with('"') && !text.contains('\\') {
                self.0.column(&key, |digest| digest.update(text));
                continue;
            }
            // Python's parser accepts everything that serde_json accepts.
            let value = parse(text).ok();
            if value.as_ref().is_some_and(|value| !is_finite(value)) {
                return Err(A::Error::custom("a number is too large"));
            }
            let json = value.map_or_else(|| text.to_owned(), |value| dumps(&value));
            self.0.column(&key, |digest| digest.update(json));
        }
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct ObjectKey<'a>(#[serde(borrow)] Cow<'a, str>);
