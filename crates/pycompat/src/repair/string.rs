//! Strings in broken JSON: without quotes, with too many, with none at the end.

use super::state::State;
use super::{Context, Parser, QUOTES, is_in, is_quote};
use crate::text::{is_alnum, is_space, rstrip};
use crate::value::Value;

mod body;
mod escape;

/// How reading a string starts.
enum Entry {
    Done(Value),
    Body(State),
}

impl Parser {
    /// The string at the cursor; where it turns out to be a literal or a fenced block, that value.
    pub(super) fn string(&mut self) -> Value {
        match self.string_entry() {
            Entry::Done(value) => value,
            Entry::Body(mut state) => {
                let last = self.string_body(&mut state);
                self.finish_string(state, last)
            }
        }
    }

    fn string_entry(&mut self) -> Entry {
        let empty = || Entry::Done(Value::Str(String::new()));
        if is_in(self.cursor.peek(0), &['#', '/']) {
            return Entry::Done(self.comment());
        }
        while self
            .cursor
            .peek(0)
            .is_some_and(|c| !QUOTES.contains(&c) && !is_alnum(c))
        {
            self.cursor.index += 1;
        }
        let Some(first) = self.cursor.peek(0) else {
            return empty();
        };
        if let Some(simple) = self.simple_string() {
            return Entry::Done(Value::Str(simple));
        }
        let mut state = match first {
            '\'' => State::new('\'', '\''),
            '“' => State::new('“', '”'),
            _ => State::new('"', '"'),
        };
        if is_alnum(first) {
            if self.context() != Some(Context::Key)
                && let Some(value) = self.literal()
            {
                return Entry::Done(value);
            }
            state.missing_quotes = true;
        } else {
            self.cursor.index += 1;
        }
        if self.cursor.peek(0) == Some('`') {
            // A block with the content `false` is treated like a missing block.
            if let Some(value) = self.fenced_block().filter(|value| *value != Value::Bool(false)) {
                return Entry::Done(value);
            }
        }
        if self.cursor.peek(0) == Some(state.left) {
            return self.second_quote(state);
        }
        Entry::Body(state)
    }

    /// A string in double quotes without anything to repair, by what follows it.
    fn simple_string(&mut self) -> Option<String> {
        if self.cursor.peek(0) != Some('"') {
            return None;
        }
        let mut end = 1;
        loop {
            match self.cursor.peek(end)? {
                '"' => break,
                '\\' | '\n' | '\r' => return None,
                _ => end += 1,
            }
        }
        let next = self.cursor.peek(self.cursor.after_space(end + 1));
        let fits = match self.context() {
            Some(Context::Key) => next == Some(':'),
            Some(Context::Value) => next.is_none_or(|c| c == ',' || c == '}'),
            Some(Context::Array) => next.is_none_or(|c| c == ',' || c == ']'),
            None => next.is_none(),
        };
        if !fits {
            return None;
        }
        let start = self.cursor.index + 1;
        let value = self.cursor.slice(start, start + end - 1).iter().collect();
        self.cursor.index = start + end;
        Some(value)
    }

    /// `true`, `false`, `null` or `None` in any case, up to white space, a comma or a closing bracket.
    fn literal(&mut self) -> Option<Value> {
        let literals = [
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("null", Value::None),
            ("none", Value::None),
        ];
        for (literal, value) in literals {
            let same =
                |(c, at): (char, isize)| self.cursor.peek(at).is_some_and(|d| d.to_ascii_lowercase() == c);
            if literal.chars().zip(0..).all(same) {
                let len = literal.len() as isize;
                if self
                    .cursor
                    .peek(len)
                    .is_none_or(|c| is_space(c) || matches!(c, ',' | ')' | ']' | '}'))
                {
                    self.cursor.index += len;
                    return Some(value);
                }
            }
        }
        None
    }

    /// The value in a block of code fences for JSON.
    fn fenced_block(&mut self) -> Option<Value> {
        let at = self.cursor.index;
        if !self
            .cursor
            .slice(at, at + 7)
            .iter()
            .copied()
            .eq("```json".chars())
        {
            return None;
        }
        let end = at + self.cursor.find(&['`'], 7);
        if !self.cursor.slice(end, end + 3).iter().copied().eq("```".chars()) {
            return None;
        }
        self.cursor.index += 7;
        Some(self.nested_value())
    }

    /// The cursor is on a second opening quote.
    fn second_quote(&mut self, mut state: State) -> Entry {
        let empty = || Entry::Done(Value::Str(String::new()));
        let next = self.cursor.peek(1);
        let closes: &[char] = match self.context() {
            Some(Context::Key) => &[':'],
            Some(Context::Value) => &[',', '}'],
            Some(Context::Array) => &[',', ']'],
            None => &[],
        };
        if is_in(next, closes) {
            self.cursor.index += 1;
            return empty();
        }
        if next == Some(state.left) {
            return empty();
        }
        let right = state.right;
        let close = self.cursor.find(&[right], 1);
        if self.cursor.peek(close + 1) == Some(right) {
            state.doubled_quotes = true;
            self.cursor.index += 1;
            return Entry::Body(state);
        }
        if self.cursor.peek(close) == Some(right) {
            let outer = self.cursor.find(&[right], close + 1);
            let after = self.cursor.peek(self.cursor.after_space(outer + 1));
            let blank = (1..close).all(|at| self.cursor.peek(at).is_none_or(is_space));
            if self.context() == Some(Context::Value)
                && !blank
                && self.cursor.peek(outer) == Some(right)
                && after.is_none_or(|c| c == ',' || c == '}')
            {
                state.push(state.left);
                state.unmatched_quote = true;
                self.cursor.index += 1;
                return Entry::Body(state);
            }
        }
        let next = self.cursor.peek(self.cursor.after_space(1));
        if is_quote(next) || is_in(next, &['{', '[']) {
            self.cursor.index += 1;
            return empty();
        }
        if !is_in(next, &[',', ']', '}']) {
            self.cursor.index += 1;
        }
        Entry::Body(state)
    }

    /// `last` is the character at which reading stopped.
    fn finish_string(&mut self, mut state: State, last: Option<char>) -> Value {
        if state.missing_quotes && self.context() == Some(Context::Key) && last.is_some_and(is_space) {
            self.cursor.skip_space();
            if !is_in(self.cursor.peek(0), &[':', ',']) {
                return Value::Str(String::new());
            }
        }
        let closed = last == Some(state.right);
        if closed {
            self.cursor.index += 1;
        }
        if !closed || state.missing_quotes || state.out.ends_with('\n') {
            state.out.truncate(rstrip(&state.out).len());
        }
        Value::Str(state.out)
    }
}
