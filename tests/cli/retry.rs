//! `retry` asks only for what was not answered, and nothing that was paid is missing in the books.

use crate::cli::cluster::Cluster;
use crate::support::{Folder, JobFile, Line, LmServer, ReservedPort, lines, same, until};
use serde_json::json;

const EXAMPLES: usize = 60;

/// The first example whose second call is refused.
const REFUSED: usize = 40;

/// Dollars per million tokens.
const PRICE: (f64, f64) = (2.0, 8.0);

/// A job with prices, which no failure stops.
fn priced(api_base: &str) -> JobFile {
    let mut job = JobFile::at(api_base);
    let (input, output) = PRICE;
    job.teacher.push_str(&format!(
        "\nprice = {{ input = {input:.1}, output = {output:.1} }}"
    ));
    job.compile = "max_failure_rate = 1.0".to_owned();
    job
}

fn manifest(folder: &Folder) -> Line {
    serde_json::from_str(&folder.read("run/run.json")).unwrap()
}

/// Answers, prompt tokens and completion tokens.
type Sum = (u64, u64, u64);

fn paid(server: &LmServer) -> Sum {
    let paid = server.paid();
    (paid.answers, paid.prompt_tokens, paid.completion_tokens)
}

fn plus(a: Sum, b: Sum) -> Sum {
    (a.0 + b.0, a.1 + b.1, a.2 + b.2)
}

/// The manifest and the spend log have exactly this sum.
#[track_caller]
fn assert_books(folder: &Folder, paid: Sum) {
    let manifest = manifest(folder);
    let (answers, prompt, completion) = paid;
    let teacher = json!({"answers": answers, "prompt_tokens": prompt, "completion_tokens": completion});
    assert_eq!(manifest["tally"]["lms"]["teacher"], teacher);
    let cost = (prompt as f64 * PRICE.0 + completion as f64 * PRICE.1) / 1e6;
    let booked = manifest["cost"]["teacher"].as_f64().unwrap();
    assert!((booked - cost).abs() < 1e-9, "{booked} is not {cost}");
    let mut logged = (0, 0, 0);
    for line in lines(&folder.read("run/spend.jsonl")) {
        for paid in line["outcome"]["paid"].as_array().into_iter().flatten() {
            let number = |key: &str| paid[key].as_u64().unwrap();
            let entry = (
                number("answers"),
                number("prompt_tokens"),
                number("completion_tokens"),
            );
            logged = plus(logged, entry);
        }
    }
    assert_eq!(logged, paid);
}

/// The result of a run in which nothing is refused.
fn undisturbed(server: &LmServer) -> Folder {
    let folder = Folder::new();
    priced(&server.base()).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    server.reset();
    folder
}

/// Compiles while the second call of some examples is refused, then retries them.
fn refuse_then_retry(server: &LmServer, run: impl Fn(&Folder, &[&str])) {
    let reference = undisturbed(server);
    let folder = Folder::new();
    priced(&server.base()).write(&folder, EXAMPLES);
    server.refuse("answer", REFUSED);
    run(&folder, &["compile", "job.toml", "--out", "run"]);
    let failures = lines(&folder.read("run/failures.jsonl"));
    assert_eq!(failures.len(), EXAMPLES - REFUSED);
    for failure in &failures {
        assert_eq!(failure["kind"], "lm", "{failure}");
        assert_eq!(failure["status"], 422, "{failure}");
        assert_eq!(failure["calls"].as_array().unwrap().len(), 1, "{failure}");
        let question = failure["inputs"]["question"].as_str().unwrap();
        assert!(question.starts_with(&format!("Question {},", failure["example"])));
        assert_eq!(failure["inputs"].get("answer"), None, "a label");
    }
    assert_books(&folder, paid(server));
    // Refused again: nothing is answered, and nothing is paid.
    let before = server.paid();
    run(&folder, &["retry", "run"]);
    assert_eq!(server.paid(), before);
    assert_books(&folder, paid(server));

    server.accept();
    run(&folder, &["retry", "run"]);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    assert_eq!(server.paid().answered_again, 0);
    assert_eq!(server.paid().answers, 2 * EXAMPLES as u64);
    assert_books(&folder, paid(server));
    same(&folder.result("run"), &reference.result("run"));
    // And `compile` finds the same sums.
    run(&folder, &["compile", "job.toml", "--out", "run"]);
    assert_books(&folder, paid(server));
}

#[test]
fn retry_after_a_refused_second_call_repeats_no_answered_call() {
    let server = LmServer::start("clean");
    refuse_then_retry(&server, |folder, arguments| {
        folder.run(arguments).with(0);
    });
}

#[test]
fn retry_on_a_cluster_repeats_no_answered_call() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let worker = cluster.worker(&[]);
    let server = LmServer::start("clean");
    refuse_then_retry(&server, |folder, arguments| {
        cluster.run_in(folder, arguments).with(0);
    });
    worker.signal("TERM");
    worker.end().with(0);
}

#[test]
fn retry_asks_again_only_for_the_call_that_did_not_parse() {
    let port = ReservedPort::new();
    let server = LmServer::start_on(port.number(), &["--profile", "wild"]);
    let folder = Folder::new();
    priced(&server.base()).write(&folder, 3 * EXAMPLES);
    folder.compile("run").with(0);
    let failures = lines(&folder.read("run/failures.jsonl"));
    assert!(failures.len() > 4, "the profile is not wild: {}", failures.len());
    assert_books(&folder, paid(&server));
    for failure in &failures {
        assert_eq!(failure["kind"], "parse", "{failure}");
        assert_eq!(failure["unparsed"].as_array().unwrap().len(), 2, "{failure}");
    }
    // The server gives the same answers again, which are paid again.
    folder.run(&["retry", "run"]).with(0);
    assert_eq!(lines(&folder.read("run/failures.jsonl")), failures);
    let first = paid(&server);
    assert_books(&folder, first);
    drop(server);

    // And then better ones.
    let server = LmServer::start_on(port.number(), &["--profile", "clean"]);
    folder.run(&["retry", "run"]).with(0);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    let calls = |failure: &Line| failure["calls"].as_array().unwrap().len();
    let missing: usize = failures.iter().map(|failure| 2 - calls(failure)).sum();
    let count = server.count();
    assert_eq!((count.requests, count.repeated), (missing, 0));
    assert_books(&folder, plus(first, paid(&server)));
}

#[test]
fn retry_scores_unscored_traces_without_lm_calls() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    priced(&server.base()).write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    let (result, before) = (folder.result("run"), server.paid());
    // No metric of a checked job fails, so some traces are made into the failures that it would leave.
    let traces = folder.read("run/traces.jsonl");
    let (failed, scored): (Vec<&str>, Vec<&str>) = traces.lines().partition(|line| line.len() % 2 == 0);
    assert!(failed.len() > 4 && scored.len() > 4);
    let failures = failed.iter().map(|line| unscored(line).to_string() + "\n");
    folder.write("run/failures.jsonl", failures.collect::<String>());
    folder.write("run/traces.jsonl", scored.join("\n") + "\n");
    // As an earlier version left it.
    std::fs::remove_file(folder.path("run/spend.jsonl")).unwrap();
    folder.run(&["retry", "run"]).with(0);
    assert_eq!(server.paid(), before);
    same(&folder.result("run"), &result);
    assert_books(&folder, paid(&server));
}

/// The failure of a task whose metric did not score the prediction of this trace.
fn unscored(trace: &str) -> Line {
    let trace: Line = serde_json::from_str(trace).unwrap();
    let mut usage = (0, 0);
    for call in trace["calls"].as_array().unwrap() {
        let unparsed = call["unparsed"].as_array().into_iter().flatten();
        for exchange in unparsed.chain([call]) {
            usage.0 += exchange["usage"]["prompt_tokens"].as_u64().unwrap();
            usage.1 += exchange["usage"]["completion_tokens"].as_u64().unwrap();
        }
    }
    json!({
        "teacher": trace["teacher"], "example": trace["example"], "kind": "metric", "message": "no score", "attempts": 1,
        "usage": [["teacher", {"prompt_tokens": usage.0, "completion_tokens": usage.1}]],
        "inputs": {}, "calls": trace["calls"], "task": trace["task"], "made_by": trace["made_by"],
    })
}

#[test]
fn changed_instructions_keep_the_earlier_cost() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    let mut job = priced(&server.base());
    job.write(&folder, EXAMPLES);
    folder.compile("run").with(0);
    job.instructions = "Think of another plan.".to_owned();
    folder.write("job.toml", job.to_toml());
    folder.compile("run").with(0);
    let before = paid(&server);
    assert_books(&folder, before);
    job.instructions = "Think of a plan.".to_owned();
    folder.write("job.toml", job.to_toml());
    folder.compile("run").with(0);
    assert_eq!(paid(&server), before);
    assert_books(&folder, before);
}

#[test]
fn killed_compile_has_every_recorded_answer_in_its_books() {
    let server = LmServer::start("mild");
    let folder = Folder::new();
    priced(&server.base()).write(&folder, EXAMPLES);
    server.hold_from(EXAMPLES - 1);
    let mut running = folder.start(&["compile", "job.toml", "--out", "run"]);
    until("traces", || (folder.traced("run") >= EXAMPLES / 2).then_some(()));
    running.kill();
    running.end();
    server.release();
    folder.compile("run").with(0);
    let teacher = &manifest(&folder)["tally"]["lms"]["teacher"];
    let mut recorded = 0;
    for trace in lines(&folder.read("run/traces.jsonl")) {
        for call in trace["calls"].as_array().unwrap() {
            recorded += 1 + call["unparsed"].as_array().map_or(0, Vec::len);
        }
    }
    assert_eq!(teacher["answers"], recorded);
}
