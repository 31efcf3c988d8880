//! DSPy's `normalize_text`, and the F1 score over the tokens of two normalised texts.

use bsft_pycompat::text;
use std::collections::HashMap;
use unicode_normalization::UnicodeNormalization;

/// DSPy's `normalize_text`: NFD, lower case, no ASCII punctuation, no English articles, single spaces.
pub fn normalize(s: &str) -> String {
    if s.bytes().all(is_simple) {
        normalize_simple(s)
    } else {
        normalize_any(s)
    }
}

/// Whether the byte is ASCII and no control character that is neither white space nor matched by `\w`.
fn is_simple(b: u8) -> bool {
    matches!(b, b' '..=b'~' | b'\t'..=b'\r' | 0x1c..=0x1f)
}

fn is_article(word: &str) -> bool {
    matches!(word, "a" | "an" | "the")
}

fn normalize_simple(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    // The start of the current token in `out`, without its leading space.
    let mut start = 0;
    for b in s.bytes().chain([b' ']) {
        if b.is_ascii_alphanumeric() {
            if start == out.len() && start > 0 {
                out.push(' ');
                start += 1;
            }
            out.push(char::from(b.to_ascii_lowercase()));
        } else if matches!(b, b' ' | b'\t'..=b'\r' | 0x1c..=0x1f) && start < out.len() {
            if is_article(&out[start..]) {
                out.truncate(start.saturating_sub(1));
            }
            start = out.len();
        }
    }
    out
}

pub(super) fn normalize_any(s: &str) -> String {
    let decomposed: String = s.nfd().collect();
    let lower: String = decomposed.to_lowercase();
    let bare: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // An article must be a whole run of `\w` characters; combining marks end such a run.
    let mut kept = String::with_capacity(bare.len());
    let mut rest = bare.as_str();
    while !rest.is_empty() {
        let word = rest.len() - rest.trim_start_matches(text::is_word).len();
        let (run, after) = rest.split_at(word);
        kept.push_str(if is_article(run) { " " } else { run });
        let gap = after.find(text::is_word).unwrap_or(after.len());
        kept.push_str(&after[..gap]);
        rest = &after[gap..];
    }
    let mut out = String::with_capacity(kept.len());
    for token in text::split_whitespace(&kept) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(token);
    }
    out
}

/// DSPy's `f1_score` of two normalised texts, `None` if they share no token (DSPy returns the integer 0 then).
pub(super) fn f1(prediction: &str, gold: &str) -> Option<f64> {
    let mut left: HashMap<&str, usize> = HashMap::new();
    let mut gold_tokens = 0_usize;
    for token in text::split_whitespace(gold) {
        *left.entry(token).or_default() += 1;
        gold_tokens += 1;
    }
    let (mut tokens, mut shared) = (0_usize, 0_usize);
    for token in text::split_whitespace(prediction) {
        tokens += 1;
        if let Some(n) = left.get_mut(token).filter(|n| **n > 0) {
            *n -= 1;
            shared += 1;
        }
    }
    if shared == 0 {
        return None;
    }
    let precision = shared as f64 / tokens as f64;
    let recall = shared as f64 / gold_tokens as f64;
    Some((2.0 * precision * recall) / (precision + recall))
}

/// Whether the tokens of `gold` occur in `prediction` in sequence; both are normalised. An empty `gold` occurs only
/// in an empty text.
pub(super) fn contains(prediction: &str, gold: &str) -> bool {
    if gold.is_empty() {
        return prediction.is_empty();
    }
    prediction.match_indices(gold).any(|(at, _)| {
        let end = at + gold.len();
        (at == 0 || prediction.as_bytes()[at - 1] == b' ')
            && (end == prediction.len() || prediction.as_bytes()[end] == b' ')
    })
}
