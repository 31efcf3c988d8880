//! Whether a quote inside a string ends it.

use super::state::State;
use super::{Context, Parser, is_in};
use crate::text::{is_alpha, is_space};

/// What to do at a quote.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    /// The string ends here.
    Ends,
    /// The quote was handled; the next character is read from the start.
    Handled,
    /// Neither; the string continues.
    Open,
}

impl Parser {
    /// Deals with the closing quote at the cursor.
    pub(super) fn right_quote(&mut self, state: &mut State) -> Quote {
        let right = state.right;
        if state.doubled_quotes && self.cursor.peek(1) == Some(right) {
            self.cursor.index += 1;
            return Quote::Handled;
        }
        if state.missing_quotes && self.context() == Some(Context::Value) {
            let mut at = 1;
            while self
                .cursor
                .peek(at)
                .is_some_and(|c| c != right && c != state.left)
            {
                at += 1;
            }
            if self.cursor.peek(at).is_some()
                && self.cursor.peek(self.cursor.after_space(at + 1)) == Some(':')
            {
                self.cursor.index -= 1;
                return Quote::Ends;
            }
            return Quote::Open;
        }
        if state.unmatched_quote {
            state.unmatched_quote = false;
            return self.keep(state);
        }
        let at = self.next_quote_or_end(state);
        let next = self.cursor.peek(at);
        if next == Some(',') && self.context() == Some(Context::Value) {
            let end = self.cursor.find(&[right], at + 1);
            let after = self.cursor.after_space(end + 1);
            return if is_in(self.cursor.peek(after), &['}', ',']) {
                self.keep(state)
            } else {
                Quote::Open
            };
        }
        if next != Some(right) || self.cursor.peek(at - 1) == Some('\\') {
            return Quote::Open;
        }
        let value = self.context() == Some(Context::Value);
        let blank = (1..at).all(|at| self.cursor.peek(at).is_none_or(is_space));
        if blank && !(value && self.member_follows_quote(at)) {
            return Quote::Ends;
        }
        match self.context() {
            Some(Context::Value) => self.right_quote_in_value(at, state),
            Some(Context::Array) => self.right_quote_in_array(at, state),
            Some(Context::Key) => self.keep(state),
            None => Quote::Open,
        }
    }

    fn keep(&mut self, state: &mut State) -> Quote {
        state.push_next(&mut self.cursor);
        Quote::Handled
    }

    /// The offset of the next quote, or of what could end the string in one of the contexts around it.
    fn next_quote_or_end(&self, state: &State) -> isize {
        let (key, value) = (self.is_within(Context::Key), self.is_within(Context::Value));
        let array = self.is_within(Context::Array);
        let mut comma_ends = true;
        let mut at = 1;
        while let Some(c) = self
            .cursor
            .peek(at)
            .filter(|&c| c != state.right && c != state.left)
        {
            if is_alpha(c) {
                comma_ends = false;
            }
            if (key && matches!(c, ':' | '}'))
                || (value && c == '}')
                || (array && matches!(c, ']' | ','))
                || (comma_ends && c == ',' && self.context() == Some(Context::Value))
            {
                break;
            }
            at += 1;
        }
        at
    }

    /// `quote` is the offset of the next quote.
    fn right_quote_in_value(&mut self, quote: isize, state: &mut State) -> Quote {
        if self.member_follows_quote(quote) {
            return self.keep(state);
        }
        let right = state.right;
        let mut at = self.cursor.find(&[right], quote + 1) + 1;
        while let Some(c) = self.cursor.peek(at).filter(|&c| c != ':') {
            if matches!(c, ',' | ']' | '}') || (c == right && self.cursor.peek(at - 1) != Some('\\')) {
                break;
            }
            at += 1;
        }
        if self.cursor.peek(at) == Some(':') {
            return Quote::Open;
        }
        state.unmatched_quote = !state.unmatched_quote;
        self.keep(state)
    }

    /// `quote` is the offset of the next quote. Quotes in pairs up to the bracket belong to the string.
    fn right_quote_in_array(&mut self, quote: isize, state: &mut State) -> Quote {
        let right = state.right;
        let mut at = quote;
        while self.cursor.peek(at) == Some(right) {
            at = self.cursor.find(&[right, ']'], at + 1);
            if self.cursor.peek(at) != Some(right) {
                return Quote::Ends;
            }
            at = self.cursor.find(&[right, ']'], at + 1);
        }
        state.unmatched_quote = !state.unmatched_quote;
        self.keep(state)
    }
}
