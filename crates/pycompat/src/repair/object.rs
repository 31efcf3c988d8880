//! Objects in broken JSON, and braces that turn out to hold something else.

use super::{Context, Parser, QUOTES, is_in, is_quote};
use crate::text::{is_space, lstrip, strip};
use crate::value::Value;
use crate::value::items::Items;
use indexmap::IndexMap;

type Members = IndexMap<String, Value>;

impl Parser {
    /// The members up to the closing brace; the cursor is behind the opening one.
    pub(super) fn object(&mut self) -> Value {
        self.nested(4, |parser| Some(parser.object_here()))
            .unwrap_or_else(|| Value::Str(String::new()))
    }

    fn object_here(&mut self) -> Value {
        let start = self.cursor.index;
        let mut members = self.members();
        self.cursor.index += 1;
        if let Some(value) = self.instead_of_empty(&members, start) {
            return value;
        }
        if !self.contexts.is_empty() {
            if self.cursor.peek(0) == Some('}') && self.context() == Some(Context::Array) {
                self.cursor.index += 1;
            }
            return into_dict(members);
        }
        self.cursor.skip_space();
        if self.cursor.peek(0) == Some(',') {
            self.cursor.index += 1;
            self.cursor.skip_space();
            if is_quote(self.cursor.peek(0))
                && let Value::Dict(more) = self.object()
            {
                let named = more
                    .into_iter()
                    .filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)));
                members.extend(named);
            }
        }
        into_dict(members)
    }

    fn members(&mut self) -> Members {
        let is_value = self.context() == Some(Context::Value);
        let mut members = Members::new();
        loop {
            self.skip_space_and_comments();
            match self.cursor.peek(0) {
                None | Some('}') => return members,
                Some(',') => {
                    self.cursor.index += 1;
                    continue;
                }
                Some(':') => self.cursor.index += 1,
                Some(_) => {}
            }
            let (key, key_at) = self.key(&mut members);
            let repeated = self.is_within(Context::Array) && members.contains_key(&key);
            if repeated && !is_value && self.starts_next_object(key_at) {
                // The object ends in front of the key, and the next one gets the brace that it lacks.
                self.cursor.index = key_at - 1;
                self.cursor.replace(key_at, key_at, ['{']);
                return members;
            }
            self.skip_space_and_comments();
            if self.cursor.peek(0).is_none_or(|c| c == '}') {
                continue;
            }
            self.cursor.index += 1;
            let value = self.within(Context::Value, Parser::member_value);
            members.insert(key, value);
            if is_in(self.cursor.peek(0), &[',', '\'', '"']) {
                self.cursor.index += 1;
            }
            if self.cursor.peek(0) == Some(']') && self.is_within(Context::Array) {
                self.cursor.index -= 1;
                return members;
            }
        }
    }

    fn member_value(&mut self) -> Value {
        self.skip_space_and_comments();
        match self.cursor.peek(0) {
            Some(',' | '}') => Value::Str(String::new()),
            _ => self.value(),
        }
    }

    /// The next key and where it starts. Rows of an array that was closed too early are added to it on the way.
    fn key(&mut self, members: &mut Members) -> (String, isize) {
        let mut at = self.cursor.index;
        let key = self.within(Context::Key, |parser| {
            while let Some(c) = parser.cursor.peek(0) {
                at = parser.cursor.index;
                if c == '[' && parser.continue_array(members) {
                    continue;
                }
                let Value::Str(key) = parser.string() else {
                    // The original fails here as well.
                    parser.cursor.give_up();
                    break;
                };
                if !key.is_empty() {
                    return key;
                }
                parser.skip_space_and_comments();
                if is_in(parser.cursor.peek(0), &[':', '}']) {
                    break;
                }
            }
            String::new()
        });
        (key, at)
    }

    /// Adds the array at the cursor to the last member's, if that is one.
    fn continue_array(&mut self, members: &mut Members) -> bool {
        let list = match members.last() {
            Some((key, Value::List(_))) if !key.is_empty() => members.len() - 1,
            _ => return false,
        };
        self.cursor.index += 1;
        let more = self.array(']');
        if let Some((_, Value::List(rows))) = members.get_index_mut(list) {
            *rows = append(std::mem::take(rows), more);
        }
        self.skip_space_and_comments();
        if self.cursor.peek(0) == Some(',') {
            self.cursor.index += 1;
        }
        self.skip_space_and_comments();
        true
    }

    /// Whether a repeated key, which starts at `key_at`, is the next object's first; else it only repeats.
    fn starts_next_object(&self, key_at: isize) -> bool {
        let mut before = key_at - 1;
        while self.cursor.get(before).is_some_and(is_space) {
            before -= 1;
        }
        let regular = is_quote(self.cursor.get(key_at))
            && self.cursor.get(before) == Some(',')
            && self.cursor.peek(self.cursor.after_space(0)) == Some(':');
        !regular
    }

    /// What stands in the braces instead of members, which start at `start`: an object with escaped quotes, or a set.
    fn instead_of_empty(&mut self, members: &Members, start: isize) -> Option<Value> {
        let end = self.cursor.index;
        if !members.is_empty() || end - start <= 2 {
            return None;
        }
        let within = without_comments(self.cursor.slice(start, end - 1));
        if self.cursor.peek(-1) == Some('}') && strip(&within).is_empty() {
            return None;
        }
        let whole = self.cursor.slice(start, end + 1);
        let whole = whole.strip_suffix(&['}']).unwrap_or(whole);
        let body: String = whole.iter().collect();
        let body = lstrip(&body);
        let is_escaped = ['"', '\''].into_iter().any(|quote| {
            body.starts_with(['\\']) && body[1..].starts_with(quote) && body.contains(&format!("\\{quote}:"))
        });
        if is_escaped {
            let attempt: String = self.cursor.slice(start - 1, end + 1).iter().collect();
            let plain = attempt.replace("\\\"", "\"").replace("\\'", "'");
            self.cursor.replace(start - 1, end + 1, plain.chars());
            return Some(self.again_from(start, Parser::object));
        }
        let uncommented = without_comments(&body.chars().collect::<Vec<_>>());
        let rest = lstrip(&uncommented);
        if rest.is_empty() || has_colon(rest) {
            return None;
        }
        Some(self.again_from(start, |parser| Value::List(parser.array(']').into())))
    }

    fn again_from(&mut self, start: isize, read: fn(&mut Parser) -> Value) -> Value {
        self.cursor.index = start;
        let value = self.within(Context::Key, read);
        self.deferred.push(Context::Key);
        value
    }
}

fn into_dict(members: Members) -> Value {
    Value::Dict(
        members
            .into_iter()
            .map(|(key, value)| (Value::Str(key), value))
            .collect(),
    )
}

/// `rows` and `more`: as rows when `rows` has rows of one length, else item by item.
fn append(rows: Items, mut more: Vec<Value>) -> Items {
    let mut rows = rows.into_vec();
    let len = |row: &Value| match row {
        Value::List(row) => Some(row.len()),
        _ => None,
    };
    let mut lengths = rows.iter().filter_map(len);
    let first = lengths.next().unwrap_or(0);
    if first == 0 || lengths.any(|length| length != first) {
        match more.pop() {
            Some(Value::List(only)) if more.is_empty() => rows.extend(only),
            last => rows.extend(more.into_iter().chain(last)),
        }
        return rows.into();
    }
    let tail = rows.split_off(
        rows.iter()
            .rposition(|row| len(row).is_some())
            .map_or(0, |at| at + 1),
    );
    if tail.len().is_multiple_of(first) {
        rows.extend(tail.chunks(first).map(|row| Value::list(row.to_vec())));
    } else {
        rows.extend(tail);
    }
    if more.iter().all(|row| len(row).is_some()) {
        rows.extend(more);
    } else {
        rows.push(Value::List(more.into()));
    }
    rows.into()
}

/// Follows backslashes and quotes; whether `c` is text of a string, quotes included.
#[derive(Default)]
struct Quoting {
    quote: Option<char>,
    escaped: bool,
}

impl Quoting {
    fn is_text(&mut self, c: char) -> bool {
        if c == '\\' {
            self.escaped = !self.escaped;
            return true;
        }
        let escaped = std::mem::take(&mut self.escaped);
        match self.quote {
            Some(quote) if c == quote && !escaped => self.quote = None,
            Some(_) => {}
            None if QUOTES.contains(&c) && !escaped => self.quote = Some(c),
            None => return false,
        }
        true
    }
}

fn without_comments(body: &[char]) -> String {
    let mut out = String::new();
    let mut quoting = Quoting::default();
    let mut at = 0;
    while let Some(&c) = body.get(at) {
        let next = body.get(at + 1);
        if quoting.is_text(c) {
            out.push(c);
            at += 1;
        } else if c == '#' || (c == '/' && next == Some(&'/')) {
            at += body[at..]
                .iter()
                .position(|&c| c == '\n' || c == '\r')
                .unwrap_or(body.len() - at);
        } else if c == '/' && next == Some(&'*') {
            let inside = &body[at + 2..];
            at += inside
                .windows(2)
                .position(|end| end == ['*', '/'])
                .map_or(body.len() - at, |len| len + 4);
        } else {
            out.push(c);
            at += 1;
        }
    }
    out
}

/// Whether a colon stands outside the strings and is not escaped.
fn has_colon(body: &str) -> bool {
    let mut quoting = Quoting::default();
    body.chars().any(|c| {
        let escaped = quoting.escaped;
        !quoting.is_text(c) && c == ':' && !escaped
    })
}
