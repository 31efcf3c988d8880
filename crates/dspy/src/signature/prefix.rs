//! The prefix that DSPy derives from a field's name. Only saved states contain it.

use bsft_pycompat::text;

/// `userID` to `User ID`, `v2beta` to `V 2 Beta`.
pub(super) fn infer(name: &str) -> String {
    let split = between_digits(&before_last_capital(&before_capitalised_word(name)));
    let words = split.split('_').map(|word| {
        if text::is_upper(word) {
            word.to_owned()
        } else {
            text::capitalize(word)
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// `(.)([A-Z][a-z]+)` to `\1_\2`, from left to right without overlap.
fn before_capitalised_word(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::with_capacity(name.len() + 4);
    let mut at = 0;
    while at < chars.len() {
        out.push(chars[at]);
        let capital = chars.get(at + 1).is_some_and(char::is_ascii_uppercase);
        let small = chars.get(at + 2).is_some_and(char::is_ascii_lowercase);
        at += 1;
        if capital && small && chars[at - 1] != '\n' {
            out.push('_');
            out.push(chars[at]);
            at += 1;
            while at < chars.len() && chars[at].is_ascii_lowercase() {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// `([a-z0-9])([A-Z])` to `\1_\2`.
fn before_last_capital(name: &str) -> String {
    apart(name, |a, b| {
        (a.is_ascii_lowercase() || a.is_ascii_digit()) && b.is_ascii_uppercase()
    })
}

/// `([a-zA-Z])(\d)` and `(\d)([a-zA-Z])`.
fn between_digits(name: &str) -> String {
    let name = apart(name, |a, b| a.is_ascii_alphabetic() && text::is_digit(b));
    apart(&name, |a, b| text::is_digit(a) && b.is_ascii_alphabetic())
}

fn apart(name: &str, split: impl Fn(char, char) -> bool) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut before = None;
    for c in name.chars() {
        if before.is_some_and(|before| split(before, c)) {
            out.push('_');
        }
        out.push(c);
        before = Some(c);
    }
    out
}
