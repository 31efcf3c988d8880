//! Python's number literals.

use super::{LiteralError, LiteralReader};
use crate::json::MAX_DIGITS;
use crate::text::is_word;
use crate::value::Value;
use num_bigint::BigInt;
use num_traits::Num;

impl LiteralReader<'_> {
    pub(super) fn number(&mut self) -> Result<Value, LiteralError> {
        let prefix = self
            .rest()
            .as_bytes()
            .get(..2)
            .map(|p| [p[0], p[1].to_ascii_lowercase()]);
        let value = match prefix {
            Some([b'0', b'x']) => self.integer(16)?,
            Some([b'0', b'o']) => self.integer(8)?,
            Some([b'0', b'b']) => self.integer(2)?,
            _ => self.decimal()?,
        };
        if self.rest().starts_with(is_word) {
            return Err(self.malformed("a letter directly after a number"));
        }
        Ok(value)
    }

    /// An integer after its two-character prefix.
    fn integer(&mut self, radix: u32) -> Result<Value, LiteralError> {
        self.at += 2;
        self.take(b'_');
        let digits = self
            .digits(radix)
            .ok_or_else(|| self.malformed("expected digits"))?;
        let big = BigInt::from_str_radix(&digits, radix).map_err(|_| self.malformed("expected digits"))?;
        Ok(Value::from_bigint(big))
    }

    fn decimal(&mut self) -> Result<Value, LiteralError> {
        let mut text = self.digits(10).unwrap_or_default();
        let whole = text.len();
        let mut float = false;
        if self.take(b'.') {
            float = true;
            text.push('.');
            match self.digits(10) {
                Some(fraction) => text += &fraction,
                None if whole == 0 => return Err(self.malformed("expected a Python literal")),
                None => {}
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            float = true;
            self.at += 1;
            text.push('e');
            if let Some(sign @ (b'+' | b'-')) = self.peek() {
                self.at += 1;
                text.push(char::from(sign));
            }
            text += &self
                .digits(10)
                .ok_or_else(|| self.malformed("expected an exponent"))?;
        }
        if float {
            return text
                .parse()
                .map(Value::Float)
                .map_err(|_| self.malformed("expected a number"));
        }
        if text.starts_with('0') && text.bytes().any(|b| b != b'0') {
            return Err(self.malformed("leading zeros in an integer"));
        }
        if text.len() > MAX_DIGITS {
            return Err(self.malformed("integer of more than 4300 digits"));
        }
        match text.parse() {
            Ok(small) => Ok(Value::Int(small)),
            Err(_) => text
                .parse()
                .map(Value::from_bigint)
                .map_err(|_| self.malformed("expected a number")),
        }
    }

    /// Returns digits with the single underscores between them removed, `None` if there is no digit.
    fn digits(&mut self, radix: u32) -> Option<String> {
        let mut out = String::new();
        loop {
            let bytes = &self.text.as_bytes()[self.at..];
            let ahead = usize::from(!out.is_empty() && bytes.first() == Some(&b'_'));
            match bytes.get(ahead) {
                Some(&b) if char::from(b).is_digit(radix) => out.push(char::from(b)),
                _ => return (!out.is_empty()).then_some(out),
            }
            self.at += ahead + 1;
        }
    }
}
