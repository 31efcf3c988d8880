//! Tests of job files: valid ones, and invalid ones with the line and the message of each problem.

mod accounts;
mod addresses;
mod broken;
mod endpoints;
mod states;
mod training_advice;

use super::*;
use crate::python::random::Random;
use crate::schema::{document, nearest};
use broken::BROKEN;
use std::fs;

const GOOD: &str = r#"name = "intents"
seed = 3
[data]
trainset = "train.jsonl"
devset = "train.jsonl"
inputs = ["text"]
limit = 3
[[program.predictors]]
name = "classify"
module = "ChainOfThought"
signature = "text -> label: Literal['a', 'b'], color: Color"
instructions = "Sort."
desc = { text = "what was said" }
demos = [{ text = "x", reasoning = "y", label = "a", n = 1 }]
config = { temperature = 0.3 }
[[program.predictors]]
name = "check"
signature = "text, said -> verdict"
inputs = { said = "label" }
repeat = 2
[program.types]
Color = { enum = ["red", "dark blue"] }
[lm.teacher]
model = "openai/gpt-4.1"
api_base = "http://127.0.0.1:8000/v1"
api_key_env = "OPENAI_API_KEY"
temperature = 0.7
max_tokens = 1000
extra = { top_p = 0.9 }
price = { input = 2.0, output = 8.0 }
[lm.student]
model = "openai/Qwen/Qwen3-0.6B"
timeout_secs = 20
num_retries = 2
simulate = { accuracy = 0.5, latency_ms = 3 }
[lm.student.finetune]
provider = "export"
train = { n_epochs = 3 }
[student]
lm = "student"
[[teacher]]
lm = { classify = "teacher", "check" = "student" }
[metric]
f1 = { field = "label", threshold = 0.7 }
[compile]
multitask = false
exclude_demos = true
adapter = "json"
max_failure_rate = 0.5
"#;

fn dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    let rows: String = (0..5)
        .map(|i| format!("{{\"text\": \"t{i}\", \"label\": \"a\"}}\n"))
        .collect();
    fs::write(dir.path().join("train.jsonl"), rows).expect("written");
    dir
}

fn read_text(dir: &Path, name: &str, text: &str) -> Result<Job, Problems> {
    fs::write(dir.join(name), text).expect("written");
    read(&dir.join(name))
}

fn good() -> String {
    // The demo's `n` is not a field, which is a problem only in invalid jobs.
    GOOD.replace(", n = 1", "")
}

#[test]
fn read_returns_every_value_of_a_valid_job() {
    let dir = dir();
    let mut job = read_text(dir.path(), "job.toml", &good()).unwrap_or_else(|problems| panic!("{problems}"));
    let spec = &job.spec;
    assert_eq!(
        (spec.name.as_str(), spec.seed, spec.multitask, spec.exclude_demos),
        ("intents", 3, false, true)
    );
    assert_eq!(
        (job.trainset.len(), job.devset.as_ref().map(Trainset::len)),
        (3, Some(5))
    );
    let teacher = &spec.teachers[0].predictors;
    assert_eq!(
        (teacher[0].lm.as_str(), teacher[1].lm.as_str(), teacher[1].repeat),
        ("teacher", "student", 2)
    );
    assert_eq!(
        teacher[0].demos,
        [r#"{"text": "x", "reasoning": "y", "label": "a"}"#]
    );
    assert_eq!(spec.student.predictors[1].inputs["said"], "label");
    assert_eq!(spec.metric.as_ref().and_then(|m| m.threshold), Some(0.7));
    assert_eq!(
        (
            job.max_failure_rate,
            job.finetune["student"].train["n_epochs"].as_i64()
        ),
        (0.5, Some(3))
    );
    assert_eq!(job.digest.len(), 64);

    let mut rehearsal = read_text(dir.path(), "job.toml", &good()).expect("good");
    rehearsal.rehearse();
    let lms = &rehearsal.spec.lms;
    assert_eq!(
        (lms["teacher"].model.as_str(), &lms["teacher"].api_base),
        ("simulated/gpt-4.1", &None)
    );
    assert_eq!(
        (
            lms["teacher"].simulate.error_rate,
            lms["student"].simulate.error_rate
        ),
        (0.02, 0.0)
    );
    assert_eq!(rehearsal.finetune["student"].provider.name(), "simulated");

    let plan = plan::Plan::new(&job);
    assert_eq!((plan.tasks, plan.lms[0].calls, plan.lms[1].calls), (3, 3, 6));
    assert_eq!(
        plan.training.iter().map(|t| t.rows_at_most).collect::<Vec<_>>(),
        [3, 6]
    );
    assert_eq!(plan.training[0].file, "data/student@classify.predict.jsonl");
    job.finetune["student"].validation_fraction = 0.3;
    let kept_back = plan::Plan::new(&job).training.into_iter();
    assert_eq!(
        kept_back
            .map(|t| (t.rows_at_most, t.kept_back))
            .collect::<Vec<_>>(),
        [(2, 1), (4, 2)]
    );
    assert!(
        plan.cost.is_none() && plan.lms[0].cost.is_some_and(|c| c > 0.0),
        "{plan}"
    );
}

#[test]
fn read_reports_each_problem_with_line_and_remedy() {
    let dir = dir();
    for (from, to, line, message, remedy) in BROKEN {
        assert!(good().contains(from), "{from}");
        let Err(problems) = read_text(dir.path(), "job.toml", &good().replacen(from, to, 1)) else {
            panic!("{to} passes");
        };
        let found = problems
            .0
            .iter()
            .any(|p| p.line == Some(*line) && p.message.contains(message) && p.remedy.contains(remedy));
        assert!(
            found,
            "{from} -> {to}: wanted line {line}: {message} ({remedy}), got\n{problems}"
        );
        assert!(!problems.to_string().contains("sk-abc"), "a key is repeated");
    }
}

#[test]
fn read_reports_all_problems_together() {
    let text = good()
        .replace("seed = 3", "sed = 3")
        .replace("temperature = 0.7", "temperature = -1")
        .replace("\"json\"", "\"yaml\"");
    let problems = read_text(dir().path(), "job.toml", &text).expect_err("three faults");
    assert_eq!(problems.0.len(), 3, "{problems}");
    assert!(problems.to_string().ends_with("\n3 problems"));
    assert!(
        problems
            .to_string()
            .contains("job.toml:2: unknown key `sed`\n  = help: did you mean `seed`?\n")
    );
}

#[test]
fn read_returns_the_same_job_from_json_and_toml() {
    let dir = dir();
    let toml = read_text(dir.path(), "job.toml", &good()).expect("good");
    let node = document::parse(Path::new("job.toml"), &good()).expect("TOML");
    let text = serde_json::to_string_pretty(&node.to_json()).expect("JSON");
    let json = read_text(dir.path(), "job.json", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(json.spec, toml.spec);
    assert_eq!(json.finetune, toml.finetune);
    let broken = text.replacen("\"seed\": 3", "\"seed\": null, \"sed\": 3", 1);
    let problems = read_text(dir.path(), "job.json", &broken).expect_err("an unknown key");
    assert_eq!((problems.0.len(), problems.0[0].line), (1, Some(3)), "{problems}");
    assert!(read_text(dir.path(), "job.json", &"[".repeat(100_000)).is_err());
}

#[test]
fn read_never_panics_on_random_damage() {
    let dir = dir();
    let mut random = Random::new(11);
    let pieces = [
        "\"",
        "[",
        "]",
        "{",
        "}",
        "=",
        ".",
        "\n",
        "-1",
        "1e400",
        "é",
        "'",
        "null",
        "->",
        "9".repeat(30).leak(),
    ];
    for name in ["job.toml", "job.json"] {
        let node = document::parse(Path::new("job.toml"), &good()).expect("TOML");
        let text = if name == "job.toml" {
            good()
        } else {
            node.to_text()
        };
        for _ in 0..400 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..=random.below(3) {
                let (at, n) = (
                    random.below(bytes.len() as u32) as usize,
                    random.below(12) as usize,
                );
                let piece = pieces[random.below(pieces.len() as u32) as usize].bytes();
                let end = (at + n).min(bytes.len());
                bytes.splice(at..end, piece);
            }
            fs::write(dir.path().join(name), &bytes).expect("written");
            if let Err(problems) = read(&dir.path().join(name)) {
                assert!(!problems.is_empty());
            }
        }
    }
}

#[test]
fn state_replaces_instructions_descriptions_and_demos() {
    let dir = dir();
    let predictor = |n: usize| {
        let fields: Vec<_> = (0..n)
            .map(|i| serde_json::json!({"prefix": format!("P{i}:"), "description": format!("d{i}")}))
            .collect();
        serde_json::json!({"traces": [], "train": [], "demos": [{"text": "t", "label": "b", "augmented": true}],
            "signature": {"instructions": "Saved.", "fields": fields}, "lm": null})
    };
    let state = serde_json::json!({"classify.predict": predictor(4), "check": predictor(3), "metadata": {}});
    fs::write(dir.path().join("s.json"), state.to_string()).expect("written");
    let text = good().replace("[student]", "[student]\nstate = \"s.json\"");
    let job = read_text(dir.path(), "job.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    let first = &job.spec.student.predictors[0];
    assert_eq!(
        (first.instructions.as_deref(), first.desc["reasoning"].as_str()),
        (Some("Saved."), "d1")
    );
    assert_eq!((first.prefix["label"].as_str(), first.demos.len()), ("P2:", 1));
    assert_eq!(
        job.spec.teachers[0].predictors[0].instructions.as_deref(),
        Some("Sort."),
        "the state is the student's"
    );
}

#[test]
fn read_rejects_a_teacher_with_other_predictors() {
    let dir = dir();
    let own = "[[predictors]]\nname = \"classify\"\nmodule = \"ChainOfThought\"\nsignature = \"text -> label\"\n\
               [[predictors]]\nname = \"check\"\nsignature = \"text, label -> verdict\"\n";
    fs::write(dir.path().join("t.toml"), own).expect("written");
    let text = good().replace("[[teacher]]", "[[teacher]]\nprogram = \"t.toml\"");
    let job = read_text(dir.path(), "job.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(job.spec.teachers[0].predictors[0].signature, "text -> label");
    fs::write(dir.path().join("t.toml"), own.replace("\"check\"", "\"chuck\"")).expect("written");
    let problems = read_text(dir.path(), "job.toml", &text).expect_err("another name");
    assert!(
        problems
            .to_string()
            .contains("(classify.predict, chuck) are not the student's (classify.predict, check)")
    );
}

#[test]
fn read_warns_of_unused_train_keys_and_of_too_few_rows() {
    let dir = dir();
    let cases = [
        (
            "provider = \"export\"\ntrain = { n_epohcs = 3 }",
            "no place for `train.n_epohcs`",
        ),
        (
            "provider = \"fireworks\"\naccount = \"a\"",
            "needs at least 3, and at most 3 are possible",
        ),
    ];
    for (finetune, words) in cases {
        let text = good().replace("provider = \"export\"\ntrain = { n_epochs = 3 }", finetune);
        let job = read_text(dir.path(), "job.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        let warnings = job.warnings.join("\n");
        assert!(warnings.contains(words), "{words}\n{warnings}");
    }
}

#[test]
fn nearest_prefers_the_key_with_the_same_ending() {
    let known = ["provider", "model", "train", "trainer"];
    assert_eq!(nearest("trainr", known.into_iter()), "did you mean `trainer`?");
    assert_eq!(nearest("trian", known.into_iter()), "did you mean `train`?");
}

#[test]
fn init_writes_a_valid_job() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = init_example::init(dir.path()).expect("written");
    let job = read(&files[0]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((job.trainset.len(), job.spec.teachers.len()), (200, 1));
    assert_eq!(job.warnings, Vec::<String>::new());
    assert_eq!(job.finetune["student"].provider.name(), "export");
    assert!(init_example::init(dir.path()).is_err(), "nothing is overwritten");
}

/// A job whose student has two LMs, with these names and fine-tune tables.
fn two_lms(names: [&str; 2], finetune: &str, multitask: bool) -> Result<Job, Problems> {
    let dir = dir();
    let [one, two] = names;
    let tables: IndexMap<&str, String> = names
        .into_iter()
        .map(|name| {
            (
                name,
                format!("\"{name}\" = {{ model = \"simulated/a\", finetune = {{ {finetune} }} }}\n"),
            )
        })
        .collect();
    let tables: String = tables.into_values().collect();
    let text = format!(
        "[data]\ntrainset = \"train.jsonl\"\ninputs = [\"text\"]\n[program]\npredictors = [{{ name = \"p\", signature = \"text -> said\" }}, \
         {{ name = \"p.validation\", signature = \"text -> label\" }}]\n[lm]\n{tables}[student]\nlm = {{ p = \"{one}\", \"p.validation\" = \"{two}\" }}\n\
         [compile]\nmultitask = {multitask}\n"
    );
    read_text(dir.path(), "job.toml", &text)
}

#[test]
fn read_rejects_lm_names_that_share_a_file_name() {
    let kept_back = "provider = \"simulated\", validation_fraction = 0.2";
    let exported = "provider = \"export\", formats = [\"sharegpt\"]";
    for (names, finetune, file) in [
        (["s", "s.validation"], kept_back, "s.validation.jsonl"),
        (["s.validation", "s"], kept_back, "s.validation.jsonl"),
        (["s", "s.sharegpt"], exported, "s.sharegpt.jsonl"),
        (
            ["s", "s.prompt_completion"],
            exported,
            "s.prompt_completion.jsonl",
        ),
    ] {
        let refused = two_lms(names, finetune, true).expect_err(file).to_string();
        assert!(
            refused.contains(&format!("both go to the file {file}")),
            "{refused}"
        );
        assert!(refused.contains("another name"), "{refused}");
    }
    let refused = two_lms(["s", "s"], kept_back, false).expect_err("one key's name in the other's");
    assert!(refused.to_string().contains("s@p.validation.jsonl"), "{refused}");
}

#[test]
fn read_accepts_lm_names_that_do_not_share_a_file_name() {
    let kept_back = "provider = \"simulated\", validation_fraction = 0.2";
    for (names, finetune, multitask) in [
        (["s", "s.validation"], "provider = \"simulated\"", true),
        (["s", "s.sharegpt"], kept_back, true),
        (["s", "s.validated"], kept_back, true),
        (["s", "s.validation"], kept_back, false),
    ] {
        two_lms(names, finetune, multitask).unwrap_or_else(|problems| panic!("{names:?}: {problems}"));
    }
}
