//! Numbers in broken JSON; a text that is not a number becomes a string.

use super::{Context, Parser};
use crate::json::MAX_DIGITS;
use crate::text::is_alpha;
use crate::value::Value;
use num_bigint::BigInt;

impl Parser {
    pub(super) fn number(&mut self) -> Value {
        let start = self.cursor.index;
        let in_array = self.context() == Some(Context::Array);
        let mut digits = String::new();
        while let Some(c) = self.cursor.peek(0) {
            let sign = c == '+' && digits.ends_with(['e', 'E']);
            let taken = matches!(c, '0'..='9' | '-' | '.' | 'e' | 'E' | '/' | ',' | '_') || sign;
            if !taken || (in_array && c == ',') {
                break;
            }
            if c != '_' {
                digits.push(c);
            }
            self.cursor.index += 1;
        }
        if self.cursor.peek(0).is_some_and(is_alpha) {
            self.cursor.index = start;
            return self.string();
        }
        if digits.ends_with(['+', '-', 'e', 'E', '/', ',']) {
            digits.pop();
            self.cursor.index -= 1;
        }
        if digits.contains(',') {
            return Value::Str(digits);
        }
        let number = if digits.contains(['.', 'e', 'E']) {
            digits.parse().ok().map(Value::Float)
        } else if digits.len() > MAX_DIGITS {
            None
        } else {
            digits.parse::<BigInt>().ok().map(Value::from_bigint)
        };
        number.unwrap_or(Value::Str(digits))
    }
}
