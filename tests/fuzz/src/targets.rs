//! What every fuzz target demands of its input: no panic, and the named property.

use bsft_dspy::adapter::{Adapter, ChatAdapter, JsonAdapter, XmlAdapter};
use bsft_dspy::signature::{NamedTypes, Signature, parse_types};
use bsft_pycompat::{json, literal, repair, repr};
use std::fs;
use std::path::Path;

/// A target: takes any text and panics if the property does not hold.
pub(crate) type Target = fn(&str);

/// Every target with its name.
pub(crate) const TARGETS: [(&str, Target); 9] = [
    ("signature", signature),
    ("literal", literal),
    ("json_repair", json_repair),
    ("chat_answer", chat_answer),
    ("json_answer", json_answer),
    ("xml_answer", xml_answer),
    ("job_file", job_file),
    ("state_file", state_file),
    ("trainset", trainset),
];

fn types() -> NamedTypes {
    let types = serde_json::json!({
        "Color": {"enum": ["red", "dark blue"]},
        "Person": {"doc": "A person.", "fields": [["name", "str"], ["age", "int", 7]]},
    });
    parse_types(types.as_object().expect("an object")).expect("valid types")
}

/// A signature that parses has fields on both sides, and its default instructions name them.
fn signature(text: &str) {
    if let Ok(signature) = Signature::parse(text, None, &types()) {
        for field in signature.fields() {
            assert!(!field.name.is_empty());
            assert!(signature.instructions.contains(&field.name));
        }
    }
}

/// A literal that evaluates is written by `repr` as a literal of the same value, except for the values that Python itself
/// writes as names.
fn literal(text: &str) {
    if let Ok(value) = literal::eval(text) {
        let written = repr::repr(&value);
        match literal::eval(&written) {
            Ok(again) => assert_eq!(repr::repr(&again), written),
            Err(_) => assert!(
                ["inf", "nan", "set()", "Ellipsis"]
                    .iter()
                    .any(|name| written.contains(name)),
                "{written}"
            ),
        }
    }
}

/// Whatever is repaired is a value that survives being written and repaired again.
fn json_repair(text: &str) {
    let value = repair::loads(text);
    let mut written = String::new();
    json::write_compact(&value, &mut written);
    let mut again = String::new();
    json::write_compact(&repair::loads(&written), &mut again);
    if json::parse(&written).is_ok() {
        assert_eq!(again, written);
    }
}

/// An answer that parses has every output field, in order, and can be written as an assistant turn.
fn answer(adapter: &dyn Adapter, text: &str) {
    let signature = "q -> a, tags: list[str], ok: bool";
    let signature = Signature::parse(signature, None, &types()).expect("a valid signature");
    if let Ok(record) = adapter.parse(&signature, text) {
        let names: Vec<&String> = record.keys().collect();
        let expected: Vec<&String> = signature.outputs.iter().map(|field| &field.name).collect();
        assert_eq!(names, expected);
        let _ = adapter.assistant(&signature, &record);
    }
}

fn chat_answer(text: &str) {
    answer(&ChatAdapter, text);
}

fn json_answer(text: &str) {
    answer(&JsonAdapter, text);
}

fn xml_answer(text: &str) {
    answer(&XmlAdapter, text);
}

/// Reads the job in a folder of its own, with one file replaced by the input.
fn read_job(file: &str, content: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    for (name, default) in [
        ("job.toml", JOB),
        ("state.json", STATE),
        ("train.jsonl", TRAINSET),
    ] {
        let content = if name == file { content } else { default };
        fs::write(path(name), content).expect("the folder is writable");
    }
    problems_name_a_file(&path("job.toml"));
}

/// A job that cannot be read gives at least one problem, and each of them names a file.
fn problems_name_a_file(job: &Path) {
    if let Err(problems) = bsft::job::read(job) {
        let text = problems.to_string();
        assert!(!text.trim().is_empty());
    }
}

fn job_file(text: &str) {
    read_job("job.toml", text);
}

fn state_file(text: &str) {
    read_job("state.json", text);
}

fn trainset(text: &str) {
    read_job("train.jsonl", text);
}

/// A small job that uses most tables.
pub(crate) const JOB: &str = include_str!("../seeds/job.toml");

/// A saved state of its student.
pub(crate) const STATE: &str = include_str!("../seeds/state.json");

/// Its trainset.
pub(crate) const TRAINSET: &str = include_str!("../seeds/train.jsonl");
