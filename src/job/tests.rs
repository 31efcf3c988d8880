//! Job files, good and broken: each broken one with the line and the words of its problems.

use super::*;
use crate::python::random::Random;
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
    // The demo's `n` is no field: only broken jobs may have it.
    GOOD.replace(", n = 1", "")
}

#[test]
fn a_good_job_is_read_whole() {
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

    let plan = plan::Plan::of(&job);
    assert_eq!((plan.tasks, plan.lms[0].calls, plan.lms[1].calls), (3, 3, 6));
    assert_eq!(
        plan.training.iter().map(|t| t.rows_at_most).collect::<Vec<_>>(),
        [3, 6]
    );
    assert_eq!(plan.training[0].file, "data/student@classify.predict.jsonl");
    job.finetune["student"].validation_fraction = 0.3;
    let kept_back = plan::Plan::of(&job).training.into_iter();
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

/// Each: what is replaced in the good job, by what, the line, and words of the message and the remedy.
const BROKEN: &[(&str, &str, u32, &str, &str)] = &[
    (
        "seed = 3",
        "sed = 3",
        2,
        "unknown key `sed`",
        "did you mean `seed`?",
    ),
    (
        "seed = 3",
        "seed = \"3\"",
        2,
        "`seed` is a string, not an integer",
        "write `seed = 1`",
    ),
    ("seed = 3", "seed = -3", 2, "`seed` is -3", "at least 0"),
    ("seed = 3", "seed = 3 3", 2, "not TOML", "put it right"),
    (
        "name = \"intents\"",
        "name = \"a/b\"",
        1,
        "slash",
        "a directory is named after it",
    ),
    (
        "trainset = \"train.jsonl\"",
        "trainset = \"trian.jsonl\"",
        4,
        "there is no file",
        "relative to this file",
    ),
    (
        "inputs = [\"text\"]",
        "inputs = [\"txt\"]",
        1,
        "this row has no `txt`",
        "data.inputs",
    ),
    (
        "inputs = [\"text\"]",
        "inputs = [\"text\", \"text\"]",
        6,
        "names `text` twice",
        "once",
    ),
    (
        "inputs = [\"text\"]",
        "inputs = []",
        6,
        "names no column",
        "name the columns",
    ),
    ("limit = 3", "limit = 0", 7, "`data.limit` is 0", "at least 1"),
    (
        "limit = 3",
        "limits = 3",
        7,
        "unknown key `limits` in [data]",
        "did you mean `limit`?",
    ),
    (
        "\"ChainOfThought\"",
        "\"ChainOfThougt\"",
        10,
        "no module",
        "did you mean `ChainOfThought`?",
    ),
    (
        "\"ChainOfThought\"",
        "\"ReAct\"",
        10,
        "not supported by this version",
        "Predict",
    ),
    (
        "text -> label",
        "text label",
        11,
        "does not parse",
        "write it as DSPy does",
    ),
    (
        "text -> label",
        "text -> label: Foo, l",
        11,
        "`Foo` is not known",
        "",
    ),
    (
        "desc = { text",
        "desc = { txt",
        13,
        "`desc` names `txt`",
        "did you mean `text`?",
    ),
    (
        "desc = { text = \"what was said\" }",
        "desc = { text = 3 }",
        13,
        "`program.predictors.desc.text` is an integer",
        "text = ",
    ),
    (
        "config = { temperature = 0.3 }",
        "config = { api_key = \"x\" }",
        15,
        "looks like a key",
        "api_key_env",
    ),
    (
        "name = \"check\"",
        "name = \"classify.predict\"",
        16,
        "a second predictor",
        "its own name",
    ),
    (
        "inputs = { said = \"label\" }",
        "inputs = { sad = \"label\" }",
        19,
        "`inputs` names `sad`",
        "did you mean `said`?",
    ),
    (
        "inputs = { said = \"label\" }",
        "",
        16,
        "is given no `said`",
        "it can read text, reasoning, label",
    ),
    (
        "repeat = 2",
        "repeat = 0",
        20,
        "`program.predictors.repeat` is 0",
        "at least 1",
    ),
    (
        "{ enum = [\"red\", \"dark blue\"] }",
        "{ enum = 3 }",
        22,
        "the type `Color`",
        "write `{ enum",
    ),
    (
        "openai/gpt-4.1",
        "anthropic/claude",
        24,
        "no client",
        "openai/claude",
    ),
    (
        "http://127.0.0.1:8000/v1",
        "127.0.0.1:8000",
        25,
        "`lm.teacher.api_base`",
        "http://127.0.0.1:8000/v1",
    ),
    ("http://127", "http://me:pw@127", 25, "user name or password", ""),
    (
        "\"OPENAI_API_KEY\"",
        "\"sk-abcdefghijklmnop\"",
        26,
        "not the name of an environment variable",
        "set that variable",
    ),
    (
        "api_key_env = \"OPENAI_API_KEY\"",
        "api_key = \"sk-abcdefghijkl\"",
        26,
        "puts a key into the file",
        "api_key_env",
    ),
    (
        "temperature = 0.7",
        "temperature = -0.7",
        27,
        "is -0.7",
        "at least 0",
    ),
    (
        "max_tokens = 1000",
        "max_tokens = 1.5",
        28,
        "is a float, not an integer",
        "write `max_tokens = 1`",
    ),
    (
        "{ top_p = 0.9 }",
        "{ headers = { Authorization = \"Bearer x\" } }",
        29,
        "looks like a key",
        "api_key_env",
    ),
    (
        "output = 8.0",
        "outputs = 8.0",
        30,
        "unknown key `outputs`",
        "did you mean `output`?",
    ),
    ("accuracy = 0.5", "accuracy = 1.5", 35, "is 1.5", "from 0 to 1"),
    (
        "provider = \"export\"",
        "provider = \"exprot\"",
        37,
        "no fine-tune provider",
        "did you mean `export`?",
    ),
    (
        "provider = \"export\"",
        "provider = \"command\"",
        36,
        "has no `trainer`",
        "write `trainer = ",
    ),
    (
        "provider = \"export\"",
        "provider = \"openai\"",
        31,
        "takes no fewer than 10",
        "more examples",
    ),
    (
        "provider = \"export\"\ntrain = { n_epochs = 3 }",
        "provider = \"fireworks\"\naccount = \"a\"\nvalidation_fraction = 0.5",
        31,
        "has 1 rows at most beside the 2 that are kept back",
        "a smaller `validation_fraction`",
    ),
    (
        "provider = \"export\"",
        "provider = \"export\"\nformats = [\"sharegtp\"]",
        38,
        "names no format of rows",
        "did you mean `sharegpt`?",
    ),
    (
        "provider = \"export\"",
        "provider = \"export\"\ntrainer = \"trl\"",
        38,
        "takes no `trainer`",
        "it is for command",
    ),
    (
        "provider = \"export\"",
        "provider = \"export\"\nvalidation_fraction = 1.0",
        38,
        "is 1",
        "from 0 to 0.9",
    ),
    (
        "provider = \"export\"",
        "provider = \"together\"\napi_key_env = \"sk-abcdefgh\"",
        38,
        "not the name of an environment variable",
        "set that variable",
    ),
    (
        "provider = \"export\"",
        "provider = \"openai\"\nauth_header = \"api key: x\"",
        38,
        "not the name of a header",
        "api-key",
    ),
    (
        "provider = \"export\"",
        "provider = \"openai\"\nextra = { headers = { authorization = \"x\" } }",
        38,
        "looks like a key",
        "api_key_env",
    ),
    (
        "provider = \"export\"\ntrain = { n_epochs = 3 }",
        "provider = \"openai\"\ntrain = { n_epoch = 3 }",
        38,
        "did you mean `n_epochs`?",
        "change it or leave it out",
    ),
    (
        "provider = \"export\"\ntrain = { n_epochs = 3 }",
        "provider = \"openai\"\ntrain = { batch_size = 0 }",
        38,
        "batch_size = 0",
        "change it or leave it out",
    ),
    (
        "provider = \"export\"\ntrain = { n_epochs = 3 }",
        "provider = \"together\"\ntrain = { n_epochs = 0 }",
        38,
        "train.n_epochs = 0 cannot be",
        "change it or leave it out",
    ),
    (
        "provider = \"export\"",
        "provider = \"fireworks\"",
        36,
        "has no `account`",
        "write `account = ",
    ),
    (
        "[lm.student.finetune]\nprovider = \"export\"\ntrain = { n_epochs = 3 }",
        "",
        31,
        "has no [lm.student.finetune]",
        "write `[lm.student.finetune]`",
    ),
    (
        "[student]\nlm = \"student\"",
        "[student]\nlm = \"studnet\"",
        40,
        "no LM `studnet`",
        "did you mean `student`?",
    ),
    (
        "[student]\nlm = \"student\"",
        "[student]",
        39,
        "[student] has no `lm`",
        "write `lm = ",
    ),
    (
        ", \"check\" = \"student\"",
        "",
        42,
        "`check` has no LM",
        "write `check = ",
    ),
    (
        "\"check\" = ",
        "\"chekc\" = ",
        42,
        "names no predictor",
        "did you mean `check`?",
    ),
    (
        "[[teacher]]",
        "[[teacher]]\nprogram = \"t.toml\"",
        42,
        "t.toml: there is no such file",
        "relative",
    ),
    (
        "[[teacher]]",
        "[[teacher]]\nstate = \"t.json\"",
        42,
        "t.json: there is no such file",
        "relative",
    ),
    (
        "field = \"label\"",
        "field = \"lable\"",
        44,
        "which no predictor outputs",
        "did you mean `label`?",
    ),
    (
        "field = \"label\"",
        "field = \"color\"",
        1,
        "this row has no `color`",
        "label",
    ),
    ("threshold = 0.7", "threshold = 7", 44, "is 7", "from 0 to 1"),
    (
        "f1 = { field = \"label\", threshold = 0.7 }",
        "judge = { lm = \"teacher\" }",
        44,
        "not supported by this version",
        "f1",
    ),
    ("f1 = {", "bleu = {", 44, "unknown key `bleu`", "write one of"),
    (
        "f1 = {",
        "equals = \"label\"\nf1 = {",
        45,
        "is a second metric",
        "keep one",
    ),
    (
        "\"json\"",
        "\"jsno\"",
        48,
        "no adapter `jsno`",
        "did you mean `json`?",
    ),
    (
        "max_failure_rate = 0.5",
        "max_failure_rate = 50",
        49,
        "is 50",
        "from 0 to 1",
    ),
    (
        "multitask = false",
        "multitask = \"no\"",
        46,
        "is a string, not a boolean",
        "multitask = true",
    ),
];

#[test]
fn every_fault_is_told_with_its_line_and_its_remedy() {
    let dir = dir();
    for (from, to, line, message, remedy) in BROKEN {
        assert!(good().contains(from), "{from}");
        let Err(problems) = read_text(dir.path(), "job.toml", &good().replacen(from, to, 1)) else {
            panic!("{to} passes");
        };
        let told = problems
            .0
            .iter()
            .any(|p| p.line == Some(*line) && p.message.contains(message) && p.remedy.contains(remedy));
        assert!(
            told,
            "{from} -> {to}: wanted line {line}: {message} ({remedy}), got\n{problems}"
        );
        assert!(!problems.to_string().contains("sk-abc"), "a key is repeated");
    }
}

#[test]
fn all_faults_are_told_together() {
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
fn json_says_the_same_as_toml() {
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
fn random_damage_never_panics() {
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
fn a_saved_state_gives_instructions_texts_and_demos() {
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

    // A bare Predict is saved flat.
    fs::write(dir.path().join("s.json"), predictor(2).to_string()).expect("written");
    let flat = text
        .replace(
            "name = \"classify\"\nmodule = \"ChainOfThought\"",
            "name = \"self\"",
        )
        .replace("classify", "self");
    let problems = read_text(dir.path(), "job.toml", &flat).expect_err("`check` is not in it");
    assert!(
        problems
            .0
            .iter()
            .any(|p| p.message == "the saved state has no predictor `check`"),
        "{problems}"
    );
    assert!(
        !problems.to_string().contains("no predictor `self`"),
        "{problems}"
    );
}

#[test]
fn a_teacher_has_the_students_predictors() {
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
fn what_is_hardly_meant_is_warned_of() {
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
fn of_two_words_as_near_the_one_with_the_same_end_is_meant() {
    let known = ["provider", "model", "train", "trainer"];
    assert_eq!(nearest("trainr", known.into_iter()), "did you mean `trainer`?");
    assert_eq!(nearest("trian", known.into_iter()), "did you mean `train`?");
}

#[test]
fn the_example_is_a_good_job() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = example::init(dir.path()).expect("written");
    let job = read(&files[0]).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!((job.trainset.len(), job.spec.teachers.len()), (200, 1));
    assert_eq!(job.warnings, Vec::<String>::new());
    assert_eq!(job.finetune["student"].provider.name(), "export");
    assert!(example::init(dir.path()).is_err(), "nothing is overwritten");
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
fn two_lms_whose_files_would_have_the_same_name_are_refused() {
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
fn names_that_only_look_alike_are_fine() {
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
