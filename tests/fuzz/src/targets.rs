//! What every fuzz target demands of its input: no panic, and the named property.

use crate::replies;
use bsft::finetune::Trainers;
use bsft::message::{BootstrapTask, Completion, FinetuneMessage, decode};
use bsft::report::{Manifest, RunStatus};
use bsft_dspy::adapter::{Adapter, ChatAdapter, JsonAdapter, XmlAdapter};
use bsft_dspy::signature::{NamedTypes, Signature, parse_types};
use bsft_pycompat::{json, literal, repair, repr};
use std::fs;

/// A target: takes any text and panics if the property does not hold.
pub(crate) type Target = fn(&str);

/// Every target with its name.
pub(crate) const TARGETS: [(&str, Target); 18] = [
    ("signature", signature),
    ("literal", literal),
    ("json_repair", json_repair),
    ("chat_answer", chat_answer),
    ("json_answer", json_answer),
    ("xml_answer", xml_answer),
    ("job_file", job_file),
    ("state_file", state_file),
    ("trainset", trainset),
    ("chat_types", chat_types),
    ("json_types", json_types),
    ("xml_types", xml_types),
    ("reply", replies::reply),
    ("trainset_csv", trainset_csv),
    ("trainset_json", trainset_json),
    ("trainers_file", trainers_file),
    ("message", message),
    ("manifest", manifest),
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
fn answer(adapter: &dyn Adapter, signature: &str, text: &str) {
    let signature = Signature::parse(signature, None, &types()).expect("a valid signature");
    if let Ok(record) = adapter.parse(&signature, text) {
        let names: Vec<&String> = record.keys().collect();
        let expected: Vec<&String> = signature.outputs.iter().map(|field| &field.name).collect();
        assert_eq!(names, expected);
        let _ = adapter.assistant(&signature, &record);
    }
}

/// The output fields of the vectors.
const FEW_TYPES: &str = "q -> a, tags: list[str], ok: bool";

/// Output fields of every kind of type.
const MANY_TYPES: &str = "q -> text, whole: int, part: float, ok: bool, tags: list[str], counts: dict[str, int], \
    maybe: Optional[int], choice: Literal['a', 'b', 3], color: Color, person: Person, people: list[Person], both: tuple[int, str], \
    members: set[int], either: Union[int, list[float], Person], any: Any";

fn chat_answer(text: &str) {
    answer(&ChatAdapter, FEW_TYPES, text);
}

fn json_answer(text: &str) {
    answer(&JsonAdapter, FEW_TYPES, text);
}

fn xml_answer(text: &str) {
    answer(&XmlAdapter, FEW_TYPES, text);
}

fn chat_types(text: &str) {
    answer(&ChatAdapter, MANY_TYPES, text);
}

fn json_types(text: &str) {
    answer(&JsonAdapter, MANY_TYPES, text);
}

fn xml_types(text: &str) {
    answer(&XmlAdapter, MANY_TYPES, text);
}

/// Reads the job in a folder of its own, with one file replaced by the input. A job that cannot be read gives at least one problem.
fn read_job(file: &str, content: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let trainset = file.strip_prefix("train.").unwrap_or("jsonl");
    let job = JOB.replace("train.jsonl", &format!("train.{trainset}"));
    for (name, default) in [
        ("job.toml", job.as_str()),
        ("state.json", STATE),
        ("train.jsonl", TRAINSET),
    ] {
        fs::write(path(name), default).expect("the folder is writable");
    }
    fs::write(path(file), content).expect("the folder is writable");
    if let Err(problems) = bsft::job::read(&path("job.toml")) {
        assert!(!problems.to_string().trim().is_empty());
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

fn trainset_csv(text: &str) {
    read_job("train.csv", text);
}

fn trainset_json(text: &str) {
    read_job("train.json", text);
}

/// A trainers file that cannot be read gives at least one problem.
fn trainers_file(text: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("trainers.toml");
    fs::write(&path, text).expect("the folder is writable");
    if let Err(problems) = Trainers::read(&path) {
        assert!(!problems.to_string().trim().is_empty());
    }
}

/// A message that is decoded is encoded as the same task.
fn message(text: &str) {
    let bytes = text.as_bytes();
    if let Ok(task) = BootstrapTask::decode(bytes) {
        assert_eq!(BootstrapTask::decode(&task.encode()).expect("it is ours"), task);
    }
    let _ = decode::<FinetuneMessage>(bytes);
    let _ = decode::<Completion>(bytes);
}

/// A manifest that is read can be reported, also as that of a living run.
fn manifest(text: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("run.json");
    fs::write(&path, text).expect("the folder is writable");
    if let Ok(Some(mut manifest)) = Manifest::read(&path) {
        manifest.updated = u64::MAX;
        let status = RunStatus::new("run".to_owned(), manifest);
        assert!(!status.to_string().is_empty());
        assert!(serde_json::to_string(&status).is_ok());
    }
}

/// A small job that uses most tables.
pub(crate) const JOB: &str = include_str!("../seeds/job.toml");

/// A saved state of its student.
pub(crate) const STATE: &str = include_str!("../seeds/state.json");

/// Its trainset.
pub(crate) const TRAINSET: &str = include_str!("../seeds/train.jsonl");
