//! Escapes in the strings of broken JSON.

use crate::repair::QUOTES;
use crate::repair::state::State;
use crate::repair::{Parser, is_in};

impl Parser {
    /// Deals with the escape whose backslash was just taken as text; whether there was one.
    pub(super) fn escape(&mut self, state: &mut State) -> bool {
        let Some(c) = self.cursor.peek(0) else {
            return false;
        };
        let active = state.active_right();
        if state.low_spans > 0 && c == '"' {
            self.replace_backslash(state, c);
            state.low_spans -= 1;
            return true;
        }
        if c == '\\' && self.backslashes(state, active) {
            return true;
        }
        let plain = match c {
            't' => Some('\t'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            'b' => Some('\x08'),
            '\\' => Some('\\'),
            _ if c == active => Some(c),
            _ => None,
        };
        if let Some(plain) = plain {
            self.replace_backslash(state, plain);
            while let Some(next) = self.cursor.peek(0).filter(|&c| c == active || c == '\\') {
                if !state.out.ends_with('\\') {
                    break;
                }
                self.replace_backslash(state, next);
            }
            return true;
        }
        match c {
            'u' => self.code(4, state),
            'x' => self.code(2, state),
            _ if c == '„' || QUOTES.contains(&c) => {
                self.replace_backslash(state, c);
                true
            }
            _ => false,
        }
    }

    fn replace_backslash(&mut self, state: &mut State, c: char) {
        state.out.pop();
        state.push(c);
        self.cursor.index += 1;
    }

    /// An even run of backslashes becomes half of it, unless it stands before a quote that ends nothing.
    fn backslashes(&mut self, state: &mut State, active: char) -> bool {
        let mut end = 1;
        while self.cursor.peek(end) == Some('\\') {
            end += 1;
        }
        let run = end + 1;
        let after = self.cursor.peek(self.cursor.after_space(end + 1));
        let closes = after.is_none() || is_in(after, &[',', ':', '}', ']']);
        if run % 2 != 0 || (self.cursor.peek(end) == Some(active) && !closes) {
            return false;
        }
        state.out.pop();
        (0..run / 2).for_each(|_| state.push('\\'));
        self.cursor.index += end;
        true
    }

    /// A character by its hexadecimal number. Two halves of a surrogate pair become the character they mean, which the
    /// original leaves as halves that no encoder takes; a half alone becomes U+FFFD.
    fn code(&mut self, digits: isize, state: &mut State) -> bool {
        let at = self.cursor.index;
        let Some(code) = self.hex(at + 1, digits) else {
            return false;
        };
        let low = self.cursor.slice(at + 5, at + 7) == ['\\', 'u'];
        let low = if low { self.hex(at + 7, 4) } else { None };
        let (code, taken) = match (code, low) {
            (0xd800..0xdc00, Some(low @ 0xdc00..0xe000)) if digits == 4 => {
                (0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00), 11)
            }
            _ => (code, 1 + digits),
        };
        state.out.pop();
        state.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
        self.cursor.index += taken;
        true
    }

    fn hex(&self, start: isize, digits: isize) -> Option<u32> {
        let text = self.cursor.slice(start, start + digits);
        if text.len() as isize != digits {
            return None;
        }
        text.iter()
            .try_fold(0, |code, c| Some(code * 16 + c.to_digit(16)?))
    }
}
