//! What a comma means inside a string that is an object's value and may lack its closing quote.

use super::state::State;
use super::{Parser, is_in, is_quote};
use crate::text::{is_alnum, is_digit, is_space};

/// What a comma is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Comma {
    /// The end of the value: a member follows.
    Member,
    /// Text, and a container that belongs to the text follows.
    Container,
    /// Text.
    Text,
    /// Text, as is every later comma: no quote and no bracket follows.
    TextToTheEnd,
}

const QUOTES_AND_BRACE: [char; 5] = ['"', '\'', '“', '”', '}'];
const QUOTES_AND_OPENERS: [char; 6] = ['"', '\'', '“', '”', '{', '['];

impl Parser {
    /// What the comma at the cursor is.
    pub(super) fn classify_comma(&self, state: &mut State) -> Comma {
        let at = self.cursor.after_space(1);
        let Some(next) = self.cursor.peek(at).filter(|&c| c != '}') else {
            return Comma::Member;
        };
        if is_quote(Some(next)) {
            let end = self.cursor.find(&[next], at + 1);
            return self.member_if_colon_after(end);
        }
        if next == '`' {
            let end = self.after_bare_key(at + 1);
            return if self.cursor.peek(end) == Some(':') {
                Comma::Member
            } else {
                Comma::Text
            };
        }
        if is_alnum(next) || next == '_' {
            let end = self.after_bare_key(at);
            if self.cursor.peek(end) == Some(':') && self.bare_member_has_value(end + 1, state) {
                return Comma::Member;
            }
        }
        if next == '{' || next == '[' {
            return Comma::Container;
        }
        let special_at = state.find(&self.cursor, &QUOTES_AND_OPENERS, at);
        match self.cursor.peek(special_at) {
            None => Comma::TextToTheEnd,
            Some('{' | '[') => Comma::Text,
            Some(quote) => {
                let end = state.find(&self.cursor, &[quote], special_at + 1);
                self.member_if_colon_after(end)
            }
        }
    }

    fn member_if_colon_after(&self, end: isize) -> Comma {
        let colon = self.cursor.peek(end).is_some()
            && self.cursor.peek(self.cursor.after_space(end + 1)) == Some(':');
        if colon { Comma::Member } else { Comma::Text }
    }

    /// Whether what follows a bare key's colon is a value and not prose such as `, note: this`.
    fn bare_member_has_value(&self, offset: isize, state: &mut State) -> bool {
        let start = self.cursor.after_space(offset);
        let first = self.cursor.peek(start);
        if is_quote(first) || is_in(first, &['{', '[', '-']) || first.is_some_and(is_digit) {
            return true;
        }
        for literal in ["true", "false", "null"] {
            let len = literal.len() as isize;
            if literal
                .chars()
                .zip(start..)
                .all(|(c, at)| self.cursor.peek(at) == Some(c))
            {
                let end = self.cursor.peek(start + len);
                if end.is_none_or(|c| is_space(c) || matches!(c, ',' | '}' | ']')) {
                    return true;
                }
            }
        }
        let end = state.find(&self.cursor, &QUOTES_AND_BRACE, start);
        self.cursor.peek(end) == Some('}')
    }
}
