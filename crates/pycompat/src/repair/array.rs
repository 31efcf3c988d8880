//! Arrays in broken JSON.

use super::{Context, Parser, is_in, is_quote};
use crate::value::Value;

impl Parser {
    /// The items up to `close`; the cursor is behind the opening bracket.
    pub(super) fn array(&mut self, close: char) -> Vec<Value> {
        let is_member = self.context() == Some(Context::Value);
        self.nested(3, |parser| {
            parser.within(Context::Array, |parser| parser.items(close, is_member))
        })
    }

    fn items(&mut self, close: char, is_member: bool) -> Vec<Value> {
        let mut items: Vec<Value> = Vec::new();
        loop {
            self.skip_space_and_comments();
            let Some(c) = self.cursor.peek(0).filter(|&c| c != close && c != '}') else {
                break;
            };
            if c == ',' {
                self.cursor.index += 1;
                continue;
            }
            let value = if is_quote(Some(c)) {
                // A string with a colon behind it is the first key of an object that lacks its brace.
                let end = self.cursor.after_space(self.cursor.find(&[c], 1) + 1);
                if self.cursor.peek(end) != Some(':') {
                    self.string()
                } else if is_member && !items.is_empty() && items.iter().all(is_scalar) {
                    return items;
                } else {
                    self.object()
                }
            } else {
                self.value()
            };
            let next = self.cursor.peek(0);
            if is_empty(&value) && next != Some(close) && !is_in(next, &[',']) {
                self.cursor.index += 1;
            } else if value.as_str() != Some("...") || self.cursor.peek(-1) != Some('.') {
                items.push(value);
            }
        }
        self.cursor.index += 1;
        items
    }
}

fn is_scalar(value: &Value) -> bool {
    !matches!(value, Value::Dict(_) | Value::List(_))
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Str(s) => s.is_empty(),
        Value::List(items) => items.is_empty(),
        Value::Dict(items) => items.is_empty(),
        _ => false,
    }
}
