//! Trainsets that were written for something else: one line on the screen that names what it is and what to do.

use crate::support::{Folder, JobFile};

/// A folder with a job on the simulated LM, whose trainset has this name and content.
fn folder(name: &str, content: &[u8]) -> Folder {
    let folder = Folder::new();
    let job = JobFile::with_teacher("model = \"simulated/x\"");
    folder.write("job.toml", job.to_toml().replace("train.jsonl", name));
    folder.write(name, content);
    folder
}

#[test]
fn compile_refuses_a_csv_file_whose_quote_swallows_its_rows() {
    let rows: String = (0..1000).map(|row| format!("row{row},c\n")).collect();
    let folder = folder(
        "train.csv",
        format!("question,answer\nhello,a\nbye,\"b\n{rows}").as_bytes(),
    );
    folder
        .compile("run")
        .with(2)
        .saying("train.csv:3: a quoted field begins here and never ends")
        .saying("\n1 problem");
}

#[test]
fn check_warns_of_a_csv_field_that_holds_whole_rows() {
    let rows: String = (0..500).map(|row| format!("row{row},c\n")).collect();
    let text = format!("question,answer\nhello,a\n\"bye,b\n{rows}pipe of 5\",c\n");
    folder("train.csv", text.as_bytes())
        .run(&["check", "job.toml"])
        .with(0)
        .saying("train.csv:3: a field of 502 lines begins here");
}

#[test]
fn check_names_the_kind_of_a_foreign_trainset_in_one_problem() {
    let utf_16: Vec<u8> = "\u{feff}question,answer\nhello,a\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let array =
        "[\n  {\"question\": \"q\", \"answer\": \"a\"},\n  {\"question\": \"r\", \"answer\": \"b\"}\n]\n";
    let cases: [(&str, &[u8], &str); 6] = [
        (
            "train.csv",
            b"question;answer\nhello;a\nbye;b\n",
            "the delimiter is a semicolon",
        ),
        ("train.csv", &utf_16, "this is text in UTF-16"),
        ("train.jsonl", array.as_bytes(), "the file is one JSON array"),
        ("train.parquet", b"PAR1", "this is a Parquet file"),
        (
            "train.jsonl.gz",
            b"\x1f\x8b\x08\0",
            "this is a file that gzip compressed",
        ),
        (
            "train.jsonl",
            b"{\"question\": 1e400, \"answer\": 1}\n",
            "too large for a float",
        ),
    ];
    for (name, content, words) in cases {
        folder(name, content)
            .run(&["check", "job.toml"])
            .with(2)
            .saying(words)
            .saying("\n1 problem");
    }
}

#[test]
fn check_names_a_trainset_that_is_a_folder() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    std::fs::remove_file(folder.path("train.jsonl")).unwrap();
    std::fs::create_dir(folder.path("train.jsonl")).unwrap();
    folder
        .run(&["check", "job.toml"])
        .with(2)
        .saying("train.jsonl is a folder");
}
