//! A short run of every fuzz target: mutations of real inputs, the same in every run.
//!
//! `PROPTEST_CASES=50000` makes it a long one, and `tests/fuzz/run.sh` fuzzes the same targets with coverage feedback.

use crate::config;
use crate::limits::Limits;
use crate::mutations::{inputs, mutated};
use crate::targets::{self, TARGETS, Target};
use proptest::test_runner::{TestCaseError, TestRunner};
use std::cell::RefCell;
use std::panic::catch_unwind;

/// Runs the target on that many mutations of the seeds.
fn run(name: &str, seeds: Vec<String>, cases: u32) {
    let (_, target): (_, Target) = TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    assert!(!seeds.is_empty());
    for seed in &seeds {
        target(seed);
    }
    let mut config = config();
    config.cases = cases.max(config.cases);
    let cases = config.cases;
    let limits = RefCell::new(Limits::default());
    let result = TestRunner::new(config).run(&inputs(seeds), |(seed, edits)| {
        let text = mutated(&seed, &edits);
        let mut ended = Ok(());
        let held = limits
            .borrow_mut()
            .hold(|| ended = catch_unwind(|| target(&text)));
        let held = ended.map_err(|_| "panicked".to_owned()).and(held);
        held.map_err(|why| TestCaseError::fail(format!("{why} on {text:?}")))
    });
    limits.borrow().report(name, cases);
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

/// The texts of a file of seeds, a JSON string in each line.
fn seeds(lines: &str) -> Vec<String> {
    let seeds = lines.lines().map(serde_json::from_str);
    seeds.collect::<Result<_, _>>().unwrap()
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
fn fuzz_chat_types() {
    run(
        "chat_types",
        seeds(include_str!("../fuzz/seeds/chat_types.jsonl")),
        5_000,
    );
}

#[test]
fn fuzz_json_types() {
    run(
        "json_types",
        seeds(include_str!("../fuzz/seeds/json_types.jsonl")),
        5_000,
    );
}

#[test]
fn fuzz_xml_types() {
    run(
        "xml_types",
        seeds(include_str!("../fuzz/seeds/xml_types.jsonl")),
        5_000,
    );
}

#[test]
fn fuzz_reply() {
    run("reply", seeds(include_str!("../fuzz/seeds/reply.jsonl")), 2_000);
}

#[test]
fn fuzz_message() {
    run(
        "message",
        seeds(include_str!("../fuzz/seeds/message.jsonl")),
        10_000,
    );
}

#[test]
fn fuzz_manifest() {
    run(
        "manifest",
        seeds(include_str!("../fuzz/seeds/manifest.jsonl")),
        2_000,
    );
}

#[test]
fn fuzz_trainers_file() {
    let seed = include_str!("../fuzz/seeds/trainers.toml");
    run("trainers_file", vec![seed.to_owned()], 2_000);
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

#[test]
fn fuzz_trainset_csv() {
    let seed = include_str!("../fuzz/seeds/train.csv");
    run("trainset_csv", vec![seed.to_owned()], 700);
}

#[test]
fn fuzz_trainset_json() {
    let seed = include_str!("../fuzz/seeds/train.json");
    run("trainset_json", vec![seed.to_owned()], 700);
}
