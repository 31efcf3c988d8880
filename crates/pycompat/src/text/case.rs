//! `str.capitalize`, `str.title` and `str.isupper`: title case, and what counts as cased.

use super::tables;

/// The titlecase form of `c`, where it differs from the upper case.
fn special_title(c: char) -> Option<&'static str> {
    let at = tables::TITLE.binary_search_by_key(&c, |&(from, _)| from).ok()?;
    Some(tables::TITLE[at].1)
}

fn push_title(c: char, out: &mut String) {
    match special_title(c) {
        Some(text) => out.push_str(text),
        None => out.extend(c.to_uppercase()),
    }
}

fn is_titlecase(c: char) -> bool {
    matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}' | '\u{1f88}'..='\u{1f8f}' | '\u{1f98}'..='\u{1f9f}'
        | '\u{1fa8}'..='\u{1faf}' | '\u{1fbc}' | '\u{1fcc}' | '\u{1ffc}')
}

fn is_cased(c: char) -> bool {
    c.is_uppercase() || c.is_lowercase() || is_titlecase(c)
}

/// `s.capitalize()`: the first character in title case, the rest in lower case.
pub fn capitalize(s: &str) -> String {
    let mut chars = s.chars();
    let Some(first) = chars.next() else {
        return String::new();
    };
    let mut out = String::with_capacity(s.len());
    push_title(first, &mut out);
    if s.is_ascii() {
        out.extend(chars.map(|c| c.to_ascii_lowercase()));
        return out;
    }
    // The whole is lowered, since what a final sigma becomes depends on what stands before it.
    out.extend(s.to_lowercase().chars().skip(first.to_lowercase().count()));
    out
}

/// `s.title()`: every run of cased characters starts in title case and goes on in lower case.
pub fn title(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    let mut in_word = false;
    let mut lowered = s.to_lowercase().chars().collect::<Vec<_>>().into_iter();
    for c in s.chars() {
        let width = c.to_lowercase().count();
        let lower = lowered.by_ref().take(width);
        if in_word {
            out.extend(lower);
        } else {
            lower.for_each(drop);
            push_title(c, &mut out);
        }
        in_word = is_cased(c);
    }
    out
}

/// `s.isupper()`: something is cased and all that is cased is upper case.
pub fn is_upper(s: &str) -> bool {
    let mut any = false;
    for c in s.chars() {
        if c.is_lowercase() || is_titlecase(c) {
            return false;
        }
        any |= c.is_uppercase();
    }
    any
}
