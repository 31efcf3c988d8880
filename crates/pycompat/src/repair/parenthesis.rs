//! Parentheses in broken JSON: Python's tuples, and values in needless parentheses.

use super::{Parser, QUOTES, is_quote};
use crate::text::{is_digit, is_space};
use crate::value::Value;

/// Follows brackets and quotes through a text, character by character.
#[derive(Default)]
struct Nesting {
    round: isize,
    square: usize,
    curly: usize,
    quote: Option<char>,
    escaped: bool,
}

impl Nesting {
    fn at_top(&self) -> bool {
        self.round == 0 && self.square == 0 && self.curly == 0
    }

    /// Whether `c` belongs to a string or starts one.
    fn is_text(&mut self, c: char) -> bool {
        if c == '\\' {
            self.escaped = !self.escaped;
            return true;
        }
        let escaped = std::mem::take(&mut self.escaped);
        if let Some(quote) = self.quote {
            if c == quote && !escaped {
                self.quote = None;
            }
            return true;
        }
        if QUOTES.contains(&c) && !escaped {
            self.quote = Some(c);
            return true;
        }
        false
    }

    fn bracket(&mut self, c: char) {
        match c {
            '(' => self.round += 1,
            ')' => self.round -= 1,
            '[' => self.square += 1,
            ']' => self.square = self.square.saturating_sub(1),
            '{' => self.curly += 1,
            '}' => self.curly = self.curly.saturating_sub(1),
            _ => {}
        }
    }
}

impl Parser {
    /// The value of the parentheses at the cursor: a list, unless they only group one value.
    pub(super) fn parenthesized(&mut self) -> Value {
        let is_tuple = self.parenthesis_is_tuple();
        self.cursor.index += 1;
        let mut items = self.array(')');
        if is_tuple || items.len() != 1 {
            Value::List(items.into())
        } else {
            items.remove(0)
        }
    }

    /// Whether the parenthesis holds a comma of its own or nothing.
    fn parenthesis_is_tuple(&self) -> bool {
        let mut nesting = Nesting::default();
        let mut any = false;
        let mut offset = 1;
        while let Some(c) = self.cursor.peek(offset) {
            offset += 1;
            let quote = nesting.quote;
            if nesting.is_text(c) {
                any |= quote.is_none() && nesting.quote.is_some() && nesting.at_top();
                continue;
            }
            let top = nesting.at_top();
            any |= top && !is_space(c) && c != ',' && c != ')';
            match c {
                ')' if top => return !any,
                ')' if nesting.round == 0 => {}
                ',' if top => return true,
                _ => nesting.bracket(c),
            }
        }
        !any
    }

    /// Whether a parenthesis at the top level stands alone in its lines, as no parenthesis within prose does.
    pub(super) fn parenthesis_can_start_value(&self) -> bool {
        for at in (0..self.cursor.index).rev() {
            match self.cursor.get(at) {
                Some('\n' | '\r') => break,
                Some(c) if !is_space(c) => return false,
                _ => {}
            }
        }
        let inner = self.cursor.after_space(1);
        let Some(first) = self.cursor.peek(inner) else {
            return false;
        };
        let start = self.cursor.index + inner;
        let word: String = self
            .cursor
            .slice(start, start + 5)
            .iter()
            .map(char::to_ascii_lowercase)
            .collect();
        let is_start =
            matches!(first, ')' | '{' | '[' | '(' | '-' | '.') || is_quote(Some(first)) || is_digit(first);
        if !is_start
            && !["true", "false", "null", "none"]
                .iter()
                .any(|literal| word.starts_with(literal))
        {
            return false;
        }
        let mut nesting = Nesting::default();
        let mut offset = 1;
        while let Some(c) = self.cursor.peek(offset) {
            offset += 1;
            if nesting.is_text(c) {
                continue;
            }
            if c == ')' && nesting.at_top() {
                let after = (offset..).map_while(|offset| self.cursor.peek(offset));
                let mut visible = after.skip_while(|&c| is_space(c) && c != '\n' && c != '\r');
                return visible.next().is_none_or(|c| c == '\n' || c == '\r');
            }
            nesting.bracket(c);
        }
        true
    }
}
