//! Python's `str` methods where Rust's differ: line breaks, white space, character classes and case; and texts for messages.

mod case;
mod tables;

pub use case::{capitalize, is_upper, title};

fn contains(boundaries: &[u32], c: char) -> bool {
    boundaries.partition_point(|&b| b <= u32::from(c)) % 2 == 1
}

/// `c.isspace()`: Unicode's white space and the separators U+001C to U+001F.
pub fn is_space(c: char) -> bool {
    match c {
        ' ' | '\t'..='\r' | '\x1c'..='\x1f' => true,
        _ if c.is_ascii() => false,
        _ => c.is_whitespace(),
    }
}

/// `c.isalpha()`: a letter; no combining mark.
pub fn is_alpha(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphabetic()
    } else {
        contains(&tables::ALPHABETIC, c)
    }
}

/// `c.isdigit()`: a decimal or a digit such as `²`.
pub fn is_digit(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_digit()
    } else {
        contains(&tables::DIGIT, c)
    }
}

/// `c.isalnum()`: a letter or anything with a numeric value.
pub fn is_alnum(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_alphanumeric()
    } else {
        contains(&tables::ALPHABETIC, c) || contains(&tables::NUMERIC, c)
    }
}

/// What `\w` matches in Python's `re`: [`is_alnum`] or `_`; no combining mark.
pub fn is_word(c: char) -> bool {
    c == '_' || is_alnum(c)
}

/// `c.isprintable()`: whether `repr` keeps the character unescaped.
pub fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        matches!(c, ' '..='~')
    } else {
        !contains(&tables::UNPRINTABLE, c)
    }
}

/// The number with a comma after every three digits, as `f"{n:,}"` writes it.
///
/// ```
/// assert_eq!(bsft_pycompat::text::grouped(12345), "12,345");
/// ```
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The text on one line: every run of white space is one space, and an ellipsis is in place of what follows after `most` characters.
///
/// ```
/// assert_eq!(bsft_pycompat::text::shortened("so long,\n  and thanks", 8), "so long,…");
/// ```
pub fn shortened(text: &str, most: usize) -> String {
    let words = text.split_whitespace();
    let mut chars = words
        .flat_map(|word| std::iter::once(' ').chain(word.chars()))
        .skip(1);
    let mut line: String = chars.by_ref().take(most).collect();
    if chars.next().is_some() {
        line.push('…');
    }
    line
}

/// `s.strip()`.
pub fn strip(s: &str) -> &str {
    s.trim_matches(is_space)
}

/// `s.lstrip()`.
pub fn lstrip(s: &str) -> &str {
    s.trim_start_matches(is_space)
}

/// `s.rstrip()`.
pub fn rstrip(s: &str) -> &str {
    s.trim_end_matches(is_space)
}

/// `s.split()`: the runs between white space, none of them empty.
pub fn split_whitespace(s: &str) -> impl Iterator<Item = &str> {
    s.split(is_space).filter(|part| !part.is_empty())
}

/// `s.splitlines()`: without the breaks, and without an empty line after a last break.
pub fn split_lines(s: &str) -> SplitLines<'_> {
    SplitLines { rest: s }
}

/// The lines of [`split_lines`].
#[derive(Clone, Debug)]
pub struct SplitLines<'a> {
    rest: &'a str,
}

impl<'a> Iterator for SplitLines<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (line, after) = match find_break(self.rest.as_bytes()) {
            Some((at, len)) => (&self.rest[..at], &self.rest[at + len..]),
            None => (self.rest, ""),
        };
        self.rest = after;
        Some(line)
    }
}

/// Where the first line break is and how many bytes it has.
fn find_break(bytes: &[u8]) -> Option<(usize, usize)> {
    for (i, &b) in bytes.iter().enumerate() {
        match b {
            b'\r' if bytes.get(i + 1) == Some(&b'\n') => return Some((i, 2)),
            b'\n'..=b'\r' | 0x1c..=0x1e => return Some((i, 1)),
            // U+0085
            0xc2 if bytes.get(i + 1) == Some(&0x85) => return Some((i, 2)),
            // U+2028 and U+2029
            0xe2 if matches!(bytes.get(i + 1..i + 3), Some([0x80, 0xa8 | 0xa9])) => return Some((i, 3)),
            _ => {}
        }
    }
    None
}

/// `s.expandtabs(size)`: columns are counted in characters since the last `\n` or `\r`.
pub fn expand_tabs(s: &str, size: usize) -> String {
    let mut out = String::with_capacity(s.len());
    let mut column = 0;
    for c in s.chars() {
        if c == '\t' {
            if size > 0 {
                let spaces = size - column % size;
                out.extend(std::iter::repeat_n(' ', spaces));
                column += spaces;
            }
            continue;
        }
        column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors;
    use serde_json::json;

    #[test]
    fn lines_spaces_and_words_split_as_in_python() {
        for row in vectors::rows("text") {
            let s = vectors::text(&row, "in");
            assert_eq!(
                json!(split_lines(s).collect::<Vec<_>>()),
                row["splitlines"],
                "{s:?}"
            );
            assert_eq!(
                json!(split_whitespace(s).collect::<Vec<_>>()),
                row["split"],
                "{s:?}"
            );
            assert_eq!(json!(strip(s)), row["strip"], "{s:?}");
            assert_eq!(json!(lstrip(s)), row["lstrip"], "{s:?}");
            assert_eq!(json!(rstrip(s)), row["rstrip"], "{s:?}");
            assert_eq!(json!(expand_tabs(s, 8)), row["expandtabs"], "{s:?}");
        }
    }

    #[test]
    fn characters_are_classed_and_cased_as_in_python() {
        for row in vectors::rows("text") {
            let s = vectors::text(&row, "in");
            let classes = s.chars().map(|c| {
                let all = [
                    is_space(c),
                    is_alpha(c),
                    is_digit(c),
                    is_alnum(c),
                    is_word(c),
                    is_printable(c),
                ];
                all.iter().rev().fold(0, |bits, &is| bits * 2 + u8::from(is))
            });
            assert_eq!(json!(classes.collect::<Vec<_>>()), row["classes"], "{s:?}");
            assert_eq!(json!(capitalize(s)), row["capitalize"], "{s:?}");
            assert_eq!(json!(title(s)), row["title"], "{s:?}");
            assert_eq!(json!(is_upper(s)), row["isupper"], "{s:?}");
        }
    }
}
