//! What writing a prompt and reading an answer cost, next to DSPy's own time for the same work: a ChainOfThought with two fields beside
//! its reasoning. `cargo bench --bench adapter`; with `BSFT_DSPY_PYTHON` naming a Python that has DSPy, its figures follow.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]

use bsft::adapter::{Adapter, ChatAdapter, JsonAdapter, XmlAdapter};
use bsft::signature::{NamedTypes, Signature};
use bsft::value::{Record, Value};
use criterion::{Criterion, criterion_group};
use std::hint::black_box;
use std::process::Command;

const SIGNATURE: &str = "question, context -> answer, score: float";
const ANSWERS: [(&str, &str); 3] = [
    (
        "chat",
        "[[ ## reasoning ## ]]\nThe text says so twice.\n\n[[ ## answer ## ]]\nParis\n\n[[ ## score ## ]]\n0.75\n\n[[ ## completed ## ]]",
    ),
    (
        "json",
        "{\"reasoning\": \"The text says so twice.\", \"answer\": \"Paris\", \"score\": 0.75}",
    ),
    (
        "xml",
        "<reasoning>The text says so twice.</reasoning>\n<answer>Paris</answer>\n<score>0.75</score>",
    ),
];

fn inputs() -> Record {
    let context =
        "Paris is the capital of France. It lies on the Seine, and more than two million people live there. ";
    Record::from_iter([
        (
            "question".to_owned(),
            Value::from("Which city is the capital of France?"),
        ),
        ("context".to_owned(), Value::from(context.repeat(4).trim_end())),
    ])
}

fn adapters(criterion: &mut Criterion) {
    let signature = Signature::parse(SIGNATURE, None, &NamedTypes::new())
        .expect("the signature is sound")
        .with_reasoning();
    let inputs = inputs();
    let adapters: [&dyn Adapter; 3] = [&ChatAdapter, &JsonAdapter, &XmlAdapter];
    for (adapter, (name, answer)) in adapters.into_iter().zip(ANSWERS) {
        criterion.bench_function(&format!("{name} format, whole"), |b| {
            b.iter(|| {
                let prelude = adapter
                    .prelude(black_box(&signature), &[])
                    .expect("it can be written");
                (
                    prelude,
                    adapter
                        .user(&signature, black_box(&inputs))
                        .expect("it can be written"),
                )
            });
        });
        criterion.bench_function(&format!("{name} format, the turn that changes"), |b| {
            b.iter(|| {
                adapter
                    .user(&signature, black_box(&inputs))
                    .expect("it can be written")
            });
        });
        criterion.bench_function(&format!("{name} parse"), |b| {
            b.iter(|| {
                adapter
                    .parse(&signature, black_box(answer))
                    .expect("it can be read")
            });
        });
    }
}

criterion_group!(benches, adapters);

fn main() {
    benches();
    match std::env::var("BSFT_DSPY_PYTHON") {
        Err(_) => println!("DSPy was not measured: BSFT_DSPY_PYTHON names no Python that has it"),
        Ok(python) => dspy(&python),
    }
}

/// The same work by DSPy.
fn dspy(python: &str) {
    let question = inputs();
    let text = |name: &str| question[name].as_str().unwrap_or_default();
    let mut script = Command::new(python);
    script
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/adapter_dspy.py"))
        .args([SIGNATURE, text("question"), text("context")])
        .args(ANSWERS.map(|(_, answer)| answer));
    match script.status() {
        Ok(status) if status.success() => {}
        other => println!("DSPy was not measured: {python}: {other:?}"),
    }
}
