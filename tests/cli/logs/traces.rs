//! Traces: one span per job, task and call. A collector that fails does not disturb the run.

use super::collector::{Collector, Manner, Span};
use super::{COMPILE, job, log_lines};
use crate::support::{Ended, Folder, ReservedPort, lines};
use serde_json::Value as Json;
use std::collections::BTreeSet;

const EXAMPLES: usize = 60;
const TOKEN: &str = "otlp-test-secret-456";

/// Compiles, with traces to that place.
fn compile(folder: &Folder, endpoint: &str, more: &[(&str, &str)]) -> Ended {
    job(0.3).write(folder, EXAMPLES);
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("BSFT_LOG_FORMAT", "json"),
    ];
    variables.extend(more);
    folder.start_with(&COMPILE, &variables).end()
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

#[test]
fn collector_receives_spans_of_job_tasks_and_calls() {
    let collector = Collector::start(Manner::Takes);
    let folder = Folder::new();
    let ended = compile(&folder, collector.address(), &[]).with(0);
    log_lines(&ended);
    let taken = collector.taken();
    let manifest: Json = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let run = manifest["run"].as_str().unwrap();
    let traces = lines(&folder.read("run/traces.jsonl"));
    let failures = lines(&folder.read("run/failures.jsonl"));
    assert!(!traces.is_empty() && !failures.is_empty());

    let jobs = named(&taken.spans, "job");
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0].parent, "");
    assert_eq!(jobs[0].fields["run"], run);
    assert_eq!(jobs[0].fields["outcome"], "compiled");
    for phase in ["prepare", "bootstrap", "collect", "train", "compile"] {
        let phases = named(&taken.spans, phase);
        assert_eq!(phases.len(), 1, "{phase}");
        assert_eq!(
            (&phases[0].parent, &phases[0].trace),
            (&jobs[0].id, &jobs[0].trace)
        );
    }
    assert_eq!(named(&taken.spans, "training").len(), 1);

    let tasks = named(&taken.spans, "task");
    assert_eq!(tasks.len(), EXAMPLES);
    let ids: BTreeSet<&str> = traces
        .iter()
        .chain(&failures)
        .map(|line| line["task"].as_str().unwrap())
        .collect();
    for task in &tasks {
        assert_eq!(task.parent, "", "{task:?}");
        assert_eq!(task.trace, task.fields["task"], "{task:?}");
        assert!(ids.contains(task.trace.as_str()), "{task:?}");
        assert_eq!(
            (task.fields["run"].as_str(), task.fields["attempt"].as_str()),
            (run, "1")
        );
        assert_eq!(task.is_error, task.fields["outcome"] == "failed", "{task:?}");
    }
    let failed = tasks.iter().filter(|task| task.fields["outcome"] == "failed");
    assert_eq!(failed.count(), failures.len());

    let calls = named(&taken.spans, "call");
    for tokens in ["prompt_tokens", "completion_tokens"] {
        let sent = calls
            .iter()
            .map(|call| call.fields[tokens].parse::<u64>().unwrap());
        assert_eq!(
            manifest["tally"]["lms"]["teacher"][tokens],
            sent.sum::<u64>(),
            "{tokens}"
        );
    }
    for call in calls {
        let task = tasks.iter().find(|task| task.id == call.parent);
        assert!(task.is_some_and(|task| task.trace == call.trace), "{call:?}");
        assert!(
            ["plan", "answer.predict"].contains(&call.fields["predictor"].as_str()),
            "{call:?}"
        );
        assert_eq!(
            (call.fields["lm"].as_str(), call.fields["model"].as_str()),
            ("teacher", "simulated/teacher")
        );
        assert_eq!(call.fields["status"], "ok");
    }
}

#[test]
fn spans_have_no_prompts_and_logs_have_no_tokens() {
    let collector = Collector::start(Manner::Refuses("401 Unauthorized"));
    let folder = Folder::new();
    let headers = format!("authorization=Bearer {TOKEN}");
    let more = [
        ("OTEL_EXPORTER_OTLP_HEADERS", headers.as_str()),
        ("BSFT_LOG", "trace"),
    ];
    let ended = compile(&folder, collector.address(), &more).with(0);
    let sent = String::from_utf8_lossy(&collector.taken().bytes).into_owned();
    assert!(sent.contains(TOKEN), "the header was not sent");
    for words in ["Question", "Think of a plan", "paris", "[[ ##"] {
        assert!(!sent.contains(words), "{words:?} is in the spans");
    }
    assert!(!ended.stderr.contains(TOKEN));
    for (name, bytes) in folder.files() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(TOKEN), "the token is in {name}");
    }
}

#[test]
fn otel_service_name_and_attributes_name_the_process() {
    for (more, name) in [
        (None, "bsft-coordinator"),
        (Some(("OTEL_SERVICE_NAME", "mine")), "mine"),
        (
            Some(("OTEL_RESOURCE_ATTRIBUTES", "service.name=ours,team=a")),
            "ours",
        ),
    ] {
        let collector = Collector::start(Manner::Takes);
        let folder = Folder::new();
        compile(&folder, collector.address(), more.as_slice()).with(0);
        let taken = collector.taken();
        let service = &taken.spans[0].service;
        assert_eq!(service["service.name"], name);
        assert!(service.contains_key("service.instance.id"), "{service:?}");
        assert_eq!(
            service.get("team").map(String::as_str),
            (name == "ours").then_some("a")
        );
    }
}

#[test]
fn always_off_sampler_sends_nothing() {
    let collector = Collector::start(Manner::Takes);
    let folder = Folder::new();
    compile(
        &folder,
        collector.address(),
        &[("OTEL_TRACES_SAMPLER", "always_off")],
    )
    .with(0);
    assert_eq!(collector.taken().requests, 0);
}

#[test]
fn failing_collector_is_one_warning_and_compile_succeeds() {
    let hangs = Collector::start(Manner::Hangs);
    let refuses = Collector::start(Manner::Refuses("503 Service Unavailable"));
    let port = ReservedPort::new();
    let absent = format!("http://127.0.0.1:{}", port.number());
    for endpoint in [hangs.address(), refuses.address(), &absent] {
        let folder = Folder::new();
        let ended = compile(&folder, endpoint, &[("OTEL_BSP_SCHEDULE_DELAY", "1")]).with(0);
        let lines = log_lines(&ended);
        let count = |words: &str| {
            lines
                .iter()
                .filter(|line| line["message"].as_str().unwrap().contains(words))
                .count()
        };
        assert!(count("does not take traces") <= 1, "{endpoint}: {}", ended.stderr);
        assert_eq!(count("not all spans came"), 1, "{endpoint}: {}", ended.stderr);
    }
}

#[test]
fn unsupported_otlp_protocol_or_endpoint_is_a_warning() {
    let collector = Collector::start(Manner::Takes);
    let folder = Folder::new();
    let grpc = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    compile(&folder, collector.address(), &grpc)
        .with(0)
        .saying("only http/protobuf is supported");
    assert_eq!(collector.taken().requests, 0);
    let folder = Folder::new();
    let ended = compile(&folder, &format!("http://me:{TOKEN}@127.0.0.1:1"), &[]).with(0);
    assert!(ended.stderr.contains("no traces are sent"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(TOKEN));
}
