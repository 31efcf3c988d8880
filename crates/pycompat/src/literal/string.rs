//! Python's string literals: prefixes, triple quotes, escapes, and neighbours that join.

use super::{LiteralError, LiteralReader};
use crate::value::Value;

impl LiteralReader<'_> {
    /// One or more string literals; the cursor is on a quote or a prefix.
    pub(super) fn strings(&mut self) -> Result<Value, LiteralError> {
        let mut out = String::new();
        loop {
            self.one_string(&mut out)?;
            self.skip_space()?;
            if !self.at_string() {
                return Ok(Value::Str(out));
            }
        }
    }

    fn at_string(&self) -> bool {
        let rest = self.rest().trim_start_matches(|c: char| c.is_ascii_alphabetic());
        self.rest().len() - rest.len() <= 2 && rest.starts_with(['\'', '"'])
    }

    fn one_string(&mut self, out: &mut String) -> Result<(), LiteralError> {
        let quote_at = self
            .rest()
            .find(['\'', '"'])
            .ok_or_else(|| self.malformed("expected a string"))?;
        let raw = match &self.rest()[..quote_at] {
            "" | "u" | "U" => false,
            "r" | "R" => true,
            _ => return Err(self.malformed("expected a string with the prefix `r`, `u` or none")),
        };
        self.at += quote_at;
        let quote = &self.rest()[..1];
        let triple = quote.repeat(3);
        let (close, long) = if self.rest().starts_with(&triple) {
            (&*triple, true)
        } else {
            (quote, false)
        };
        let close = close.to_owned();
        let open = self.at;
        self.at += close.len();
        let mut plain = self.at;
        loop {
            let Some(b) = self.peek() else {
                self.at = open;
                return Err(self.malformed("string without a closing quote"));
            };
            match b {
                b'\\' if raw => {
                    self.at += 1 + self.text[self.at + 1..].chars().next().map_or(0, char::len_utf8)
                }
                b'\\' => {
                    out.push_str(&self.text[plain..self.at]);
                    self.escape(out)?;
                    plain = self.at;
                }
                b'\n' if !long => return Err(self.malformed("string without a closing quote")),
                _ if self.text.as_bytes()[self.at..].starts_with(close.as_bytes()) => {
                    out.push_str(&self.text[plain..self.at]);
                    self.at += close.len();
                    return Ok(());
                }
                _ => self.at += 1,
            }
        }
    }

    /// Appends the character of the escape whose backslash is at the cursor.
    fn escape(&mut self, out: &mut String) -> Result<(), LiteralError> {
        let Some(c) = self.text[self.at + 1..].chars().next() else {
            return Err(self.malformed("string without a closing quote"));
        };
        let simple = match c {
            '\n' => None,
            '\\' | '\'' | '"' => Some(c),
            'a' => Some('\x07'),
            'b' => Some('\x08'),
            'f' => Some('\x0c'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\x0b'),
            'x' => return self.code(2, 2, 16, out),
            'u' => return self.code(2, 4, 16, out),
            'U' => return self.code(2, 8, 16, out),
            '0'..='7' => {
                let digits = self.text.as_bytes()[self.at + 1..].iter().take(3);
                let n = digits.take_while(|b| matches!(b, b'0'..=b'7')).count();
                return self.code(1, n, 8, out);
            }
            'N' => return Err(self.malformed("character names in strings are not supported")),
            _ => {
                out.push('\\');
                Some(c)
            }
        };
        out.extend(simple);
        self.at += 1 + c.len_utf8();
        Ok(())
    }

    /// A character by its number: `n` digits after `skip` characters.
    fn code(&mut self, skip: usize, n: usize, radix: u32, out: &mut String) -> Result<(), LiteralError> {
        let start = self.at + skip;
        let digits = self
            .text
            .get(start..start + n)
            .filter(|d| d.bytes().all(|b| char::from(b).is_digit(radix)));
        let code = digits
            .and_then(|d| u32::from_str_radix(d, radix).ok())
            .filter(|&code| code <= 0x10_ffff);
        let code = code.ok_or_else(|| self.malformed("broken character escape"))?;
        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        self.at = start + n;
        Ok(())
    }
}
