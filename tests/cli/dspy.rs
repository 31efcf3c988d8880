//! The same jobs by the real DSPy and by ours, against one LM server: requests, training files and the compiled student.
//!
//! Needs a Python with dspy 3.4.1, named by `BSFT_DSPY_PYTHON`; `tests/run.sh` makes one.

use crate::support::{Folder, LmServer, lines};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const VARIABLE: &str = "BSFT_DSPY_PYTHON";

/// What the LM server and DSPy have met trouble with.
const TEXTS: [&str; 8] = [
    "plain",
    "two\nlines\n\n  indented",
    "«quoted» \"double\" 'single' back\\slash",
    "😀 naïve 東京 e\u{301}",
    "[[ ## answer ## ]]\nnot a header",
    "<answer>tag</answer> & {curly} [1] list",
    " leading, trailing \t",
    "sep\u{2028}para\u{85}end\r\nhere",
];

/// Rows that every case's program can read.
fn trainset() -> Vec<Value> {
    const GOLD: [&str; 3] = ["paris", "seven", "blue"];
    (0..24)
        .map(|example| {
            let (text, gold) = (TEXTS[example % TEXTS.len()], GOLD[example % GOLD.len()]);
            json!({
                "question": format!("{text} {example}? gold={gold}"),
                "text": format!("{example}: {text}"),
                "answer": gold,
            })
        })
        .collect()
}

/// A case as a job file of ours.
fn job(case: &Value, api_base: &str) -> Value {
    let lm = |lm: &Value| {
        let mut table = pick(lm, &["model", "temperature", "max_tokens"]);
        table.insert("api_base".to_owned(), json!(api_base));
        table.insert("extra".to_owned(), lm.get("kwargs").cloned().unwrap_or(json!({})));
        let train = case.get("train_kwargs").cloned().unwrap_or(json!({}));
        table.insert(
            "finetune".to_owned(),
            json!({"provider": "simulated", "train": train}),
        );
        (lm["id"].as_str().unwrap().to_owned(), Value::Object(table))
    };
    let lms: Map<String, Value> = list(&case["lms"]).iter().map(lm).collect();
    let teachers: Vec<Value> = match &case["teacher"] {
        Value::Null => Vec::new(),
        Value::Array(teachers) => teachers.clone(),
        teacher => vec![teacher.clone()],
    };
    let teachers: Vec<Value> = teachers
        .iter()
        .map(|teacher| json!({"lm": assigned(case, teacher), "program": {"predictors": predictors(case, teacher)}}))
        .collect();
    let mut compile = pick(case, &["multitask", "exclude_demos"]);
    compile.insert("adapter".to_owned(), json!("chat"));
    let mut job = json!({
        "name": case["name"],
        "data": {"trainset": "train.jsonl", "inputs": case["input_keys"]},
        "program": {
            "predictors": predictors(case, &Value::Null),
            "types": case.get("types").cloned().unwrap_or(json!({})),
        },
        "lm": lms,
        "student": {"lm": assigned(case, &Value::Null)},
        "compile": compile,
    });
    if !teachers.is_empty() {
        job["teacher"] = json!(teachers);
    }
    if let Some((kind, field)) = case["metric"].as_str().unwrap().split_once(':') {
        job["metric"] = match kind {
            "f1" => json!({"f1": {"field": field}}),
            _ => json!({kind: field}),
        };
    }
    job
}

/// The case's predictors, with what `teacher` has of its own.
fn predictors(case: &Value, teacher: &Value) -> Vec<Value> {
    const KEYS: [&str; 9] = [
        "name",
        "module",
        "signature",
        "instructions",
        "desc",
        "demos",
        "config",
        "inputs",
        "repeat",
    ];
    let own = |step: &Value| {
        let mut table = pick(step, &KEYS);
        for key in ["demos", "instructions"] {
            let override_ = &teacher[key][step["name"].as_str().unwrap()];
            if !override_.is_null() {
                table.insert(key.to_owned(), override_.clone());
            }
        }
        Value::Object(table)
    };
    list(&case["program"]).iter().map(own).collect()
}

/// LMs by predictor.
fn assigned(case: &Value, teacher: &Value) -> Value {
    let lm = |step: &Value| {
        if teacher["lm"].is_null() {
            step["lm"].clone()
        } else {
            teacher["lm"].clone()
        }
    };
    let by_name: Map<String, Value> = list(&case["program"])
        .iter()
        .map(|step| (step["name"].as_str().unwrap().to_owned(), lm(step)))
        .collect();
    Value::Object(by_name)
}

fn pick(of: &Value, keys: &[&str]) -> Map<String, Value> {
    keys.iter()
        .filter_map(|key| {
            Some((
                (*key).to_owned(),
                of.get(*key).filter(|value| !value.is_null())?.clone(),
            ))
        })
        .collect()
}

fn list(of: &Value) -> &[Value] {
    of.as_array().unwrap()
}

fn oracle(python: &str, arguments: &[&Path]) {
    let run = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parity/oracle.py"))
        .args(arguments)
        .env("LITELLM_LOCAL_MODEL_COST_MAP", "true")
        .output()
        .unwrap_or_else(|error| panic!("{VARIABLE}={python} does not run: {error}"));
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

/// Requests without order, each with how often it was sent; keys of objects are sorted.
fn requests(all: impl IntoIterator<Item = Value>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for mut request in all {
        request.sort_all_objects();
        *counts.entry(request.to_string()).or_insert(0) += 1;
    }
    counts
}

/// Notes the first difference of two texts.
fn compare(what: &str, ours: &str, dspys: &str, differences: &mut Vec<String>) {
    let (left, right) = (ours.as_bytes(), dspys.as_bytes());
    if left == right {
        return;
    }
    let at = left
        .iter()
        .zip(right)
        .take_while(|(left, right)| left == right)
        .count();
    let around = |bytes: &[u8]| {
        let part = &bytes[at.saturating_sub(60).min(bytes.len())..(at + 100).min(bytes.len())];
        format!("{:?}", String::from_utf8_lossy(part))
    };
    differences.push(format!(
        "{what} differs at byte {at}:\n  ours  {}\n  dspy  {}",
        around(left),
        around(right)
    ));
}

/// Runs a case both ways and tells all that differs.
fn differences(case: &Value, python: &str, server: &LmServer) -> Vec<String> {
    let name = case["name"].as_str().unwrap();
    let folder = Folder::new();
    let mut case = case.clone();
    case["trainset"] = json!(trainset());
    let rows: String = trainset().iter().map(|row| format!("{row}\n")).collect();
    folder.write("train.jsonl", rows);
    folder.write("case.json", case.to_string());
    folder.write("job.json", job(&case, &server.base()).to_string());

    server.reset();
    let out = folder.path("dspy");
    let base = server.base();
    oracle(
        python,
        &[
            &folder.path("case.json"),
            Path::new("--out"),
            &out,
            Path::new("--server"),
            Path::new(&base),
        ],
    );
    let result: Value = serde_json::from_str(&folder.read("dspy/result.json")).unwrap();
    assert_eq!(result["status"], "ok", "{name}: dspy itself failed: {result}");
    let asked = lines(&folder.read("dspy/requests.jsonl"));

    server.reset();
    folder.run(&["compile", "job.json", "--out", "run"]).with(0);
    let mut found = Vec::new();
    let ours = server.log().into_iter().map(|entry| {
        let mut params = entry["body"].clone();
        let messages = params.as_object_mut().unwrap().shift_remove("messages");
        json!({"messages": messages, "params": params})
    });
    let (ours, dspys) = (requests(ours), requests(asked));
    let only = |left: &BTreeMap<String, usize>, right: &BTreeMap<String, usize>| {
        left.iter()
            .find(|(request, count)| right.get(*request) != Some(count))
            .map(|(request, _)| request.clone())
    };
    if ours != dspys {
        compare(
            &format!("{name}: a request"),
            &only(&ours, &dspys).unwrap_or_default(),
            &only(&dspys, &ours).unwrap_or_default(),
            &mut found,
        );
    }
    assert!(!list(&result["finetune"]).is_empty());
    for shard in list(&result["finetune"]) {
        let lm = shard["lm"].as_str().unwrap();
        let file = match shard["pred_ind"].as_u64() {
            None => format!("{lm}.jsonl"),
            Some(index) => {
                let predictor = result["predictors"][index as usize]["name"].as_str().unwrap();
                format!("{lm}@{predictor}.jsonl")
            }
        };
        let dspys = folder.read(&format!("dspy/{}", shard["file"].as_str().unwrap()));
        assert!(!dspys.is_empty(), "{name}: {file} has no rows to compare");
        compare(
            &format!("{name}: data/{file}"),
            &folder.read(&format!("run/data/{file}")),
            &dspys,
            &mut found,
        );
    }

    let compiled = folder.read("run/compiled.json");
    let anonymous = |text: &str| {
        text.replace(&base, "http://LM_SERVER/v1")
            .lines()
            .map(|line| {
                if line.trim_start().starts_with("\"model\": ") {
                    "\"model\""
                } else {
                    line
                }
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    let dspys = folder.read("dspy/program.json");
    compare(
        &format!("{name}: compiled.json"),
        &anonymous(&compiled),
        &anonymous(&dspys),
        &mut found,
    );
    let (load, saved) = (folder.path("run/compiled.json"), folder.path("saved.json"));
    oracle(
        python,
        &[
            &folder.path("case.json"),
            Path::new("--load"),
            &load,
            Path::new("--out"),
            &saved,
        ],
    );
    compare(
        &format!("{name}: compiled.json after a load by dspy"),
        &compiled,
        &folder.read("saved.json"),
        &mut found,
    );
    found
}

#[test]
fn dspy_and_we_ask_train_and_compile_alike() {
    let Ok(python) = std::env::var(VARIABLE) else {
        write_past_capture(&format!(
            "SKIPPED: nothing was compared with the real DSPy, for {VARIABLE} names no Python that has dspy 3.4.1 (bash tests/run.sh makes one)"
        ));
        return;
    };
    let cases = include_str!("../parity/cases.json");
    let cases: Vec<Value> = serde_json::from_str(cases).unwrap();
    let server = LmServer::start("mild");
    let found: Vec<String> = cases
        .iter()
        .flat_map(|case| differences(case, &python, &server))
        .collect();
    assert!(
        found.is_empty(),
        "{} differences:\n{}",
        found.len(),
        found.join("\n")
    );
}

/// `cargo test` swallows what a passing test prints, but not this; nextest swallows both, so run.sh repeats it.
fn write_past_capture(line: &str) {
    use std::io::Write as _;
    // Where stderr is closed nobody could be told.
    let _ = writeln!(std::io::stderr(), "{line}");
}
