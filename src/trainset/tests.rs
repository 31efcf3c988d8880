//! Tests of example files: rows read by offset equal a full parse.

mod refusals;

use super::*;
use crate::python::json::{dumps, parse};
use crate::python::random::Random;
use std::fs;

fn text(random: &mut Random) -> String {
    let pieces = [
        "a", " ", "\"", "\n", ",", "\\", "é", "}", "[", "\r\n", "\u{2028}", "😀", "x y", "",
    ];
    (0..random.below(6))
        .map(|_| pieces[random.below(pieces.len() as u32) as usize])
        .collect()
}

fn rows(random: &mut Random, texts_only: bool) -> Vec<Record> {
    let row = |_| {
        let mut row = Record::new();
        row.insert("question".to_owned(), Value::Str(text(random)));
        let other = match random.below(if texts_only { 1 } else { 4 }) {
            0 => Value::Str(text(random)),
            1 => Value::Float(0.5),
            2 => Value::list([Value::Int(1), Value::Str(text(random))]),
            _ => Value::Dict(vec![(Value::Str("k".to_owned()), Value::None)]),
        };
        row.insert("answer".to_owned(), other);
        row
    };
    (0..300).map(row).collect()
}

fn json(row: &Record) -> String {
    dumps(&Value::Dict(
        row.iter()
            .map(|(k, v)| (Value::Str(k.clone()), v.clone()))
            .collect(),
    ))
}

fn open(
    name: &str,
    content: &[u8],
    limit: Option<u64>,
    inputs: &[&str],
) -> (tempfile::TempDir, Result<Trainset, Problems>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    fs::write(&path, content).expect("written");
    let inputs: Vec<String> = inputs.iter().map(|s| (*s).to_owned()).collect();
    (dir, Trainset::open(&path, limit, &inputs))
}

#[test]
fn every_format_gives_the_same_rows_and_digests() {
    let mut random = Random::new(5);
    for round in 0..20 {
        let rows = rows(&mut random, round % 2 == 0);
        let mark = if round % 3 == 0 { "\u{feff}" } else { "" };
        let gap = ["\n", "\r\n", "\n \n\n"][round % 3];
        let lines: Vec<String> = rows.iter().map(json).collect();
        let mut files = vec![
            ("a.jsonl", format!("{mark}{}", lines.join(gap)).into_bytes()),
            (
                "a.json",
                format!("{mark} [{}\n]\n", lines.join([",", " ,\n", "\n, "][round % 3])).into_bytes(),
            ),
        ];
        if round % 2 == 0 {
            let mut writer = ::csv::WriterBuilder::new().from_writer(mark.as_bytes().to_vec());
            writer.write_record(["question", "answer"]).expect("written");
            for row in &rows {
                writer
                    .write_record(row.values().filter_map(Value::as_str))
                    .expect("written");
            }
            files.push(("a.csv", writer.into_inner().expect("flushed")));
        }
        let mut digests = None;
        for (name, content) in files {
            let limit = (round % 4 == 1).then_some(77);
            let (_dir, set) = open(name, &content, limit, &["question"]);
            let set = set.unwrap_or_else(|problems| panic!("{name}: {problems}"));
            assert_eq!(set.len(), limit.unwrap_or(300) as usize);
            for (i, row) in rows.iter().take(set.len()).enumerate() {
                assert_eq!(&set.example(i).expect("a row"), row, "{name} row {i}");
                let raw = set.json(i).expect("a row");
                assert_eq!(parse(&raw).expect("JSON"), parse(&json(row)).expect("JSON"));
            }
            assert!(set.example(set.len()).is_err());
            assert_eq!(set.labels(), ["answer"]);
            assert_eq!(set.sha256().len(), 64);
            let own: Vec<(Option<u64>, Option<u64>)> = (0..set.len())
                .map(|i| (set.row_digest(i), set.label_digest(i)))
                .collect();
            assert_eq!(digests.get_or_insert_with(|| own.clone()), &own, "{name}");
        }
    }
}

#[test]
fn open_reports_bad_rows_by_line_up_to_a_limit() {
    let content = b"{\"q\": 1}\n\n{\"r\": 1}\n[1]\n{\"q\": }\n{\"q\": \"\xff\"}\n{\"q\": NaN}\n";
    let (_dir, set) = open("a.jsonl", content, None, &["q"]);
    let problems = set.expect_err("five bad rows");
    let lines: Vec<_> = problems.0.iter().filter_map(|p| p.line).collect();
    assert_eq!(lines, [3, 4, 5, 6, 7], "{problems}");
    let (_dir, set) = open("a.jsonl", "7\n".repeat(30).as_bytes(), None, &["q"]);
    let problems = set.expect_err("thirty bad rows").to_string();
    assert!(problems.contains("and 10 more rows are bad"), "{problems}");
    for (name, content) in [
        ("a.json", "{}"),
        ("a.json", "[{\"q\": 1}"),
        ("a.json", "[{\"q\": 1} {\"q\": 1}]"),
        ("a.json", "[{\"q\": 1},]"),
        ("a.json", "[{\"q\": 1}] x"),
        ("a.json", "[1, {\"q\": 1}]"),
        ("a.json", "[{\"q\": 1}}]"),
        ("a.json", ""),
        ("a.csv", "q,q\n1,2\n"),
        ("a.csv", "q,r\n1\n"),
        ("a.csv", ""),
        ("a.csv", "r\n1\n"),
        ("a.txt", "x"),
    ] {
        assert!(
            open(name, content.as_bytes(), None, &["q"]).1.is_err(),
            "{name}: {content}"
        );
    }
}

#[test]
fn missing_label_is_reported_by_line() {
    let (_dir, set) = open(
        "a.jsonl",
        b"{\"q\": 1, \"a\": 1, \"b\": 1}\n{\"q\": 1, \"b\": 1, \"c\": 1}\n",
        None,
        &["q"],
    );
    let set = set.expect("good");
    assert_eq!(set.labels(), ["b"]);
    assert_eq!(
        ["a", "b", "c", "q"].map(|c| set.first_without(c)),
        [Some(2), None, Some(1), None]
    );
}

#[test]
fn changed_file_is_an_error() {
    let (dir, set) = open("a.jsonl", b"{\"q\": 1}\n", None, &["q"]);
    let set = set.expect("good");
    assert!(set.example(0).is_ok());
    fs::write(dir.path().join("a.jsonl"), b"{\"q\": 1}\n{\"q\": 2}\n").expect("written");
    assert!(matches!(set.example(0), Err(TrainsetError::Changed { .. })));
}

#[test]
fn row_may_lack_an_input() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("train.jsonl");
    let rows = "{\"a\": 1, \"b\": 2}\n{\"a\": 1}\n{\"b\": 1}\n{\"a\": 1, \"b\": null}\n{\"a\": 1}\n";
    fs::write(&path, rows).expect("it can be written");
    let set = Trainset::open(&path, None, &["a".to_owned(), "b".to_owned()]).expect("the rows are sound");
    let lacking: Vec<_> = set.without_input().collect();
    assert_eq!(lacking, [("a", 3, 1), ("b", 2, 2)]);
    let digests: Vec<_> = (0..5).map(|row| set.row_digest(row)).collect();
    assert_eq!(digests[1], digests[4]);
    assert_ne!(digests[1], digests[2], "the same value in another column");
    assert_ne!(digests[1], digests[3], "null is not missing");
    let refusal = |inputs: &[&str]| {
        let inputs: Vec<String> = inputs.iter().map(|name| (*name).to_owned()).collect();
        Trainset::open(&path, None, &inputs)
            .expect_err("it is refused")
            .to_string()
    };
    assert!(
        refusal(&["a", "c"]).contains("no row has `c`"),
        "{}",
        refusal(&["a", "c"])
    );
    assert!(
        refusal(&["a"]).contains("train.jsonl:3: this row has no `a`"),
        "{}",
        refusal(&["a"])
    );
}
