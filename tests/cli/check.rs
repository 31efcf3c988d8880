//! `check`, and `compile` before it spends anything: all mistakes at once, each with its line.

use crate::support::{Folder, JobFile, LmServer, questions};

/// The job with a mistake in five of its lines.
fn mistaken(api_base: &str) -> String {
    let mut job = JobFile::at(api_base);
    job.metric = "exact_match = \"answr\"".to_owned();
    job.compile = "multitaks = true".to_owned();
    job.to_toml()
        .replace("module = \"Predict\"", "module = \"Predikt\"")
        .replace("provider = \"simulated\"", "provider = \"simulate\"")
        .replace("[student]\nlm = \"student\"", "[student]\nlm = \"studen\"")
}

/// The expected report of each mistake: the file, the line of this text, and the suggestion.
fn expected(text: &str) -> Vec<String> {
    let mistakes = [
        ("module = \"Predikt\"", "`Predict`"),
        ("provider = \"simulate\"", "`simulated`"),
        ("lm = \"studen\"", "`student`"),
        ("exact_match = \"answr\"", "`answer`"),
        ("multitaks = true", "`multitask`"),
    ];
    let said = mistakes.map(|(mistake, meant)| {
        let line = text.lines().position(|line| line == mistake).unwrap() + 1;
        [format!("job.toml:{line}: "), meant.to_owned()]
    });
    said.concat()
}

#[test]
fn check_reports_all_mistakes_with_their_lines_and_writes_nothing() {
    let folder = Folder::new();
    folder.write("train.jsonl", questions(3));
    let text = mistaken("http://127.0.0.1:1/v1");
    folder.write("job.toml", &text);
    let before = folder.files();
    let mut ended = folder.run(&["check", "job.toml"]).with(2);
    for words in expected(&text) {
        ended = ended.saying(&words);
    }
    assert_eq!(ended.stdout, "");
    assert_eq!(folder.files(), before);
}

#[test]
fn compile_refuses_a_bad_job_file_before_any_lm_call() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    folder.write("train.jsonl", questions(3));
    let text = mistaken(&server.base());
    folder.write("job.toml", &text);
    let before = folder.files();
    let mut ended = folder.compile("run").with(2);
    for words in expected(&text) {
        ended = ended.saying(&words);
    }
    assert_eq!(folder.files(), before);
    assert_eq!(server.count().requests, 0);
}

#[test]
fn check_passes_a_sound_job_and_writes_nothing() {
    let folder = Folder::new();
    JobFile::at("http://127.0.0.1:1/v1").write(&folder, 3);
    let before = folder.files();
    let ended = folder.run(&["check", "job.toml"]).with(0);
    assert!(ended.stdout.contains('3'), "{}", ended.stdout);
    assert_eq!(folder.files(), before);
}

#[test]
fn check_names_the_line_of_a_row_that_is_no_example() {
    let folder = Folder::new();
    JobFile::at("http://127.0.0.1:1/v1").write(&folder, 3);
    folder.write("train.jsonl", format!("{}{{\"question\": \n", questions(3)));
    folder
        .run(&["check", "job.toml"])
        .with(2)
        .saying("train.jsonl:4: ");
}

#[test]
fn plan_makes_no_lm_calls_and_writes_nothing() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, 12);
    let before = folder.files();
    let ended = folder.run(&["plan", "job.toml"]).with(0);
    assert!(ended.stdout.contains("12"), "{}", ended.stdout);
    let json = folder.run(&["plan", "job.toml", "--json"]).with(0);
    let _: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(folder.files(), before);
    assert_eq!(server.count().requests, 0);
}

#[test]
fn init_writes_an_example_that_compiles() {
    let folder = Folder::new();
    folder.run(&["init", "example"]).with(0);
    folder.run(&["check", "example/job.toml"]).with(0);
    folder
        .run(&["compile", "example/job.toml", "--out", "run"])
        .with(0);
    assert!(folder.path("run/compiled.json").exists());
}

#[test]
fn check_reports_an_unset_api_key_env_with_its_line() {
    let folder = Folder::new();
    let mut job = JobFile::at("http://127.0.0.1:1/v1");
    job.teacher
        .push_str("\napi_key_env = \"BSFT_TEST_NO_SUCH_VARIABLE\"");
    job.write(&folder, 3);
    let text = folder.read("job.toml");
    let line = 1 + text
        .lines()
        .position(|line| line.starts_with("api_key_env"))
        .unwrap();
    folder.run(&["check", "job.toml"]).with(0).saying(&format!(
        "job.toml:{line}: the environment variable BSFT_TEST_NO_SUCH_VARIABLE"
    ));
    let variables = [("BSFT_TEST_NO_SUCH_VARIABLE", "key")];
    folder
        .start_with(&["check", "job.toml"], &variables)
        .end()
        .with(0);
}

#[test]
fn explain_prints_a_key_and_names_the_nearest_of_an_unknown_one() {
    let folder = Folder::new();
    let found = folder.run(&["explain", "metric.f1"]).with(0).stdout;
    assert!(found.starts_with("metric.f1\n"), "{found}");
    assert!(found.contains("\n    [metric]\n    f1 = "), "{found}");
    assert!(!found.contains("```"), "{found}");
    folder.run(&["explain", "lm.student.finetune.train"]).with(0);
    for (unknown, remedy) in [
        ("metric.f2", "did you mean `metric.f1`?"),
        ("metrik.f1", "did you mean `metric.f1`?"),
        (
            "lm.student.finetune.trian",
            "did you mean `lm.student.finetune.train`?",
        ),
        ("threshold", "did you mean `metric.threshold`?"),
        (
            "validation_fracton",
            "did you mean `lm.*.finetune.validation_fraction`?",
        ),
        (
            "metric.nope",
            "write one of: metric.equals, metric.exact_match, metric.f1,",
        ),
    ] {
        folder.run(&["explain", unknown]).with(2).saying(remedy);
    }
}

#[test]
fn explain_knows_the_keys_of_a_table_at_each_of_its_places() {
    let folder = Folder::new();
    let found = folder.run(&["explain", "metric.f1"]).with(0).stdout;
    assert!(
        found.contains("metric.f1.field\n  metric.f1.threshold"),
        "{found}"
    );
    for key in [
        "metric.equals.field",
        "metric.f1.threshold",
        "metric.contains.field",
    ] {
        let found = folder.run(&["explain", key]).with(0).stdout;
        assert!(found.starts_with(key), "{found}");
    }
}
