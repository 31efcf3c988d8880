//! Comments in broken JSON: `#`, `//` and `/* */`.

use super::{Context, Parser, is_in};
use crate::value::Value;

impl Parser {
    /// Moves over white space and comments.
    pub(super) fn skip_space_and_comments(&mut self) {
        loop {
            self.cursor.skip_space();
            match self.cursor.peek(0) {
                Some('#') => {}
                Some('/') if is_in(self.cursor.peek(1), &['/', '*']) => {}
                _ => return,
            }
            self.skip_comment();
        }
    }

    /// Moves over one comment, or over a slash that starts none.
    fn skip_comment(&mut self) {
        let hash = self.cursor.peek(0) == Some('#');
        if hash || (self.cursor.peek(0) == Some('/') && self.cursor.peek(1) == Some('/')) {
            let ends: &[(char, Option<Context>)] = &[
                ('\n', None),
                ('\r', None),
                (']', Some(Context::Array)),
                ('}', Some(Context::Value)),
                (':', Some(Context::Key)),
            ];
            // A bracket ends a comment only where it can close something.
            let within: Vec<char> = ends
                .iter()
                .filter(|(_, context)| context.is_none_or(|context| hash && self.is_within(context)))
                .map(|&(c, _)| c)
                .collect();
            while self.cursor.peek(0).is_some_and(|c| !within.contains(&c)) {
                self.cursor.index += 1;
            }
        } else if self.cursor.peek(0) == Some('/') && self.cursor.peek(1) == Some('*') {
            self.cursor.index += 2;
            let mut before = '*';
            while let Some(c) = self.cursor.peek(0) {
                self.cursor.index += 1;
                if before == '*' && c == '/' {
                    return;
                }
                before = c;
            }
        } else if self.cursor.peek(0) == Some('/') {
            self.cursor.index += 1;
        }
    }

    /// A comment where a value is expected: at the top level the value after it, elsewhere the empty string.
    pub(super) fn comment(&mut self) -> Value {
        loop {
            self.skip_comment();
            if !self.contexts.is_empty() {
                return Value::Str(String::new());
            }
            self.cursor.skip_space();
            if !is_in(self.cursor.peek(0), &['#', '/']) {
                return self
                    .nested(3, |parser| Some(parser.value()))
                    .unwrap_or_else(|| Value::Str(String::new()));
            }
        }
    }
}
