//! Reads the files of `tests/vectors/python`, which CPython and the packages that DSPy uses have written.

use serde_json::Value;

/// The rows of `tests/vectors/python/<name>.jsonl`.
pub(crate) fn rows(name: &str) -> Vec<Value> {
    let lines = bsft_vectors::lines(&format!("python/{name}"));
    lines
        .iter()
        .map(|line| serde_json::from_str(line).expect("a vector is JSON"))
        .collect()
}

/// The string at `key`.
pub(crate) fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    row[key].as_str().expect("the vector has this text")
}

/// A seeded source of strings in which the syntax of Python and JSON is frequent.
pub(crate) struct Scraps(super::random::Random);

impl Scraps {
    /// The source that starts at `seed`.
    pub(crate) fn new(seed: u32) -> Scraps {
        Scraps(super::random::Random::new(seed))
    }

    /// A string of up to `most` pieces.
    pub(crate) fn text(&mut self, pieces: &[&str], most: u32) -> String {
        let n = self.0.below(most + 1);
        let mut out = String::new();
        for _ in 0..n {
            let at = self.0.below(pieces.len() as u32 + 2) as usize;
            match pieces.get(at) {
                Some(piece) => out.push_str(piece),
                None => out.extend(char::from_u32(self.0.next_u32() >> (11 + self.0.below(15)))),
            }
        }
        out
    }
}

/// Pieces of JSON, of Python literals and of their damage.
pub(crate) const SYNTAX: &[&str] = &[
    "{", "}", "[", "]", "(", ")", "\"", "'", "“", "”", "„", ":", ",", "\\", "\\u", "\\x4", "\\N{", "/", "//",
    "/*", "*/", "#", "`", "```json", "```", " ", "\n", "\t", "\r", "0", "1", "-", "+", ".", "e", "_", "0x",
    "0b", "true", "None", "NaN", "Infinity", "a", "b'", "r\"", "\"\"\"", "'''", "...", "é", "\u{85}", "key",
    "\": ", "{\"a\": ", "[1, ", "\\\"",
];
