//! The text under repair with a place in it; offsets count characters from that place, as Python's do.

use crate::text::is_space;
use std::cell::Cell;

/// The number of characters that are read of one text before it is given up: about a second's work.
const MAX_LOOKS: usize = 200_000_000;

pub(super) struct Cursor {
    text: Vec<char>,
    /// Where the parser is.
    pub(super) index: isize,
    /// Looks that are left; none once the text is given up.
    looks: Cell<usize>,
}

impl Cursor {
    pub(super) fn new(text: &str) -> Cursor {
        Cursor {
            text: text.chars().collect(),
            index: 0,
            looks: Cell::new(MAX_LOOKS),
        }
    }

    /// Makes the text look empty from now on, which ends every loop.
    pub(super) fn give_up(&mut self) {
        self.looks.set(0);
    }

    pub(super) fn gave_up(&self) -> bool {
        self.looks.get() == 0
    }

    fn look(&self, characters: usize) {
        self.looks.set(self.looks.get().saturating_sub(characters));
    }

    /// Characters in all, none once given up.
    pub(super) fn len(&self) -> isize {
        if self.gave_up() {
            0
        } else {
            self.text.len() as isize
        }
    }

    pub(super) fn at_end(&self) -> bool {
        self.index >= self.len()
    }

    /// The character at `at`; a negative one counts from the end.
    pub(super) fn get(&self, at: isize) -> Option<char> {
        self.look(1);
        let len = self.len();
        let at = if at < 0 { at + len } else { at };
        let at = usize::try_from(at).ok().filter(|_| at < len)?;
        self.text.get(at).copied()
    }

    /// The character `offset` after the cursor.
    pub(super) fn peek(&self, offset: isize) -> Option<char> {
        self.get(self.index + offset)
    }

    /// The characters from `start` to `end`.
    pub(super) fn slice(&self, start: isize, end: isize) -> &[char] {
        let place = |at: isize| usize::try_from(at).unwrap_or(0).min(self.text.len());
        let (start, end) = (place(start), place(end));
        self.look(end.saturating_sub(start));
        self.text.get(start..end).unwrap_or_default()
    }

    /// The text from `start` on.
    pub(super) fn text_from(&self, start: isize) -> String {
        self.slice(start, self.text.len() as isize).iter().collect()
    }

    /// Puts `new` in place of the characters from `start` to `end`.
    pub(super) fn replace(&mut self, start: isize, end: isize, new: impl IntoIterator<Item = char>) {
        let place = |at: isize| usize::try_from(at).unwrap_or(0).min(self.text.len());
        let (start, end) = (place(start), place(end));
        self.look(self.text.len());
        self.text.splice(start..end.max(start), new);
    }

    /// Moves over white space.
    pub(super) fn skip_space(&mut self) {
        while self.peek(0).is_some_and(is_space) {
            self.index += 1;
        }
    }

    /// The offset of the first character from `offset` on that is no white space.
    pub(super) fn after_space(&self, mut offset: isize) -> isize {
        while self.index + offset >= 0 && self.peek(offset).is_some_and(is_space) {
            offset += 1;
        }
        offset
    }

    /// The offset of the first of `targets` from `offset` on that no backslash escapes; that of the end if there is none.
    pub(super) fn find(&self, targets: &[char], offset: isize) -> isize {
        let len = self.len();
        let start = self.index + offset;
        let mut escaped = false;
        for at in start..len {
            let c = if at < 0 {
                self.get(at).unwrap_or_default()
            } else {
                self.text[at as usize]
            };
            if c == '\\' {
                escaped = !escaped;
                continue;
            }
            if !escaped && targets.contains(&c) {
                self.look((at - start) as usize + 1);
                return at - self.index;
            }
            escaped = false;
        }
        self.look(usize::try_from(len - start).unwrap_or(0));
        len - self.index
    }
}
