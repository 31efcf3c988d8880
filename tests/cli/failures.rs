//! Examples that fail: `failures.jsonl` lists them, the run continues, and `retry` runs them again.

use crate::support::{Folder, JobFile, Line, LmServer, lines};

/// Teacher and example of a line.
fn place(line: &Line) -> (u64, u64) {
    (
        line["teacher"].as_u64().unwrap(),
        line["example"].as_u64().unwrap(),
    )
}

#[test]
fn unparsable_answers_are_in_failures_jsonl_and_compile_continues() {
    const EXAMPLES: usize = 200;
    let server = LmServer::start("wild");
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.teachers = "[[teacher]]\nlm = \"teacher\"\n[[teacher]]\nlm = \"student\"".to_owned();
    job.teachers = job.teachers.replace("\"student\"", "\"second\"");
    job.teacher.push_str(&format!(
        "\n[lm.second]\nmodel = \"openai/second\"\napi_base = \"{}\"",
        server.base()
    ));
    job.teachers
        .push_str("\n[teacher.program]\npredictors = [{ name = \"plan\", module = \"Predict\", signature = \"question -> plan\", instructions = \"Otherwise.\" }, { name = \"answer\", module = \"ChainOfThought\", signature = \"question, plan -> answer\" }]");
    job.write(&folder, EXAMPLES);
    // With the commonest messages, and an example of each.
    folder.compile("run").with(0).saying(" × ").saying("(example ");
    let failures = lines(&folder.read("run/failures.jsonl"));
    let traces = lines(&folder.read("run/traces.jsonl"));
    assert_eq!(traces.len() + failures.len(), 2 * EXAMPLES);
    assert!(failures.len() > 4, "the profile is not wild: {}", failures.len());
    for failure in &failures {
        assert_eq!(failure["kind"], "parse", "{failure}");
        assert!(failure["raw_answer"].is_string(), "{failure}");
        assert!(!failure["message"].as_str().unwrap().is_empty(), "{failure}");
    }
    for lines in [&failures, &traces] {
        assert!(lines.is_sorted_by_key(place));
        assert!(lines.iter().any(|line| place(line).0 == 1));
    }
}

#[test]
fn three_unanswered_examples_stop_compile_and_retry_completes_the_run() {
    const EXAMPLES: usize = 40;
    let server = LmServer::start("mild");
    let folder = Folder::new();
    JobFile::at(&server.base()).write(&folder, EXAMPLES);
    server.refuse_after(0, 400, "context_length_exceeded");
    folder
        .compile("run")
        .with(1)
        .saying("the first 3 examples failed, the last one with: teacher refused the request: HTTP 400")
        .saying("bsft compile job.toml --out run");
    let failures = lines(&folder.read("run/failures.jsonl"));
    assert_eq!(failures.len(), 3);
    for failure in &failures {
        assert_eq!(failure["kind"], "lm", "{failure}");
    }
    assert_eq!(folder.traced("run"), 0);

    server.accept();
    folder.run(&["retry", "run"]).with(0);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    assert_eq!(folder.traced("run"), EXAMPLES);
}

#[test]
fn retry_runs_only_failed_examples() {
    let server = LmServer::start_on(0, &["--profile", "mild", "--fail-first", "0.3"]);
    let folder = Folder::new();
    let mut job = JobFile::at(&server.base());
    job.teacher = job.teacher.replace("num_retries = 3", "num_retries = 0");
    job.write(&folder, 100);
    folder.compile("run").with(0);
    let failed = lines(&folder.read("run/failures.jsonl")).len();
    assert!(failed > 0);
    let before = server.count().requests;
    // Two predictors, each with a second question when the first answer does not parse, may each fail first.
    for _ in 0..4 {
        folder.run(&["retry", "run"]).with(0);
    }
    assert_eq!(folder.read("run/failures.jsonl"), "");
    assert_eq!(folder.traced("run"), 100);
    let asked = server.count().requests - before;
    assert!(
        asked <= failed * 8,
        "{asked} requests for {failed} failed examples"
    );
}

#[test]
fn max_failure_rate_ends_compile_early_and_the_same_command_resumes() {
    const EXAMPLES: usize = 12_000;
    let folder = Folder::new();
    let mut job = JobFile::with_teacher("model = \"simulated/x\"\nsimulate = { malformed_rate = 0.9 }");
    job.compile = "max_failure_rate = 0.5".to_owned();
    job.write(&folder, EXAMPLES);
    let outcomes = || folder.traced("run") + lines(&folder.read("run/failures.jsonl")).len();
    let mut before = 0;
    for _ in 0..2 {
        folder
            .compile("run")
            .with(1)
            .saying("max_failure_rate")
            .saying("bsft compile job.toml --out run")
            .saying("bsft retry run");
        let now = outcomes();
        assert!(
            now >= before + 50,
            "{now} after {before}: the window is not fresh"
        );
        assert!(now < EXAMPLES, "it went on to the end");
        before = now;
    }
    assert!(!folder.path("run/compiled.json").exists());
}

#[test]
fn metric_that_keeps_no_trace_ends_compile_early() {
    const EXAMPLES: usize = 12_000;
    let folder = Folder::new();
    let mut job = JobFile::with_teacher("model = \"simulated/x\"\nsimulate = { accuracy = 0.0 }");
    job.metric = "equals = \"answer\"".to_owned();
    job.compile = "max_failure_rate = 0.5".to_owned();
    job.write(&folder, EXAMPLES);
    folder
        .compile("run")
        .with(1)
        .saying("the metric equals = \"answer\" kept none of the first ")
        .saying(" the prediction has answer = \"");
    assert!(folder.traced("run") < EXAMPLES, "it went on to the end");
}

#[test]
fn compile_without_kept_rows_is_an_error() {
    let folder = Folder::new();
    let mut job = JobFile::with_teacher("model = \"simulated/teacher\"\nsimulate = { accuracy = 0.0 }");
    job.metric = "equals = \"answer\"".to_owned();
    job.write(&folder, 20);
    folder.compile("run").with(1).saying("traces.jsonl");
    assert_eq!(folder.traced("run"), 20);
}

#[test]
fn retry_from_another_folder_keeps_failures_until_checks_pass() {
    const EXAMPLES: usize = 20;
    let server = LmServer::start("mild");
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let job = JobFile::at(&server.base());
    job.write(&folder, EXAMPLES);
    server.refuse_after(0, 400, "context_length_exceeded");
    let run = folder.path("run");
    let run = run.to_str().unwrap();
    folder.compile("run").with(1);
    let failures = folder.read("run/failures.jsonl");
    assert_eq!(lines(&failures).len(), 3);

    folder.write("job.toml", job.to_toml().replace("\"Predict\"", "\"Perdict\""));
    elsewhere.run(&["retry", run]).with(2).saying("Perdict");
    assert_eq!(folder.read("run/failures.jsonl"), failures);

    folder.write("job.toml", job.to_toml());
    server.accept();
    elsewhere.run(&["retry", run]).with(0);
    assert_eq!(folder.traced("run"), EXAMPLES);
}
