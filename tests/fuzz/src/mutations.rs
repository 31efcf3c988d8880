//! Random changes of real inputs, the same for the same seed.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Syntax of every format that a target reads.
const TOKENS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "\"",
    "'",
    "\"\"\"",
    "```",
    "`",
    ",",
    ":",
    "=",
    "->",
    "|",
    "\\",
    "\\u00",
    "\\x",
    "#",
    "<",
    ">",
    "</",
    "<a>",
    "</a>",
    "[[ ## a ## ]]",
    "Literal['a']",
    "Optional[",
    "list[",
    "dict[str, int]",
    "Color",
    "None",
    "true",
    "NaN",
    "-",
    "1e400",
    "1_0",
    "0x",
    "1.",
    "9999999999999999999999",
    "\n",
    "\r",
    "\t",
    " ",
    "\0",
    "\u{ff}",
    "\u{feff}",
    "\u{2028}",
    "é",
    "🦀",
    "[x]",
    "name",
    "lm",
    "model",
    "signature",
    "demos",
    "fields",
];

/// One change of a text. Positions are fractions of its length.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    Insert(Index, &'static str),
    Delete(Index, Index),
    Repeat(Index, Index),
    Truncate(Index),
}

/// One of the seeds, and the changes to it.
pub(crate) fn inputs(seeds: Vec<String>) -> impl Strategy<Value = (String, Vec<Edit>)> {
    let edit = prop_oneof![
        4 => (any::<Index>(), select(TOKENS)).prop_map(|(at, token)| Edit::Insert(at, token)),
        3 => any::<(Index, Index)>().prop_map(|(from, to)| Edit::Delete(from, to)),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Edit::Repeat(from, to)),
        1 => any::<Index>().prop_map(Edit::Truncate),
    ];
    (select(seeds), vec(edit, 1..6))
}

/// The seed with its changes.
pub(crate) fn mutated(seed: &str, edits: &[Edit]) -> String {
    let mut text: Vec<char> = seed.chars().collect();
    for edit in edits {
        apply(&mut text, edit);
    }
    text.into_iter().collect()
}

fn apply(text: &mut Vec<char>, edit: &Edit) {
    let at = |index: &Index| index.index(text.len() + 1);
    match edit {
        Edit::Insert(index, token) => {
            let at = at(index);
            text.splice(at..at, token.chars());
        }
        Edit::Delete(from, to) => {
            let (from, to) = (at(from), at(to));
            // Short cuts keep most of the structure.
            let (from, to) = (from.min(to), from.max(to).min(from.min(to) + 8));
            text.drain(from..to);
        }
        Edit::Repeat(from, to) => {
            let (from, to) = (at(from), at(to));
            let part = text[from.min(to)..from.max(to).min(from.min(to) + 40)].to_vec();
            text.splice(from..from, part);
        }
        Edit::Truncate(index) => {
            let at = at(index);
            text.truncate(at);
        }
    }
}
