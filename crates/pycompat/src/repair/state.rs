//! What is known of the string that is being read.

use super::cursor::Cursor;

/// A string in broken JSON, half read.
pub(super) struct State {
    pub(super) left: char,
    pub(super) right: char,
    /// The string started without a quote.
    pub(super) missing_quotes: bool,
    /// It started with two.
    pub(super) doubled_quotes: bool,
    /// A quote was kept as text, so the next one is text as well.
    pub(super) unmatched_quote: bool,
    /// Open spans that `„` started.
    pub(super) low_spans: usize,
    pub(super) out: String,
    /// The next bracket belongs to the text.
    pub(super) pending_container: bool,
    pub(super) containers: Vec<char>,
    pub(super) commas_are_text: bool,
    pub(super) open_braces: usize,
    /// Where in `out` a bracket opened that none has closed.
    pub(super) class_start: Option<usize>,
    /// Where searches started and what they found.
    pub(super) found: Vec<(Vec<char>, isize, Option<isize>)>,
}

impl State {
    pub(super) fn new(left: char, right: char) -> State {
        State {
            left,
            right,
            missing_quotes: false,
            doubled_quotes: false,
            unmatched_quote: false,
            low_spans: 0,
            out: String::new(),
            pending_container: false,
            containers: Vec::new(),
            commas_are_text: false,
            open_braces: 0,
            class_start: None,
            found: Vec::new(),
        }
    }

    /// What ends the innermost span; NUL within low quotes.
    pub(super) fn active_right(&self) -> char {
        if self.low_spans > 0 { '\0' } else { self.right }
    }

    pub(super) fn push(&mut self, c: char) {
        self.out.push(c);
        match c {
            '{' => self.open_braces += 1,
            '}' => self.open_braces = self.open_braces.saturating_sub(1),
            '[' => self.class_start = Some(self.out.len()),
            ']' => self.class_start = None,
            _ => {}
        }
    }

    /// Takes the character at the cursor as text.
    pub(super) fn push_next(&mut self, cursor: &mut Cursor) {
        if let Some(c) = cursor.peek(0) {
            self.push(c);
        }
        cursor.index += 1;
    }

    /// [`Cursor::find`], remembered: the answer holds for every start between the first one and the place found.
    pub(super) fn find(&mut self, cursor: &Cursor, targets: &[char], offset: isize) -> isize {
        let start = cursor.index + offset;
        let known = self.found.iter().position(|(of, ..)| of == targets);
        match known.map(|i| (self.found[i].1, self.found[i].2)) {
            Some((first, None)) if start >= first => return cursor.len() - cursor.index,
            Some((first, Some(at))) if (first..=at).contains(&start) => return at - cursor.index,
            _ => {}
        }
        let found = cursor.find(targets, offset);
        let at = cursor.peek(found).map(|_| cursor.index + found);
        if at.is_none_or(|at| at == 0 || cursor.get(at - 1) != Some('\\')) {
            match known {
                Some(i) => (self.found[i].1, self.found[i].2) = (start, at),
                None => self.found.push((targets.to_vec(), start, at)),
            }
        }
        found
    }
}
