//! Compares prompts, answers and values with those of DSPy 3.4.1, which wrote `tests/vectors/adapter`.

use super::{Adapter, Message, ParseFailure, Role, structured, value};
use crate::adapter::AdapterKind;
use crate::signature::{NamedTypes, Signature, Type, parse_type, parse_types};
use bsft_pycompat::value::{Record, Value};
use bsft_pycompat::{json, random::Random};
use std::borrow::Cow;

/// The named types of the vectors' signatures.
fn types() -> NamedTypes {
    let definitions = serde_json::json!({
        "Color": {"enum": ["red", "dark blue", "green"]},
        "Address": {"doc": "Where someone lives.", "fields": [["street", "str"], ["zip", "Optional[int]", null]]},
        "Person": {"fields": [["name", "str"], ["age", "int"], ["addr", "Address"], ["tags", "list[str]", []],
            ["score", "float", 1.0]]},
    });
    parse_types(definitions.as_object().expect("a table")).expect("the types are sound")
}

/// The rows of `tests/vectors/adapter/<name>.jsonl`, read as Python reads them, because `serde_json` may miss a float's last digit.
fn rows(name: &str) -> Vec<Value> {
    bsft_vectors::lines(&format!("adapter/{name}"))
        .iter()
        .map(|line| json::parse(line).expect("a vector is JSON"))
        .collect()
}

/// The value at `key`, `None` where it is missing.
fn at<'a>(row: &'a Value, key: &str) -> &'a Value {
    let Value::Dict(entries) = row else {
        panic!("no object: {row:?}")
    };
    entries
        .iter()
        .find(|(k, _)| k.as_str() == Some(key))
        .map_or(&Value::None, |(_, v)| v)
}

fn text<'a>(row: &'a Value, key: &str) -> &'a str {
    at(row, key).as_str().expect("the vector has this text")
}

fn items(value: &Value) -> Cow<'_, [Value]> {
    let Value::List(items) = value else {
        panic!("no list: {value:?}")
    };
    items.values()
}

fn record(value: &Value) -> Record {
    let Value::Dict(entries) = value else {
        return Record::new();
    };
    entries
        .iter()
        .map(|(k, v)| (k.as_str().expect("a name").to_owned(), v.clone()))
        .collect()
}

fn adapter(name: &str) -> &'static dyn Adapter {
    let kind = match name {
        "json" => AdapterKind::Json,
        "xml" => AdapterKind::Xml,
        _ => AdapterKind::Chat,
    };
    kind.adapter()
}

fn signature(row: &Value, types: &NamedTypes) -> Signature {
    let signature = Signature::parse(text(row, "sig"), at(row, "instructions").as_str(), types);
    let mut signature = signature.expect("the vector's signature is sound");
    for (field, desc) in record(at(row, "desc")) {
        signature = signature.with_desc(&field, desc.as_str().expect("a text"));
    }
    if at(row, "cot").is_truthy() {
        signature.with_reasoning()
    } else {
        signature
    }
}

#[track_caller]
fn assert_none(what: &str, wrong: &[String], of: usize) {
    let shown = wrong.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(
        wrong.is_empty() && of > 0,
        "{} of {of} {what} differ:\n{shown}",
        wrong.len()
    );
}

#[test]
fn prompts_are_those_of_dspy() {
    let (types, mut wrong) = (types(), Vec::new());
    let rows = rows("format");
    for row in &rows {
        let signature = signature(row, &types);
        let demos: Vec<Record> = items(at(row, "demos")).iter().map(record).collect();
        let adapter = adapter(text(row, "adapter"));
        let mut messages = adapter
            .prelude(&signature, &demos)
            .expect("these demos can be written");
        messages.push(Message {
            role: Role::User,
            content: adapter
                .user(&signature, &record(at(row, "inputs")))
                .expect("these inputs can be written"),
        });
        let got = json::from_serde(&serde_json::to_value(&messages).expect("messages are JSON"));
        if got != *at(row, "messages") {
            wrong.push(format!(
                "{:?}\n{got:?}\n{:?}",
                at(row, "sig"),
                at(row, "messages")
            ));
        }
    }
    assert_none("prompts", &wrong, rows.len());
}

#[test]
fn training_answers_are_those_of_dspy() {
    let (types, mut wrong) = (types(), Vec::new());
    let rows = rows("training");
    for row in &rows {
        let got = adapter(at(row, "adapter").as_str().unwrap_or("chat"))
            .assistant(&signature(row, &types), &record(at(row, "outputs")))
            .expect("it can be written");
        if got != text(row, "assistant") {
            wrong.push(format!("{got:?}\n{:?}", at(row, "assistant")));
        }
    }
    assert_none("answers", &wrong, rows.len());
}

#[test]
fn values_are_rendered_as_in_dspy() {
    let (types, mut wrong) = (types(), Vec::new());
    let rows = rows("format_value");
    for row in &rows {
        // Types that are not built, such as dates, are written like any other but `str`.
        let ty = parse_type(text(row, "type"), &types).unwrap_or(Type::Any);
        let got = value::render(at(row, "in"), &ty);
        if got.as_deref().ok() != at(row, "fmt").as_str() {
            wrong.push(format!("{got:?} {row:?}"));
        }
    }
    assert_none("values", &wrong, rows.len());
}

fn compare_answers(name: &str, adapter: &dyn Adapter) {
    let (types, mut wrong) = (types(), Vec::new());
    let mut rows = rows(name);
    // Where DSPy read half of a surrogate pair there is no text to compare with.
    rows.retain(|row| record(at(row, "fields")).values().all(|v| *v != Value::None));
    for row in &rows {
        let signature = signature(row, &types);
        let answer = text(row, "in");
        let read = adapter.parse(&signature, answer);
        let same = match &read {
            Ok(fields) => signature.outputs.iter().all(|f| {
                let expected = record(at(row, "fields"));
                let got = value::render(&fields[&f.name], &f.ty).ok();
                got.as_deref() == expected.get(&f.name).and_then(Value::as_str)
            }),
            Err(ParseFailure { partial, .. }) => {
                let names = |p: &Record| Value::list(p.keys().map(|k| Value::from(k.as_str())));
                // DSPy's adapters do not get to see an empty answer, which here has the failure of its caller.
                let expected = at(row, "partial");
                // Where DSPy stumbles instead (a list where an enum's member should be), it gives nothing back.
                let stumbles = at(row, "err").as_str().is_some_and(|e| e != "AdapterParseError");
                let is_same =
                    partial.as_ref().map_or(Value::None, names) == *expected || answer.is_empty() || stumbles;
                *at(row, "ok") == Value::Bool(false) && is_same
            }
        };
        if !same {
            wrong.push(format!("{read:?}\n{row:?}"));
        }
    }
    assert_none("answers", &wrong, rows.len());
}

#[test]
fn chat_answers_are_read_as_in_dspy() {
    compare_answers("chat_parse", adapter("chat"));
}

#[test]
fn json_answers_are_read_as_in_dspy() {
    compare_answers("json_parse", adapter("json"));
}

#[test]
fn xml_answers_are_read_as_in_dspy() {
    compare_answers("xml_parse", adapter("xml"));
}

#[test]
fn endlessly_nested_answer_is_refused() {
    let signature = Signature::parse("q -> a, b: dict[str, Any]", None, &types()).expect("it is sound");
    for depth in [300, 200_000] {
        let (open, close) = ("<b>".repeat(depth), "</b>".repeat(depth));
        let answer = format!("<a>x</a>{open}{close}");
        assert_eq!(adapter("xml").parse(&signature, &answer).is_ok(), depth == 300);
    }
}

#[test]
fn response_formats_follow_the_model_table_of_dspy() {
    for row in rows("response_format") {
        let got = structured::response_format(text(&row, "model"), &signature(&row, &types()));
        let kind = got.as_ref().and_then(|f| f["type"].as_str());
        let expected = match at(&row, "format").as_str() {
            Some("schema") => Some("json_schema"),
            Some(_) => Some("json_object"),
            None => None,
        };
        assert_eq!(kind, expected, "{row:?}");
    }
}

#[test]
fn reading_an_answer_never_panics() {
    let pieces = [
        "[[ ## a ## ]]",
        "[[ ## ",
        " ## ]]",
        "\n",
        "\r",
        "\u{2028}",
        "\u{3000}",
        " ",
        "a",
        "é",
        "{",
        "}",
        "\"",
        ":",
        "[",
        "\\",
        "\u{85}",
        "b",
        "3",
        "\u{1c}",
        "[[ ## é ## ]]",
        "[[ ## b ## ]]",
        "<a>",
        "</a>",
        "<b>3</b>",
        "<!--",
        "<![CDATA[",
        "]]>",
        "&amp;",
        "&#x",
    ];
    let signature = signature(
        &json::parse(r#"{"sig": "q -> a, b: Optional[int]"}"#).expect("this is JSON"),
        &types(),
    );
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        let n = random.below(14);
        let answer: String = (0..n)
            .map(|_| pieces[random.below(pieces.len() as u32) as usize])
            .collect();
        let bytes: Vec<u8> = (0..n).map(|_| random.below(256) as u8).collect();
        for answer in [answer.as_str(), &String::from_utf8_lossy(&bytes)] {
            for name in ["chat", "json", "xml"] {
                if let Ok(fields) = adapter(name).parse(&signature, answer) {
                    assert!(fields.keys().eq(["a", "b"]), "{answer:?}");
                }
            }
        }
    }
}

#[test]
fn values_outside_json_are_written_as_in_pydantic() {
    let nan = || Value::Float(f64::NAN);
    let dict = |items: Vec<(Value, Value)>| Value::Dict(items);
    let int = Value::Int;
    let cases = [
        (nan(), "nan"),
        (Value::list([nan(), Value::Float(1e16)]), "[null, 1e+16]"),
        (Value::tuple([int(1), "x".into()]), "[1, \"x\"]"),
        (
            dict(vec![(Value::Bool(true), int(1)), ("true".into(), int(2))]),
            "{\"true\": 2}",
        ),
        (
            dict(vec![(Value::None, int(3)), (nan(), int(6))]),
            "{\"None\": 6}",
        ),
        (
            dict(vec![(Value::tuple([int(1), int(2)]), int(9))]),
            "{\"1,2\": 9}",
        ),
        (dict(vec![(Value::Float(1e-7), int(1))]), "{\"1e-07\": 1}"),
    ];
    for (value, expected) in cases {
        assert_eq!(value::render(&value, &Type::Any).as_deref(), Ok(expected));
    }
}
