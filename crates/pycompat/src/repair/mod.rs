//! `json_repair.loads` 0.64.6: strict JSON first, then a parser that makes the most of broken JSON, as LMs write it.

mod array;
mod comma;
mod comment;
mod cursor;
mod delimiter;
mod inline;
mod number;
mod object;
mod parenthesis;
mod state;
mod string;

use super::{json, text};
use crate::value::Value;
use cursor::Cursor;

/// Nested calls before a text is given up, counted as Python counts its frames against its limit of 1000.
const MAX_FRAMES: usize = 900;

/// What closes and opens a string, straight or curly.
const QUOTES: [char; 4] = ['"', '\'', '“', '”'];

fn is_quote(c: Option<char>) -> bool {
    c.is_some_and(|c| QUOTES.contains(&c))
}

/// Whether `c` is there and one of `these`.
fn is_in(c: Option<char>, these: &[char]) -> bool {
    c.is_some_and(|c| these.contains(&c))
}

/// What a value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Context {
    Key,
    Value,
    Array,
}

/// `json_repair.loads(text)`. The empty string when there is nothing to save, and where the original gives up: on
/// nesting beyond its recursion limit, and on an object key that is no string.
///
/// ```
/// use bsft_pycompat::{json, repair};
///
/// let answer = "Sure! ```json\n{'label': \"spam\", score: 0.9, // high\n";
/// assert_eq!(json::dumps(&repair::loads(answer)), r#"{"label": "spam", "score": 0.9}"#);
/// assert_eq!(json::dumps(&repair::loads("no JSON here")), r#""""#);
/// ```
pub fn loads(text: &str) -> Value {
    json::parse(text).unwrap_or_else(|_| repair(text))
}

fn repair(text: &str) -> Value {
    // At the top level a value starts at a bracket, or at a first quote when a brace in front of it makes it JSON.
    if !text.contains(['{', '[', '(', ':']) {
        return Value::Str(String::new());
    }
    let mut parser = Parser {
        cursor: Cursor::new(text),
        contexts: Vec::new(),
        deferred: Vec::new(),
        tried_suffix: false,
        frames: 0,
    };
    let value = parser.top_level();
    if parser.cursor.gave_up() {
        Value::Str(String::new())
    } else {
        value
    }
}

struct Parser {
    cursor: Cursor,
    contexts: Vec<Context>,
    /// Contexts that the next value is read in, left over from an object that turned out to be something else.
    deferred: Vec<Context>,
    /// The rest of the text was tried as strict JSON once already.
    tried_suffix: bool,
    frames: usize,
}

impl Parser {
    fn context(&self) -> Option<Context> {
        self.contexts.last().copied()
    }

    fn is_within(&self, context: Context) -> bool {
        self.contexts.contains(&context)
    }

    /// `read` with `context` around it.
    fn within<T>(&mut self, context: Context, read: impl FnOnce(&mut Self) -> T) -> T {
        self.contexts.push(context);
        let value = read(self);
        self.contexts.pop();
        value
    }

    /// `read`, which may nest further; beyond [`MAX_FRAMES`] the whole text is given up.
    fn nested<T: Default>(&mut self, frames: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        if self.frames + frames > MAX_FRAMES {
            self.cursor.give_up();
            return T::default();
        }
        self.frames += frames;
        let value = read(self);
        self.frames -= frames;
        value
    }

    /// All values of the text: one as it is, several as a list, a repeated one as an update of the one before.
    fn top_level(&mut self) -> Value {
        let first = self.value();
        if self.cursor.at_end() {
            return first;
        }
        let mut values = vec![first];
        while !self.cursor.at_end() {
            self.contexts.clear();
            self.deferred.clear();
            let after_comma = self.comma_is_near();
            let next = self.value();
            if !next.is_truthy() {
                self.cursor.index += 1;
                continue;
            }
            let last = values.last();
            let update = !after_comma && last.is_some_and(|last| is_same(last, &next));
            if update || last.is_some_and(|last| !last.is_truthy()) {
                values.pop();
            }
            values.push(next);
        }
        match values.len() {
            1 => values.remove(0),
            _ => Value::List(values.into()),
        }
    }

    /// Whether a comma stands between the cursor and the next or the last thing that is not white space.
    fn comma_is_near(&self) -> bool {
        if self.cursor.peek(self.cursor.after_space(0)) == Some(',') {
            return true;
        }
        let before = (0..self.cursor.index).rev().map(|at| self.cursor.get(at));
        before.flatten().find(|&c| !text::is_space(c)) == Some(',')
    }

    fn value(&mut self) -> Value {
        let deferred = std::mem::take(&mut self.deferred);
        if !deferred.is_empty() {
            let depth = self.contexts.len();
            self.contexts.extend(deferred);
            let value = self.nested_value();
            self.contexts.truncate(depth);
            return value;
        }
        let mut at_first_quote = self.cursor.index == 0 && self.contexts.is_empty();
        loop {
            let Some(c) = self.cursor.peek(0) else {
                return Value::Str(String::new());
            };
            let top = self.contexts.is_empty();
            if matches!(c, '{' | '[')
                && top
                && !self.tried_suffix
                && let Some(value) = self.strict_suffix()
            {
                return value;
            }
            match c {
                '{' => {
                    self.cursor.index += 1;
                    return self.object();
                }
                '[' => {
                    self.cursor.index += 1;
                    return Value::List(self.array(']').into());
                }
                '(' if !top || self.parenthesis_can_start_value() => return self.parenthesized(),
                '(' => {}
                _ if !top && (QUOTES.contains(&c) || text::is_alpha(c)) => return self.string(),
                _ if !top && (text::is_digit(c) || c == '-' || c == '.') => return self.number(),
                '#' | '/' => return self.comment(),
                _ if at_first_quote && QUOTES.contains(&c) => {
                    at_first_quote = false;
                    if let Some(value) = self.object_without_brace(c) {
                        return value;
                    }
                }
                _ => {}
            }
            self.cursor.index += 1;
        }
    }

    fn nested_value(&mut self) -> Value {
        self.nested(2, |parser| Some(parser.value()))
            .unwrap_or_else(|| Value::Str(String::new()))
    }

    /// The value at the cursor as strict JSON, tried once, unless a comma follows a first whole container.
    fn strict_suffix(&mut self) -> Option<Value> {
        if self.cursor.index == 0 && !self.text_follows_first_container() {
            return None;
        }
        self.tried_suffix = true;
        let rest = self.cursor.text_from(self.cursor.index);
        let (value, bytes) = json::parse_prefix(&rest).ok()?;
        self.cursor.index += rest[..bytes].chars().count() as isize;
        Some(value)
    }

    fn text_follows_first_container(&self) -> bool {
        let mut open = Vec::new();
        let (mut quoted, mut escaped) = (false, false);
        for at in 0..self.cursor.len() {
            let c = self.cursor.get(at).unwrap_or_default();
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ if quoted => {}
                '{' => open.push('}'),
                '[' => open.push(']'),
                '}' | ']' => {
                    if open.pop() != Some(c) {
                        return false;
                    }
                    if open.is_empty() {
                        let after = (at + 1..self.cursor.len()).filter_map(|at| self.cursor.get(at));
                        return after
                            .into_iter()
                            .find(|&c| !text::is_space(c))
                            .is_some_and(|c| c != ',');
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// The whole text as an object whose opening brace is missing; `quote` is at the cursor.
    fn object_without_brace(&mut self, quote: char) -> Option<Value> {
        let cursor = &self.cursor;
        if cursor.after_space(-cursor.index) != 0 {
            return None;
        }
        let end = cursor.find(&[quote], 1);
        cursor.peek(end)?;
        if cursor.peek(cursor.after_space(end + 1)) != Some(':') {
            return None;
        }
        let whole = cursor.text_from(0);
        if !text::rstrip(&whole).ends_with('}') {
            return None;
        }
        let value = json::parse(&format!("{{{whole}")).ok()?;
        self.cursor.index = self.cursor.len();
        Some(value)
    }
}

/// Whether two values have the same types, keys and lengths throughout.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, x)| {
                    b.iter()
                        .find(|(k, _)| k == key)
                        .is_some_and(|(_, y)| is_same(x, y))
                })
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(&a, &b))
        }
        (Value::Int(_) | Value::BigInt(_), Value::Int(_) | Value::BigInt(_)) => true,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

#[cfg(test)]
mod tests;
