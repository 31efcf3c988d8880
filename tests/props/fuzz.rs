//! A short run of every fuzz target: mutations of real inputs, the same in every run.
//!
//! `tests/fuzz/run.sh` fuzzes the same targets with coverage feedback, for as long as wanted.

use crate::config;
use crate::targets::{self, TARGETS, Target};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{TestCaseError, TestRunner};

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
enum Edit {
    Insert(Index, &'static str),
    Delete(Index, Index),
    Repeat(Index, Index),
    Truncate(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    prop_oneof![
        4 => (any::<Index>(), proptest::sample::select(TOKENS)).prop_map(|(at, token)| Edit::Insert(at, token)),
        3 => any::<(Index, Index)>().prop_map(|(from, to)| Edit::Delete(from, to)),
        1 => any::<(Index, Index)>().prop_map(|(from, to)| Edit::Repeat(from, to)),
        1 => any::<Index>().prop_map(Edit::Truncate),
    ]
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

/// Runs the target on that many mutations of the seeds.
fn run(name: &str, seeds: Vec<String>, cases: u32) {
    let (_, target): (_, Target) = TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
    }
    let mut config = config();
    config.cases = cases.max(config.cases);
    let input = (proptest::sample::select(seeds), vec(edit(), 1..6));
    let result = TestRunner::new(config).run(&input, |(seed, edits)| {
        let mut text: Vec<char> = seed.chars().collect();
        for edit in &edits {
            apply(&mut text, edit);
        }
        let text: String = text.into_iter().collect();
        std::panic::catch_unwind(|| target(&text)).map_err(|_| TestCaseError::fail(format!("on {text:?}")))
    });
    if let Err(failure) = result {
        panic!("{name}: {failure}");
    }
}

/// The texts at `key` in the rows of `tests/vectors/<file>.jsonl`.
fn vectors(file: &str, key: &str) -> Vec<String> {
    bsft_vectors::lines(file)
        .iter()
        .filter_map(|line| {
            serde_json::from_str::<serde_json::Value>(line).ok()?[key]
                .as_str()
                .map(str::to_owned)
        })
        .collect()
}

#[test]
fn fuzz_signature_parse() {
    run("signature", vectors("signature/signature", "sig"), 30_000);
}

#[test]
fn fuzz_literal_eval() {
    run("literal", vectors("python/literal", "in"), 30_000);
}

#[test]
fn fuzz_json_repair() {
    run("json_repair", vectors("python/repair", "in"), 30_000);
}

#[test]
fn fuzz_chat_answer() {
    run("chat_answer", vectors("adapter/chat_parse", "in"), 30_000);
}

#[test]
fn fuzz_json_answer() {
    run("json_answer", vectors("adapter/json_parse", "in"), 30_000);
}

#[test]
fn fuzz_xml_answer() {
    run("xml_answer", vectors("adapter/xml_parse", "in"), 30_000);
}

#[test]
fn fuzz_job_file() {
    run("job_file", vec![targets::JOB.to_owned()], 700);
}

#[test]
fn fuzz_state_file() {
    run("state_file", vec![targets::STATE.to_owned()], 700);
}

#[test]
fn fuzz_trainset() {
    run("trainset", vec![targets::TRAINSET.to_owned()], 700);
}
