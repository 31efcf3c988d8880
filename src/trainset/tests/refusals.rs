//! Files that hold no examples as they are: each gets one problem that names what it is and what to do.

use super::open;
use crate::schema::Problem;

/// The only problem of a file with the input column `text`.
fn only_problem(name: &str, content: &[u8]) -> Problem {
    let (_dir, set) = open(name, content, None, &["text"]);
    let problems = set.map(|_| ()).expect_err(name);
    assert_eq!(problems.0.len(), 1, "{name}: {problems}");
    problems.0.into_iter().next().expect("one problem")
}

/// A CSV file of three columns, whose field in this column of this row opens a quote.
fn with_open_quote(row: usize, column: usize, line_end: &str, has_last_end: bool) -> String {
    let mut lines = vec!["text,label,note".to_owned()];
    lines.extend((0..5).map(|at| {
        let mut fields = [format!("row{at}"), "a".to_owned(), "n".to_owned()];
        if at == row {
            fields[column].insert(0, '"');
        }
        fields.join(",")
    }));
    let text = lines.join(line_end);
    if has_last_end { text + line_end } else { text }
}

#[test]
fn open_refuses_a_csv_quote_that_never_closes_with_its_line() {
    for line_end in ["\n", "\r\n", "\r"] {
        for has_last_end in [true, false] {
            for row in 0..5 {
                for column in 0..3 {
                    let text = with_open_quote(row, column, line_end, has_last_end);
                    let problem = only_problem("a.csv", text.as_bytes());
                    assert_eq!(problem.line, Some(row as u32 + 2), "{text:?}");
                    assert!(problem.message.contains("never ends"), "{}", problem.message);
                }
            }
        }
    }
    let problem = only_problem("a.csv", b"text,\"label\nhello,a\n");
    assert_eq!(problem.line, Some(1), "{}", problem.message);
}

#[test]
fn open_reads_no_further_than_the_limit_to_find_an_open_quote() {
    let text = with_open_quote(3, 1, "\n", true);
    let (_dir, set) = open("a.csv", text.as_bytes(), Some(3), &["text"]);
    assert_eq!(set.expect("the first three rows are sound").len(), 3);
    let (_dir, set) = open("a.csv", text.as_bytes(), Some(4), &["text"]);
    assert!(set.is_err());
}

#[test]
fn long_fields_counts_csv_fields_of_many_lines() {
    let rows: String = (0..200).map(|row| format!("row{row},c\n")).collect();
    let text = format!("text,label\nhello,a\n\"bye,b\n{rows}pipe of 5\",c\nlast,d\n");
    let (_dir, set) = open("a.csv", text.as_bytes(), None, &["text"]);
    let set = set.expect("it is CSV");
    assert_eq!(set.len(), 3);
    let fields = set.long_fields().expect("a field of 202 lines");
    assert_eq!((fields.line, fields.lines, fields.count), (3, 202, 1));
    let (_dir, set) = open("a.csv", b"text\n\"1\n2\n3\"\n", None, &["text"]);
    assert_eq!(set.expect("it is CSV").long_fields(), None);
    // With another number of columns the field is named beside the row.
    let problem = only_problem("a.csv", format!("text,label\n\"bye,b\n{rows}5\"\n").as_bytes());
    assert_eq!(problem.line, Some(2));
    assert!(
        problem.message.contains("202 lines and begins in line 2"),
        "{}",
        problem.message
    );
}

#[test]
fn open_counts_csv_lines_by_every_line_end() {
    for line_end in ["\n", "\r\n", "\r"] {
        let lines = ["text,label", "", "\"1", "2\",a", "only", "b,c"];
        let problem = only_problem("a.csv", lines.join(line_end).as_bytes());
        assert_eq!(problem.line, Some(5), "{line_end:?}: {}", problem.message);
    }
}

#[test]
fn open_names_another_delimiter_once() {
    for (delimiter, name) in [(";", "a semicolon"), ("\t", "a tab"), ("|", "a bar")] {
        let rows = ["text,label", "hello,a", "bye,1,5", "x,y"].map(|row| row.replacen(',', delimiter, 1));
        let problem = only_problem("a.csv", rows.join("\n").as_bytes());
        assert_eq!(problem.line, Some(1));
        assert!(
            problem.message.ends_with(&format!("the delimiter is {name}")),
            "{}",
            problem.message
        );
        assert!(problem.remedy.contains("commas"), "{}", problem.remedy);
    }
    // A column may be called so.
    let (_dir, set) = open("a.csv", b"te;xt\nhello\n", None, &["te;xt"]);
    assert_eq!(set.expect("the job names the column").len(), 1);
}

#[test]
fn open_recognises_files_of_other_kinds_by_their_content() {
    let utf_16 = |text: &str, mark: &[u8]| -> Vec<u8> {
        let units = text.encode_utf16().flat_map(u16::to_le_bytes);
        mark.iter().copied().chain(units).collect()
    };
    let cases: [(Vec<u8>, &str); 8] = [
        (utf_16("text,label\n", b"\xff\xfe"), "UTF-16"),
        (utf_16("text,label\n", b""), "UTF-16"),
        (b"\xfe\xff\0t\0e".to_vec(), "UTF-16"),
        (b"PAR1\x15\x04\x15".to_vec(), "Parquet"),
        (b"ARROW1\0\0\xff\xff\xff\xff".to_vec(), "Arrow"),
        (b"\xff\xff\xff\xff\x10\0\0\0".to_vec(), "Arrow"),
        (b"\x1f\x8b\x08\0\0\0\0\0".to_vec(), "gzip"),
        (b"PK\x03\x04\x14\0".to_vec(), "Excel"),
    ];
    for (content, kind) in cases {
        for name in ["a.csv", "a.jsonl", "a.json"] {
            let problem = only_problem(name, &content);
            assert!(problem.message.contains(kind), "{name}: {}", problem.message);
            assert_eq!(problem.line, None);
        }
    }
}

#[test]
fn open_recognises_files_of_other_kinds_by_their_name() {
    for (name, kind, remedy) in [
        ("a.parquet", "Parquet", "to_json"),
        ("a.arrow", "Arrow", "to_json"),
        ("a.tsv", "tabs", "commas"),
        ("a.jsonl.gz", "gzip", "gunzip"),
        ("a.csv.zst", "zstd", "zstd -d"),
        ("a.XLSX", "Excel", "CSV UTF-8"),
        ("a.pkl", "pickle", "json.dumps"),
        ("a.txt", "the file extension is unknown", ".jsonl"),
        ("a", "the file extension is unknown", ".jsonl"),
    ] {
        let problem = only_problem(name, b"text,label\nhello,a\n");
        assert!(problem.message.contains(kind), "{name}: {}", problem.message);
        assert!(problem.remedy.contains(remedy), "{name}: {}", problem.remedy);
    }
}

#[test]
fn open_names_json_in_the_wrong_kind_of_file_once() {
    let compact = "[{\"text\": 1}, {\"text\": 2}]\n";
    let pretty = "[\n  {\n    \"text\": 1\n  },\n  {\n    \"text\": 2\n  }\n]\n";
    let split = "{\n  \"text\": 1\n}\n{\n  \"text\": 2\n}\n";
    let lines = "{\"text\": 1}\n{\"text\": 2}\n";
    for (name, content, message, remedy) in [
        ("a.jsonl", compact, "one JSON array", "name it .json"),
        ("a.jsonl", pretty, "one JSON array", "name it .json"),
        ("a.ndjson", "\n\n[]", "one JSON array", "name it .json"),
        ("a.jsonl", split, "on several lines", "on one line"),
        ("a.json", lines, "one JSON object per line", "name it .jsonl"),
        ("a.json", split, "not a JSON array", "write `[{…}, {…}]`"),
        (
            "a.json",
            "{\"text\": [1, 2]}",
            "not a JSON array",
            "write `[{…}, {…}]`",
        ),
    ] {
        let problem = only_problem(name, content.as_bytes());
        assert!(problem.message.contains(message), "{name}: {}", problem.message);
        assert!(problem.remedy.contains(remedy), "{name}: {}", problem.remedy);
    }
    // Rows that are lists are reported one by one.
    let (_dir, set) = open("a.jsonl", b"[1]\n[2]\n", None, &["text"]);
    assert_eq!(set.expect_err("no objects").0.len(), 2);
}

#[test]
fn open_refuses_numbers_beyond_floats_by_line() {
    let good = [
        "{\"text\": 1e308}",
        "{\"text\": 12345678901234567890123}",
        "{\"text\": \"1e400\"}",
        "{\"text\": 1e-400}",
    ];
    let bad = [
        "{\"text\": 1e400}",
        "{\"text\": -1E400}",
        "{\"text\": 1, \"label\": [0, {\"n\": 1e400}]}",
        "{\"text\": \"\\ud83d\", \"label\": 1e999}",
    ];
    let all: Vec<&str> = good.iter().chain(&bad).copied().collect();
    for (name, content) in [
        ("a.jsonl", all.join("\n")),
        ("a.json", format!("[{}]", all.join(",\n"))),
    ] {
        let (_dir, set) = open(name, content.as_bytes(), None, &["text"]);
        let problems = set.expect_err("four bad rows");
        let lines: Vec<_> = problems.0.iter().filter_map(|problem| problem.line).collect();
        assert_eq!(lines, [5, 6, 7, 8], "{problems}");
        for problem in &problems.0 {
            assert!(problem.message.contains("too large"), "{problem}");
        }
    }
}
