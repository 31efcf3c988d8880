//! Text for a terminal: characters that control one are written as escapes. Names in a job file and messages of a server may contain them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text with each control character, line separator and change of direction as `\uXXXX`. Line feeds and tabs stay. In a JSON document
/// the result is the same document.
pub(crate) fn terminal_text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_control(c) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal may take the character for a command, or show the text after it in another place.
fn is_control(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        _ => c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_reaches_a_terminal() {
        let hostile = "a\u{1b}]0;title\u{7}\u{9b}2J\r\u{7f}\u{202e}b\u{2028}";
        let shown = terminal_text(hostile);
        assert_eq!(shown, r"a\u001b]0;title\u0007\u009b2J\u000d\u007f\u202eb\u2028");
        assert!(!shown.chars().any(is_control));
        assert_eq!(terminal_text("two\n\tlines, é 🦀 א"), "two\n\tlines, é 🦀 א");
    }

    #[test]
    fn json_document_stays_the_same_document() {
        let value = serde_json::json!({"name": "\u{9b}2J \u{202e} \u{1b}[2J"});
        let shown = terminal_text(&value.to_string()).into_owned();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
    }
}
