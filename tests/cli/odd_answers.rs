//! Answers of servers that wrap, cut or withhold them, and errors that come with status 200.

use crate::cli::cluster::Cluster;
use crate::support::odd_lm::OddLm;
use crate::support::{Folder, Line, lines};
use serde_json::json;

const SIGNATURE: &str = "text -> answer";

fn manifest(folder: &Folder) -> Line {
    serde_json::from_str(&folder.read("run/run.json")).unwrap()
}

fn failures(folder: &Folder) -> Vec<Line> {
    lines(&folder.read("run/failures.jsonl"))
}

fn traces(folder: &Folder) -> Vec<Line> {
    lines(&folder.read("run/traces.jsonl"))
}

#[test]
fn good_answers_in_every_wrapping_become_rows() {
    const CASES: [&str; 7] = [
        "good",
        "status201",
        "gzip",
        "deflate",
        "bom",
        "utf16",
        "surrogate",
    ];
    let (server, folder) = (OddLm::start(), Folder::new());
    server.write_job(&folder, SIGNATURE, "", &CASES);
    folder.compile("run").with(0);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    let answers: Vec<Line> = traces(&folder)
        .iter()
        .map(|trace| trace["prediction"]["answer"].clone())
        .collect();
    let (surrogate, others) = answers.split_last().unwrap();
    assert!(others.iter().all(|answer| answer == "blue"), "{answers:?}");
    assert_eq!(surrogate, "\u{fffd} blue");
    assert_eq!(manifest(&folder)["tally"]["lms"]["teacher"]["prompt_tokens"], 49);
    assert!(server.asked().values().all(|asked| *asked == 1));
}

#[test]
fn error_with_status_200_is_asked_again_or_fails_with_its_words() {
    const CASES: [&str; 6] = ["good", "once_429", "once_502", "once_503", "final_error", "zstd"];
    let (server, folder) = (OddLm::start(), Folder::new());
    server.write_job(&folder, SIGNATURE, "", &CASES);
    folder.compile("run").with(0);
    assert_eq!(folder.traced("run"), 4);
    let failures = failures(&folder);
    let messages: Vec<&str> = failures
        .iter()
        .filter_map(|failure| failure["message"].as_str())
        .collect();
    assert!(messages[0].ends_with("the prompt is too long"), "{messages:?}");
    assert!(messages[1].contains("content-encoding `zstd`"), "{messages:?}");
    let asked = server.asked();
    for (case, times) in [
        ("once_429", 2),
        ("once_502", 2),
        ("once_503", 2),
        ("final_error", 1),
    ] {
        assert_eq!(asked[case], times, "{case}");
    }
}

#[test]
fn failures_jsonl_distinguishes_answers_without_text() {
    const CASES: [(&str, &str); 4] = [
        (
            "reasoning",
            "the answer is only reasoning (1,204 characters), finish_reason length: raise max_tokens",
        ),
        ("refusal", "the answer is a refusal: I cannot help with that."),
        (
            "tool_calls",
            "the answer is only tool calls (find): the program asks for text",
        ),
        ("no_choice", "the answer is empty: the server sent no choice"),
    ];
    let (server, folder) = (OddLm::start(), Folder::new());
    let mut cases = vec!["good"];
    cases.extend(CASES.iter().map(|(case, _)| case));
    server.write_job(&folder, SIGNATURE, "", &cases);
    folder
        .compile("run")
        .with(0)
        .saying("the answer is a refusal: I cannot");
    let failures = failures(&folder);
    assert_eq!(failures.len(), CASES.len());
    for (failure, (case, message)) in failures.iter().zip(CASES) {
        assert_eq!(failure["kind"], "parse", "{case}");
        assert_eq!(failure["message"], message, "{case}");
        let adapters: Vec<&Line> = failure["unparsed"]
            .as_array()
            .unwrap()
            .iter()
            .map(|attempt| &attempt["adapter"])
            .collect();
        assert_eq!(adapters, ["chat", "json"], "{case}");
    }
    let instead = |failure: &Line| failure["unparsed"][0]["instead"].clone();
    assert_eq!(
        instead(&failures[0]),
        json!({"reasoning": "x".repeat(1204), "reasoning_chars": 1204})
    );
    assert_eq!(
        instead(&failures[1]),
        json!({"refusal": "I cannot help with that."})
    );
    assert_eq!(instead(&failures[2]), json!({"tool_calls": ["find"]}));
    assert_eq!(instead(&failures[3]), json!({"missing": "choices"}));
}

#[test]
fn failures_jsonl_has_both_attempts_with_adapter_reason_and_answer() {
    let (server, folder) = (OddLm::start(), Folder::new());
    server.write_job(&folder, "text -> answer: float", "", &["percent"]);
    folder.compile("run").with(1);
    let failure = &failures(&folder)[0];
    let attempts = failure["unparsed"].as_array().unwrap();
    let reasons: Vec<&str> = attempts
        .iter()
        .filter_map(|attempt| attempt["reason"].as_str())
        .collect();
    assert!(reasons[0].contains("85%"), "{reasons:?}");
    assert_eq!(reasons[1], "the answer is not a JSON object");
    let message = failure["message"].as_str().unwrap();
    assert_eq!(message, format!("{}; the JSON retry: {}", reasons[0], reasons[1]));
    for (attempt, adapter) in attempts.iter().zip(["chat", "json"]) {
        assert_eq!(attempt["adapter"], adapter);
        assert!(
            attempt["raw_answer"].as_str().unwrap().contains("85%"),
            "{attempt}"
        );
    }
}

#[test]
fn unknown_usage_makes_the_cost_unknown_and_is_counted() {
    let (server, folder) = (OddLm::start(), Folder::new());
    server.write_job(
        &folder,
        SIGNATURE,
        "",
        &["good", "no_usage", "odd_usage", "text_usage"],
    );
    folder
        .compile("run")
        .with(0)
        .saying("4 answers, 14 + 9 tokens, ?")
        .saying("2 of the answers came without usage");
    let manifest = manifest(&folder);
    let totals = &manifest["tally"]["lms"]["teacher"];
    assert_eq!(
        (&totals["answers"], &totals["unknown_usage"]),
        (&json!(4), &json!(2))
    );
    assert_eq!(manifest["cost"], json!({}));
    // And a second process finds the same in the spend log.
    folder.compile("run").with(0);
    assert_eq!(self::manifest(&folder)["tally"]["lms"]["teacher"], *totals);
}

const CUT: [&str; 3] = ["good", "length", "content_filter"];

#[test]
fn cut_answers_are_kept_with_a_warning_and_dropped_without_a_request() {
    let (server, folder) = (OddLm::start(), Folder::new());
    server.write_job(&folder, SIGNATURE, "", &CUT);
    let cut = "2 answers were cut (finish_reason content_filter: 1, length: 1)";
    folder
        .compile("run")
        .with(0)
        .saying(&format!("{cut} and used"))
        .saying(&format!("{cut}; compile.cut_answers"));
    let reasons: Vec<Line> = traces(&folder)
        .iter()
        .map(|trace| trace["calls"][0]["finish_reason"].clone())
        .collect();
    assert_eq!(reasons, [json!(null), json!("length"), json!("content_filter")]);
    assert_eq!(
        manifest(&folder)["tally"]["cut_answers"],
        json!({"teacher": {"content_filter": 1, "length": 1}})
    );
    let kept = folder.read("run/data/student.jsonl");
    assert_eq!(kept.lines().count(), 3);

    // The answers are known: dropping them costs nothing, and taking that back neither.
    let asked = server.asked();
    server.write_job(&folder, SIGNATURE, "cut_answers = \"drop\"", &CUT);
    folder.compile("run").with(0);
    assert_eq!(server.asked(), asked);
    assert_eq!(manifest(&folder)["tally"]["failures"], json!({"cut": 2}));
    assert_eq!(folder.read("run/data/student.jsonl").lines().count(), 1);
    server.write_job(&folder, SIGNATURE, "", &CUT);
    folder.compile("run").with(0);
    assert_eq!(server.asked(), asked);
    assert_eq!(folder.read("run/data/student.jsonl"), kept);
    assert_eq!(manifest(&folder)["tally"]["lms"]["teacher"]["answers"], 3);
}

/// Compiles a job that drops cut answers, then retries its failures at a server that cuts none.
fn drop_then_retry(server: &OddLm, run: impl Fn(&Folder, &[&str])) {
    let folder = Folder::new();
    server.write_job(&folder, SIGNATURE, "cut_answers = \"drop\"", &CUT);
    run(&folder, &["compile", "job.toml", "--out", "run"]);
    let failures = failures(&folder);
    assert_eq!(failures.len(), 2);
    for (failure, reason) in failures.iter().zip(["length", "content_filter"]) {
        assert_eq!(failure["kind"], "cut", "{failure}");
        assert_eq!(failure["unparsed"][0]["finish_reason"], reason, "{failure}");
        let start = format!("the answer was cut, finish_reason {reason}: ");
        assert!(
            failure["message"].as_str().unwrap().starts_with(&start),
            "{failure}"
        );
        assert!(
            failure["raw_answer"].as_str().unwrap().ends_with("blu"),
            "{failure}"
        );
    }
    // A cut answer parses, so there is no JSON retry.
    assert!(server.asked().values().all(|asked| *asked == 1));
    server.answer_whole();
    run(&folder, &["retry", "run"]);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    assert_eq!(folder.traced("run"), 3);
    let asked = server.asked();
    assert_eq!(
        (asked["good"], asked["length"], asked["content_filter"]),
        (1, 2, 2)
    );
    assert_eq!(manifest(&folder)["tally"]["lms"]["teacher"]["answers"], 5);
}

#[test]
fn retry_asks_again_for_dropped_cut_answers() {
    drop_then_retry(&OddLm::start(), |folder, arguments| {
        folder.run(arguments).with(0);
    });
}

#[test]
fn retry_on_a_cluster_asks_again_for_dropped_cut_answers() {
    let Some(cluster) = Cluster::start() else {
        return;
    };
    let worker = cluster.worker(&[]);
    drop_then_retry(&OddLm::start(), |folder, arguments| {
        cluster.run_in(folder, arguments).with(0);
    });
    worker.signal("TERM");
    worker.end().with(0);
}
