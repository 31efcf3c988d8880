//! `ast.literal_eval`: Python literals read as data. Bytes, complex numbers, `...` and `\N{…}` are refused.

mod number;
mod string;

use super::equal::{DictBuilder, distinct};
use super::text::is_word;
use crate::value::Value;
use crate::value::items::{Items, ItemsBuilder};
use num_bigint::BigInt;
use std::borrow::Cow;

/// CPython's tokenizer allows this many open brackets.
const MAX_DEPTH: usize = 200;

/// Why a text is not a Python literal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LiteralError {
    /// What Python reports as a `SyntaxError` or a `ValueError`.
    #[error("{message} at byte {offset} of the Python literal")]
    Malformed {
        /// What was expected or refused.
        message: &'static str,
        /// Bytes before the place, once spaces and tabs in front are removed.
        offset: usize,
    },
    /// What Python reports as a `TypeError`, which DSPy does not catch.
    #[error("a list, dict or set cannot be a dict key or a member of a set")]
    Unhashable,
}

/// `ast.literal_eval(text)`. A lone surrogate escape, which Rust strings cannot hold, is read as U+FFFD.
///
/// ```
/// use bsft_pycompat::literal::{LiteralError, eval};
/// use bsft_pycompat::repr::repr;
///
/// assert_eq!(repr(&eval("{'ok': True, 'ids': (0x1F, 1_000)}")?), "{'ok': True, 'ids': (31, 1000)}");
/// assert!(matches!(eval("open('file')"), Err(LiteralError::Malformed { .. })));
/// assert_eq!(eval("{[]: 1}"), Err(LiteralError::Unhashable));
/// # Ok::<(), LiteralError>(())
/// ```
pub fn eval(text: &str) -> Result<Value, LiteralError> {
    let text = text.trim_start_matches([' ', '\t']);
    let text = if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    };
    let mut reader = LiteralReader {
        text: &text,
        at: 0,
        depth: 0,
        unhashable: false,
    };
    if let Some(at) = text.find('\0') {
        reader.at = at;
        return Err(reader.malformed("null character"));
    }
    reader.skip_first_lines()?;
    let value = reader.list_of_values()?;
    reader.skip_last_lines()?;
    if reader.unhashable {
        Err(LiteralError::Unhashable)
    } else {
        Ok(value)
    }
}

fn is_hashable(value: &Value) -> bool {
    match value {
        Value::List(_) | Value::Dict(_) | Value::Set(_) => false,
        Value::Tuple(items) => items.iter().all(|item| is_hashable(&item)),
        _ => true,
    }
}

struct LiteralReader<'a> {
    text: &'a str,
    at: usize,
    /// Open brackets; within any, line breaks are white space.
    depth: usize,
    /// Whether a key or member is unhashable. This is an error only if the rest of the literal is valid.
    unhashable: bool,
}

impl LiteralReader<'_> {
    fn malformed(&self, message: &'static str) -> LiteralError {
        LiteralError::Malformed {
            message,
            offset: self.at,
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Takes `byte` if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) -> Result<(), LiteralError> {
        loop {
            match self.peek() {
                Some(b' ' | b'\t' | b'\x0c') => self.at += 1,
                Some(b'\n') if self.depth > 0 => self.at += 1,
                Some(b'#') => self.at += self.rest().find('\n').unwrap_or(self.rest().len()),
                Some(b'\\') => {
                    if !self.rest().starts_with("\\\n") || self.rest().len() == 2 {
                        return Err(self.malformed("expected a line after a backslash"));
                    }
                    self.at += 2;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Blank lines in front of the first token, which must not be indented.
    fn skip_first_lines(&mut self) -> Result<(), LiteralError> {
        loop {
            let line = self.at;
            self.skip_space()?;
            if !self.take(b'\n') {
                let indent = &self.text[line..self.at];
                let indented = line > 0 && indent.ends_with([' ', '\t']) && !indent.contains('\\');
                return if indented {
                    Err(self.malformed("unexpected indent"))
                } else {
                    Ok(())
                };
            }
        }
    }

    /// Blank lines after the last token. White space that no line break ends is an indent to Python.
    fn skip_last_lines(&mut self) -> Result<(), LiteralError> {
        self.skip_space()?;
        while self.take(b'\n') {
            let line = self.at;
            self.skip_space()?;
            if self.peek().is_none()
                && self.text[line..].ends_with([' ', '\t'])
                && !self.text[line..].contains('#')
            {
                return Err(self.malformed("unexpected indent"));
            }
        }
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("more text after the literal")),
        }
    }

    /// One value, or several with commas, which are a tuple.
    fn list_of_values(&mut self) -> Result<Value, LiteralError> {
        let first = self.value()?;
        self.skip_space()?;
        if self.peek() != Some(b',') {
            return Ok(first);
        }
        let mut items = ItemsBuilder::default();
        items.push(first);
        while self.take(b',') {
            self.skip_space()?;
            if matches!(self.peek(), None | Some(b'\n' | b')')) {
                break;
            }
            items.push(self.value()?);
            self.skip_space()?;
        }
        Ok(Value::Tuple(items.finish()))
    }

    /// A value with or without a sign; the cursor is on its first character.
    fn value(&mut self) -> Result<Value, LiteralError> {
        let minus = self.peek() == Some(b'-');
        if !minus && self.peek() != Some(b'+') {
            return Ok(self.atom()?.0);
        }
        self.at += 1;
        self.skip_space()?;
        self.signed(minus)
    }

    fn signed(&mut self, minus: bool) -> Result<Value, LiteralError> {
        let (value, _) = match self.atom()? {
            (value, true) => (value, true),
            _ => return Err(self.malformed("a sign takes a number")),
        };
        Ok(match value {
            Value::Float(f) if minus => Value::Float(-f),
            Value::Int(i) if minus => i
                .checked_neg()
                .map_or_else(|| Value::from_bigint(-BigInt::from(i)), Value::Int),
            Value::BigInt(i) if minus => Value::from_bigint(-*i),
            value => value,
        })
    }

    /// A value without a sign in front, and whether it is a number that may get one.
    fn atom(&mut self) -> Result<(Value, bool), LiteralError> {
        match self.peek() {
            Some(b'0'..=b'9' | b'.') => Ok((self.number()?, true)),
            Some(b'\'' | b'"') => Ok((self.strings()?, false)),
            Some(b'(') => self.bracket(LiteralReader::parenthesis),
            Some(b'[') => self.bracket(|reader| {
                let items = reader.items(b']', ItemsBuilder::default())?;
                Ok((Value::List(items), false))
            }),
            Some(b'{') => self.bracket(|reader| Ok((reader.braces()?, false))),
            Some(_) => Ok((self.word()?, false)),
            None => Err(self.malformed("expected a Python literal")),
        }
    }

    fn bracket<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, LiteralError>,
    ) -> Result<T, LiteralError> {
        if self.depth == MAX_DEPTH {
            return Err(self.malformed("too many nested brackets"));
        }
        self.depth += 1;
        self.at += 1;
        self.skip_space()?;
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn close(&mut self, close: u8) -> Result<(), LiteralError> {
        self.skip_space()?;
        if self.take(close) {
            Ok(())
        } else {
            Err(self.malformed("expected a closing bracket"))
        }
    }

    fn parenthesis(&mut self) -> Result<(Value, bool), LiteralError> {
        if self.take(b')') {
            return Ok((Value::Tuple(Items::default()), false));
        }
        let unsigned = !matches!(self.peek(), Some(b'+' | b'-'));
        let value = self.list_of_values()?;
        self.close(b')')?;
        let number = matches!(value, Value::Int(_) | Value::BigInt(_) | Value::Float(_));
        Ok((value, unsigned && number))
    }

    /// The given items and those up to the closing bracket.
    fn items(&mut self, close: u8, mut items: ItemsBuilder) -> Result<Items, LiteralError> {
        loop {
            self.skip_space()?;
            if self.take(close) {
                return Ok(items.finish());
            }
            items.push(self.value()?);
            self.skip_space()?;
            if !self.take(b',') {
                self.close(close)?;
                return Ok(items.finish());
            }
        }
    }

    fn braces(&mut self) -> Result<Value, LiteralError> {
        if self.take(b'}') {
            return Ok(Value::Dict(Vec::new()));
        }
        let first = self.value()?;
        self.skip_space()?;
        if self.peek() != Some(b':') {
            let mut members = ItemsBuilder::default();
            members.push(first);
            let members = if self.take(b',') {
                self.items(b'}', members)?
            } else {
                self.close(b'}')?;
                members.finish()
            };
            self.unhashable |= !members.iter().all(|member| is_hashable(&member));
            return Ok(Value::Set(distinct(members)));
        }
        let mut dict = DictBuilder::default();
        let mut key = first;
        loop {
            if !self.take(b':') {
                return Err(self.malformed("expected `:` after a dict key"));
            }
            self.skip_space()?;
            self.unhashable |= !is_hashable(&key);
            let value = self.value()?;
            dict.insert(key, value);
            self.skip_space()?;
            if !self.take(b',') {
                self.close(b'}')?;
                break;
            }
            self.skip_space()?;
            if self.take(b'}') {
                break;
            }
            key = self.value()?;
            self.skip_space()?;
        }
        Ok(Value::Dict(dict.finish()))
    }

    /// `True`, `False`, `None`, `set()`, or a string with a prefix.
    fn word(&mut self) -> Result<Value, LiteralError> {
        let end = self.rest().find(|c| !is_word(c)).unwrap_or(self.rest().len());
        let (start, word) = (self.at, &self.text[self.at..self.at + end]);
        if let Some(b'\'' | b'"') = self.text.as_bytes().get(start + end) {
            return self.strings();
        }
        let value = match word {
            "True" => Value::Bool(true),
            "False" => Value::Bool(false),
            "None" => Value::None,
            "set" => {
                self.at += end;
                self.skip_space()?;
                if self.peek() != Some(b'(') {
                    return Err(self.malformed("expected `()` after `set`"));
                }
                self.bracket(|reader| reader.close(b')'))?;
                return Ok(Value::Set(Items::default()));
            }
            _ => return Err(self.malformed("expected a Python literal")),
        };
        self.at += end;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{repr, vectors};

    #[test]
    fn literals_read_as_in_python() {
        for row in vectors::rows("literal") {
            let text = vectors::text(&row, "in");
            let read = match eval(text) {
                Ok(value) => Some(repr::repr(&value)),
                Err(LiteralError::Unhashable) => Some("unhashable".to_owned()),
                Err(LiteralError::Malformed { .. }) => None,
            };
            assert_eq!(read.as_deref(), row["out"].as_str(), "{text:?}");
        }
    }

    #[test]
    fn reading_never_panics() {
        let mut scraps = vectors::Scraps::new(2);
        for _ in 0..20_000 {
            let text = scraps.text(vectors::SYNTAX, 12);
            if let Err(error) = eval(&text) {
                assert!(!error.to_string().is_empty());
            }
        }
        for open in ["(", "[", "{", "{1: ", "-", "set(", "'a' "] {
            assert!(eval(&open.repeat(100_000)).is_err() || open == "'a' ");
        }
    }
}
