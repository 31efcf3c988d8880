//! The body of a string in broken JSON: where it ends, by what stands around it.

use crate::repair::comma::Comma;
use crate::repair::delimiter::Quote;
use crate::repair::inline::closing;
use crate::repair::state::State;
use crate::repair::{Context, Parser, is_in};
use crate::text::is_space;

/// What to do at a character.
#[derive(Clone, Copy, PartialEq, Eq)]
enum BodyStep {
    /// The string ends in front of it.
    End,
    /// It was handled; the next one is read.
    Handled,
    /// It is text.
    Text,
}

impl Parser {
    /// Reads up to the end of the string; the character there, if any.
    pub(super) fn string_body(&mut self, state: &mut State) -> Option<char> {
        while let Some(c) = self
            .cursor
            .peek(0)
            .filter(|&c| c != state.right || state.low_spans > 0)
        {
            match self.before_character(c, state) {
                BodyStep::End => break,
                BodyStep::Handled => continue,
                BodyStep::Text => {}
            }
            state.push(c);
            self.cursor.index += 1;
            let c = self.cursor.peek(0)?;
            if state.out.ends_with('\\') && self.escape(state) {
                continue;
            }
            if self.after_character(c, state) == BodyStep::End {
                return self.cursor.peek(0);
            }
        }
        self.cursor.peek(0)
    }

    fn before_character(&mut self, c: char, state: &mut State) -> BodyStep {
        let value = self.context() == Some(Context::Value);
        if state.missing_quotes {
            match self.context() {
                Some(Context::Key) if c == ':' || is_space(c) => return BodyStep::End,
                Some(Context::Array) if c == ']' || c == ',' => return BodyStep::End,
                _ => {}
            }
        }
        let escaped = state.out.ends_with('\\');
        if c == '„' && !escaped {
            state.low_spans += 1;
            return self.take(state);
        }
        if state.low_spans > 0 && c == '”' {
            state.low_spans -= 1;
            return self.take(state);
        }
        if closing(Some(c)).is_some()
            && !escaped
            && (state.pending_container || self.object_starts(c))
            && let Some(end) = self.after_container(0)
        {
            state.pending_container = false;
            state.containers.clear();
            let start = self.cursor.index;
            self.cursor
                .slice(start, start + end)
                .iter()
                .for_each(|&c| state.push(c));
            self.cursor.index += end;
            return BodyStep::Handled;
        }
        if value && c == ',' && !state.pending_container && state.containers.is_empty() {
            let comma = if state.commas_are_text {
                Comma::Text
            } else {
                self.classify_comma(state)
            };
            if comma == Comma::Member {
                return BodyStep::End;
            }
            state.commas_are_text |= comma == Comma::TextToTheEnd;
            state.pending_container = comma == Comma::Container;
            return self.take(state);
        }
        if state.is_container_end(c) {
            return self.take(state);
        }
        if value && c == '}' && !state.out.ends_with(state.right) {
            if state.open_braces > 0 {
                return self.take(state);
            }
            if self.brace_ends_string(state) {
                return BodyStep::End;
            }
        }
        if c == ']' && self.is_within(Context::Array) && !state.out.ends_with(state.right) {
            let quote = self.cursor.find(&[state.right], 0);
            if self.cursor.peek(quote).is_none() {
                return BodyStep::End;
            }
        }
        if value && c == '}' {
            self.brace_before_fence(state)
        } else {
            BodyStep::Text
        }
    }

    fn take(&mut self, state: &mut State) -> BodyStep {
        state.push_next(&mut self.cursor);
        BodyStep::Handled
    }

    /// Whether the brace at the cursor starts an object with a bare key.
    fn object_starts(&self, c: char) -> bool {
        self.context() == Some(Context::Value)
            && c == '{'
            && self.cursor.peek(-1) != Some('\\')
            && self.is_bare_key(self.cursor.after_space(1))
    }

    /// Whether the brace at the cursor closes the object because the string's closing quote is missing.
    fn brace_ends_string(&self, state: &mut State) -> bool {
        let mut missing = self.cursor.peek(1) != Some('\\');
        let quote = state.find(&self.cursor, &[state.right], 1);
        if self.cursor.peek(quote).is_none() {
            let colon = self.cursor.find(&[':'], 1);
            if self.cursor.peek(colon).is_some() {
                return true;
            }
            let start = self.cursor.after_space(1);
            return missing && self.cursor.find(&['}'], start) - start <= 1;
        }
        let after = self.cursor.after_space(quote + 1);
        let next = self.cursor.peek(after);
        if next.is_none_or(|c| c == ',' || c == '}') {
            return false;
        }
        let left = self.cursor.find(&[state.left], after);
        if self.cursor.peek(left).is_none() {
            return false;
        }
        if self
            .cursor
            .peek(self.cursor.after_space(left + 1))
            .is_some_and(|c| c != ':')
        {
            missing = false;
        }
        missing
    }

    /// The brace at the cursor before code fences or the end of the text.
    fn brace_before_fence(&mut self, state: &mut State) -> BodyStep {
        let at = self.cursor.after_space(1);
        let Some(next) = self.cursor.peek(at) else {
            return BodyStep::End;
        };
        if next != '`' || self.cursor.peek(at + 1) != Some('`') || self.cursor.peek(at + 2) != Some('`') {
            return BodyStep::Text;
        }
        if self.fence_is_text(state, at) {
            self.take(state)
        } else {
            BodyStep::End
        }
    }

    /// Whether the fence at `fence` is text of this string and does not close a block around the object.
    fn fence_is_text(&self, state: &mut State, fence: isize) -> bool {
        let mut search = fence + 3;
        let content = self.after_comments(search);
        let mut keep = false;
        if closing(self.cursor.peek(content)).is_some()
            && let Some(end) = self.after_container(content)
        {
            if self.member_follows_container(end) {
                return false;
            }
            keep = true;
            search = end;
        }
        let mut quote = self.cursor.find(&[state.right], search);
        while self.cursor.peek(quote) == Some(state.right) {
            let after = self.cursor.peek(self.cursor.after_space(quote + 1));
            if after.is_none() || is_in(after, &[',', '}', ']']) {
                state.pending_container |= keep;
                return true;
            }
            quote = self.cursor.find(&[state.right], quote + 1);
        }
        false
    }

    fn member_follows_container(&self, end: isize) -> bool {
        let at = self.cursor.after_space(end);
        match self.cursor.peek(at) {
            None | Some('}') => true,
            Some(',') => {
                let next = self.after_comments(at + 1);
                self.cursor.peek(next).is_none_or(|c| c == '}') || self.is_member(next)
            }
            Some(_) => false,
        }
    }

    /// `c` is at the cursor, behind a character that was text.
    fn after_character(&mut self, c: char, state: &mut State) -> BodyStep {
        if c == ':'
            && !state.missing_quotes
            && self.context() == Some(Context::Key)
            && self.colon_ends_key(state)
        {
            return BodyStep::End;
        }
        if state.low_spans > 0 && c == '"' {
            state.low_spans -= 1;
            return self.take(state);
        }
        if c != state.right {
            return BodyStep::Text;
        }
        if self.context() == Some(Context::Value) && self.quote_is_in_class(state) {
            return self.take(state);
        }
        if state.out.is_empty() || state.out.ends_with('\\') {
            return BodyStep::Text;
        }
        match self.right_quote(state) {
            Quote::Ends => BodyStep::End,
            Quote::Handled | Quote::Open => BodyStep::Handled,
        }
    }

    /// Whether the colon at the cursor ends a key that lacks its closing quote.
    fn colon_ends_key(&self, state: &State) -> bool {
        let left = self.cursor.find(&[state.left], 1);
        if self.cursor.peek(left).is_none() {
            return true;
        }
        let right = self.cursor.find(&[state.right], left + 1);
        self.cursor.peek(right).is_some()
            && is_in(self.cursor.peek(self.cursor.after_space(right + 1)), &[',', '}'])
    }

    /// Whether the quote at the cursor is inside a compact `[...]`, such as a regular expression's character class.
    fn quote_is_in_class(&self, state: &State) -> bool {
        let Some(start) = state.class_start else {
            return false;
        };
        let inside = state.out.get(start..).unwrap_or_default();
        !inside.contains(is_space) && self.cursor.peek(self.cursor.find(&[']'], 1)) == Some(']')
    }
}

impl State {
    /// Keeps account of containers within the text; whether `c` closes one of them.
    fn is_container_end(&mut self, c: char) -> bool {
        if matches!(c, '{' | '[') {
            if self.pending_container {
                self.containers.push(c);
                self.pending_container = false;
                return false;
            }
            if !self.containers.is_empty() {
                self.containers.push(c);
            }
        }
        let ends = matches!((self.containers.last(), c), (Some('{'), '}') | (Some('['), ']'));
        if ends {
            self.containers.pop();
        }
        ends
    }
}
