//! The tokens of a signature: names, strings, numbers and punctuation.

use super::SignatureError;
use bsft_pycompat::value::Value;
use bsft_pycompat::{literal, text};
use unicode_normalization::UnicodeNormalization as _;

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// An identifier or keyword.
    Name(String),
    /// A string or number.
    Constant(Value),
    /// One of `[ ] ( ) { } , : | . = * / + -`, or `…` for three points.
    Mark(char),
}

/// The punctuation of a signature; some marks occur only in defaults.
const MARKS: &str = "[](){},:|.=*/+-";

/// The maximum number of characters of the text in an error.
const SHOWN: usize = 30;

/// Splits a text into tokens, each with the text after it (for errors).
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, &str)>, SignatureError> {
    let mut out = Vec::new();
    let mut rest = skipped(source);
    while let Some(first) = rest.chars().next() {
        let (token, len) = if first == '_' || text::is_alpha(first) {
            word_or_prefixed(rest)?
        } else if first.is_ascii_digit() {
            number(rest)?
        } else if first == '\'' || first == '"' {
            string(rest, 0)?
        } else if rest.starts_with("...") {
            (Token::Mark('…'), 3)
        } else if MARKS.contains(first) {
            (Token::Mark(first), 1)
        } else {
            return Err(syntax("a character that no signature has", rest));
        };
        out.push((token, rest));
        rest = skipped(&rest[len..]);
    }
    Ok(out)
}

/// Skips Python's white space, comments and line continuations. Python rejects other spaces, such as U+00A0.
fn skipped(mut rest: &str) -> &str {
    loop {
        let bare = rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0c']);
        let bare = bare.strip_prefix("\\\n").unwrap_or(bare);
        // A comment must end with a line break; otherwise it would include the bracket that DSPy appends.
        let bare = match bare.strip_prefix('#').and_then(|comment| comment.find('\n')) {
            Some(end) => &bare[end + 1..],
            None => bare,
        };
        if bare.len() == rest.len() {
            return bare;
        }
        rest = bare;
    }
}

/// A syntax error at `rest`.
pub(super) fn syntax(what: &str, rest: &str) -> SignatureError {
    let found = rest.chars().take(SHOWN).collect();
    SignatureError::Syntax {
        what: what.to_owned(),
        found,
    }
}

fn word_or_prefixed(rest: &str) -> Result<(Token, usize), SignatureError> {
    let len = rest.find(|c| !text::is_word(c)).unwrap_or(rest.len());
    let word = &rest[..len];
    // Python normalises names to NFKC: `ﬁeld` is `field`.
    let name = || {
        if word.is_ascii() {
            word.to_owned()
        } else {
            word.nfkc().collect()
        }
    };
    let is_prefix = matches!(word, "r" | "R" | "u" | "U") && rest[len..].starts_with(['\'', '"']);
    if is_prefix {
        string(rest, len)
    } else {
        Ok((Token::Name(name()), len))
    }
}

fn number(rest: &str) -> Result<(Token, usize), SignatureError> {
    let len = rest
        .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '.'))
        .unwrap_or(rest.len());
    match literal::eval(&rest[..len]) {
        Ok(value) => Ok((Token::Constant(value), len)),
        Err(_) => Err(syntax("expected a number", rest)),
    }
}

fn string(rest: &str, prefix: usize) -> Result<(Token, usize), SignatureError> {
    let quote = rest[prefix..].chars().next().expect("the caller saw a quote");
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(prefix + 1) {
        if c == quote && !escaped {
            let end = at + 1;
            return match literal::eval(&rest[..end]) {
                Ok(value) => Ok((Token::Constant(value), end)),
                Err(_) => Err(syntax("expected a string", rest)),
            };
        }
        escaped = c == '\\' && !escaped;
    }
    Err(syntax("a string that does not end", rest))
}
