//! Containers that stand inside a string, and whether an object's next member starts somewhere ahead.

use super::{Parser, QUOTES, is_in, is_quote};
use crate::text::{is_alnum, is_digit, is_space};

/// What closes a container that `open` starts.
pub(super) fn closing(open: Option<char>) -> Option<char> {
    match open? {
        '[' => Some(']'),
        '{' => Some('}'),
        '(' => Some(')'),
        _ => None,
    }
}

fn matching_quote(quote: char) -> char {
    if quote == '“' { '”' } else { quote }
}

impl Parser {
    /// The offset after an unquoted token of letters, digits, `_` and `-`, and after the white space that follows it.
    pub(super) fn after_bare_key(&self, mut offset: isize) -> isize {
        while self
            .cursor
            .peek(offset)
            .is_some_and(|c| is_alnum(c) || c == '_' || c == '-')
        {
            offset += 1;
        }
        self.cursor.after_space(offset)
    }

    pub(super) fn is_bare_key(&self, offset: isize) -> bool {
        self.cursor.peek(offset).is_some_and(|c| is_alnum(c) || c == '_')
            && self.cursor.peek(self.after_bare_key(offset)) == Some(':')
    }

    /// Whether a quoted or bare key with its colon is at `offset`.
    pub(super) fn is_member(&self, offset: isize) -> bool {
        let Some(c) = self.cursor.peek(offset) else {
            return false;
        };
        if !QUOTES.contains(&c) {
            return self.is_bare_key(offset);
        }
        let end = self.cursor.find(&[matching_quote(c)], offset + 1);
        self.cursor.peek(end).is_some() && self.cursor.peek(self.cursor.after_space(end + 1)) == Some(':')
    }

    /// Whether a comma and a member follow the quote at `offset`.
    pub(super) fn member_follows_quote(&self, offset: isize) -> bool {
        let comma = self.cursor.after_space(offset + 1);
        self.cursor.peek(comma) == Some(',') && self.is_member(self.after_comments(comma + 1))
    }

    /// The offset behind white space and comments.
    pub(super) fn after_comments(&self, offset: isize) -> isize {
        let mut at = self.cursor.after_space(offset);
        loop {
            let (c, next) = (self.cursor.peek(at), self.cursor.peek(at + 1));
            if c == Some('#') || (c == Some('/') && next == Some('/')) {
                while self.cursor.peek(at).is_some_and(|c| c != '\n' && c != '\r') {
                    at += 1;
                }
            } else if c == Some('/') && next == Some('*') {
                at += 2;
                while self.cursor.peek(at).is_some()
                    && !(self.cursor.peek(at) == Some('*') && self.cursor.peek(at + 1) == Some('/'))
                {
                    at += 1;
                }
                if self.cursor.peek(at).is_none() {
                    return at;
                }
                at += 2;
            } else {
                return at;
            }
            at = self.cursor.after_space(at);
        }
    }

    /// The offset behind the balanced container at `offset`; `offset` itself if none starts there.
    pub(super) fn after_container(&self, offset: isize) -> Option<isize> {
        let Some(close) = closing(self.cursor.peek(offset)) else {
            return Some(offset);
        };
        let mut open = vec![close];
        let mut at = offset + 1;
        loop {
            let c = self.cursor.peek(at)?;
            let nested = closing(Some(c));
            if QUOTES.contains(&c) {
                at = self.cursor.find(&[matching_quote(c)], at + 1);
                self.cursor.peek(at)?;
            } else if let Some(nested) = nested.filter(|_| self.starts_nested_container(at)) {
                open.push(nested);
            } else if open.last() == Some(&c) {
                open.pop();
                if open.is_empty() {
                    return Some(at + 1);
                }
            }
            at += 1;
        }
    }

    /// Whether the bracket at `offset` looks like structure, by what is before and behind it, and not like prose.
    fn starts_nested_container(&self, offset: isize) -> bool {
        let before = (0..offset).rev().map(|at| (at, self.cursor.peek(at)));
        let Some((_, before)) = before.into_iter().find(|(_, c)| !c.is_some_and(is_space)) else {
            return true;
        };
        let Some(before) = before else { return true };
        if closing(Some(before)).is_some() {
            return true;
        }
        if before != ',' && before != ':' {
            return false;
        }
        let behind = self.cursor.after_space(offset + 1);
        let next = self.cursor.peek(behind);
        if self.cursor.peek(offset) != Some('{') {
            return is_in(next, &[']', ')', '-', '[', '{', '(', 't', 'f', 'n'])
                || is_quote(next)
                || next.is_some_and(is_digit);
        }
        next == Some('}') || is_quote(next) || (before == ':' && self.is_bare_key(behind))
    }
}
