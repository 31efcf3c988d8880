//! The jobs in `examples/`, as a reader runs them: `check`, `plan` and `compile` with the real binary.

use crate::cli::cluster::Cluster;
use crate::support::{Folder, lines, same};
use std::fs;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// The options that an example needs beside its job file.
fn options(example: &str) -> Vec<String> {
    match example {
        "trainer" => vec![
            "--trainers".to_owned(),
            format!("{EXAMPLES}/trainer/trainers.toml"),
        ],
        // Nothing here may reach a real service.
        "services" => vec!["--rehearse".to_owned()],
        _ => Vec::new(),
    }
}

/// The variables that an example names.
fn variables(example: &str) -> &'static [(&'static str, &'static str)] {
    match example {
        "services" => &[
            ("TEACHER_API_KEY", "unused"),
            ("AZURE_OPENAI_API_KEY", "unused"),
            ("FIREWORKS_API_KEY", "unused"),
        ],
        _ => &[],
    }
}

/// The arguments of `compile` for an example, with its run directory in the current folder.
fn compile(example: &str) -> Vec<String> {
    let mut arguments = vec![
        "compile".to_owned(),
        format!("{EXAMPLES}/{example}/job.toml"),
        "--out".to_owned(),
        example.to_owned(),
    ];
    arguments.extend(options(example));
    arguments
}

/// Runs `check`, `plan` and `compile`, and gives the folder with the run directory in it.
fn compiled(example: &str) -> Folder {
    let folder = Folder::new();
    let job = format!("{EXAMPLES}/{example}/job.toml");
    // `check` wants every variable that the job names to be set.
    let keys = variables(example);
    folder.start_with(&["check", &job], keys).end().with(0);
    let plan = folder.run(&["plan", &job, "--json"]).with(0).stdout;
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let arguments = compile(example);
    folder
        .run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        .with(0);
    let traces = lines(&folder.read(&format!("{example}/traces.jsonl"))).len();
    let failures = lines(&folder.read(&format!("{example}/failures.jsonl"))).len();
    assert_eq!(plan["tasks"], traces + failures, "{plan}");
    folder
}

#[test]
fn every_example_has_a_test() {
    let mut names: Vec<String> = fs::read_dir(EXAMPLES)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let tested = [
        "cluster",
        "intents",
        "json-demos",
        "saved-teacher",
        "services",
        "trainer",
        "two-teachers",
        "typed-tickets",
    ];
    assert_eq!(names, tested);
}

#[test]
fn example_intents_compiles() {
    let folder = compiled("intents");
    assert!(!lines(&folder.read("intents/data/student.jsonl")).is_empty());
}

#[test]
fn example_typed_tickets_writes_a_training_file_per_predictor() {
    let folder = compiled("typed-tickets");
    for file in ["reader@extract.predict.jsonl", "router@route.jsonl"] {
        assert!(!lines(&folder.read(&format!("typed-tickets/data/{file}"))).is_empty());
    }
}

#[test]
fn example_two_teachers_has_rows_of_both_and_a_validation_fraction() {
    let folder = compiled("two-teachers");
    let traces = lines(&folder.read("two-teachers/traces.jsonl"));
    for teacher in [0, 1] {
        assert!(traces.iter().any(|trace| trace["teacher"] == teacher));
    }
    assert!(!lines(&folder.read("two-teachers/data/student.validation.jsonl")).is_empty());
}

#[test]
fn example_saved_teacher_takes_instructions_and_demos_of_the_saved_state() {
    let folder = compiled("saved-teacher");
    let row = folder.read("saved-teacher/data/student.jsonl");
    let row = row.lines().next().unwrap();
    assert!(row.contains("Weigh the food more than the rest."), "{row}");
    assert!(row.contains("Nice music, bland food."), "{row}");
    let student = folder.read("saved-teacher/compiled.json");
    assert!(
        student.contains("Weigh the food more than the rest."),
        "{student}"
    );
    assert!(!student.contains("Nice music"), "{student}");
}

#[test]
fn example_json_demos_writes_all_formats_and_exclude_demos_holds() {
    let folder = compiled("json-demos");
    for format in ["sharegpt", "alpaca", "prompt_completion"] {
        let rows = folder.read(&format!("json-demos/data/student.{format}.jsonl"));
        assert!(!rows.contains("Renew the passport"), "{rows}");
    }
}

#[test]
fn example_services_compiles_with_rehearse() {
    let folder = compiled("services");
    for file in ["drafter@draft.predict.jsonl", "rater@rate.jsonl"] {
        assert!(!lines(&folder.read(&format!("services/data/{file}"))).is_empty());
    }
}

#[test]
fn example_trainer_trains_with_its_trainers_file() {
    let folder = compiled("trainer");
    let run: serde_json::Value = serde_json::from_str(&folder.read("trainer/run.json")).unwrap();
    let model = run["shards"][0]["model"].as_str().unwrap();
    assert!(model.ends_with("/output"), "{model}");
}

#[test]
fn example_cluster_has_the_same_bytes_on_rabbitmq_and_redis() {
    let Some(cluster) = Cluster::start() else { return };
    let reference = compiled("cluster");
    let folder = Folder::new();
    let worker = cluster.worker(&["--concurrency", "64"]);
    let arguments = compile("cluster");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cluster.run_in(&folder, &arguments).with(0);
    same(&folder.result("cluster"), &reference.result("cluster"));
    worker.signal("TERM");
    worker.end().with(0);
}
