//! Reads JSON as `json.loads` does: `NaN`, exact integers, a repeated key's last value in its first place.

use crate::equal::DictBuilder;
use crate::value::Value;
use crate::value::items::ItemsBuilder;
use num_bigint::BigInt;

/// The maximum depth of nested containers; Python fails near its recursion limit of 1000 too.
pub const MAX_DEPTH: usize = 900;

/// The maximum number of digits of an integer, as in Python.
pub(crate) const MAX_DIGITS: usize = 4300;

/// Why and where a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message} at line {line}, column {column}")]
pub struct JsonError {
    /// What was expected or refused.
    pub message: &'static str,
    /// Bytes before the place.
    pub offset: usize,
    /// Line, from 1.
    pub line: usize,
    /// Character in the line, from 1.
    pub column: usize,
}

/// An error message and the byte offset of the error.
type Fault = (&'static str, usize);

/// `json.loads(text)`. A lone surrogate escape, which Rust strings cannot hold, is read as U+FFFD.
pub fn parse(text: &str) -> Result<Value, JsonError> {
    let mut reader = JsonReader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        depth: 0,
    };
    let whole = |reader: &mut JsonReader<'_>| -> Result<Value, Fault> {
        if text.starts_with('\u{feff}') {
            return Err(("unexpected byte order mark: remove it", 0));
        }
        reader.skip_space();
        let value = reader.value()?;
        reader.skip_space();
        match reader.peek() {
            None => Ok(value),
            Some(_) => Err(("more text after the JSON value", reader.at)),
        }
    };
    whole(&mut reader).map_err(|fault| locate(text, fault))
}

/// `JSONDecoder().raw_decode(text)`: the value at the very start and its length in bytes; the rest of the text is not read.
pub fn parse_prefix(text: &str) -> Result<(Value, usize), JsonError> {
    let mut reader = JsonReader {
        text,
        bytes: text.as_bytes(),
        at: 0,
        depth: 0,
    };
    let value = reader.value().map_err(|fault| locate(text, fault))?;
    Ok((value, reader.at))
}

fn locate(text: &str, (message, offset): Fault) -> JsonError {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    JsonError {
        message,
        offset,
        line,
        column: before[line_start..].chars().count() + 1,
    }
}

struct JsonReader<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl JsonReader<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value, Fault> {
        match self.peek() {
            Some(b'"') => Ok(Value::Str(self.string()?)),
            Some(b'{') => self.nested(JsonReader::object),
            Some(b'[') => self.nested(JsonReader::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.word(),
        }
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let words = [
            ("null", Value::None),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ];
        for (word, value) in words {
            if self.bytes[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return Ok(value);
            }
        }
        Err(("expected a JSON value", self.at))
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, Fault>) -> Result<Value, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(("JSON nested too deeply", self.at));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space();
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn array(&mut self) -> Result<Value, Fault> {
        let mut items = ItemsBuilder::default();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::List(items.finish()));
        }
        loop {
            self.skip_space();
            items.push(self.value()?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::List(items.finish()));
                }
                _ => return Err(("expected `,` or `]` in a JSON array", self.at)),
            }
        }
    }

    fn object(&mut self) -> Result<Value, Fault> {
        let mut items = DictBuilder::default();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Dict(Vec::new()));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(("expected a JSON object key in double quotes", self.at));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(("expected `:` after a JSON object key", self.at));
            }
            self.at += 1;
            self.skip_space();
            let value = self.value()?;
            items.insert(Value::Str(key), value);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Dict(items.finish()));
                }
                _ => return Err(("expected `,` or `}` in a JSON object", self.at)),
            }
        }
    }

    /// Skips the digits at the cursor, and returns how many there were.
    fn digits(&mut self) -> usize {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let first = self.peek();
        let whole = match first {
            Some(b'0') => {
                self.at += 1;
                1
            }
            _ => self.digits(),
        };
        if whole == 0 {
            self.at = start;
            return self.word();
        }
        let mut float = false;
        let mut end = self.at;
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() > 0 {
                float = true;
                end = self.at;
            }
            self.at = end;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() > 0 {
                float = true;
                end = self.at;
            }
            self.at = end;
        }
        let text = &self.text[start..end];
        if float {
            return text
                .parse()
                .map(Value::Float)
                .map_err(|_| ("not a number", start));
        }
        if let Ok(small) = text.parse() {
            return Ok(Value::Int(small));
        }
        if whole > MAX_DIGITS {
            return Err(("integer of more than 4300 digits", start));
        }
        text.parse::<BigInt>()
            .map(Value::from_bigint)
            .map_err(|_| ("not a number", start))
    }

    fn string(&mut self) -> Result<String, Fault> {
        let open = self.at;
        self.at += 1;
        let mut plain = self.at;
        let mut out = String::new();
        loop {
            let special = |&b: &u8| b == b'"' || b == b'\\' || b < 0x20;
            self.at += self.bytes[self.at..]
                .iter()
                .position(special)
                .unwrap_or(self.bytes.len() - self.at);
            match self.peek() {
                None => return Err(("JSON string without a closing quote", open)),
                Some(b'"') => {
                    let tail = &self.text[plain..self.at];
                    self.at += 1;
                    if out.is_empty() {
                        return Ok(tail.to_owned());
                    }
                    out.push_str(tail);
                    return Ok(out);
                }
                Some(b'\\') => {
                    out.push_str(&self.text[plain..self.at]);
                    self.escape(&mut out)?;
                    plain = self.at;
                }
                Some(_) => return Err(("control character in a JSON string", self.at)),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Fault> {
        let start = self.at;
        self.at += 2;
        let c = match self.bytes.get(start + 1) {
            Some(b @ (b'"' | b'\\' | b'/')) => char::from(*b),
            Some(b'b') => '\x08',
            Some(b'f') => '\x0c',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let high = self.hex4(start)?;
                let low = match high {
                    0xd800..0xdc00 if self.bytes[self.at..].starts_with(b"\\u") => {
                        let back = self.at;
                        self.at += 2;
                        match self.hex4(back)? {
                            low @ 0xdc00..0xe000 => Some(low),
                            _ => {
                                self.at = back;
                                None
                            }
                        }
                    }
                    _ => None,
                };
                let code = low.map_or(high, |low| 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00));
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(("unknown escape in a JSON string", start)),
        };
        out.push(c);
        Ok(())
    }

    fn hex4(&mut self, start: usize) -> Result<u32, Fault> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        self.at += 4;
        digits
            .and_then(|d| u32::from_str_radix(d, 16).ok())
            .ok_or(("`\\u` needs four hexadecimal digits", start))
    }
}
