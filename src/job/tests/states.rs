//! Tests of saved states: those of bare modules, of old versions of DSPy, and files in other forms.

use super::*;
use serde_json::{Value as Json, json};

/// A job whose program is one predictor, and whose student has the state `s.json`.
fn job(name: &str, module: &str) -> String {
    format!(
        "[data]\ntrainset = \"train.jsonl\"\ninputs = [\"text\"]\n[[program.predictors]]\nname = \"{name}\"\nmodule = \"{module}\"\n\
         signature = \"text -> label\"\n[lm.s]\nmodel = \"simulated/s\"\n[lm.s.finetune]\nprovider = \"export\"\n[student]\nlm = \"s\"\n\
         state = \"s.json\"\n"
    )
}

/// What DSPy 3.4.1 saves of a predictor with these fields, whose first demo is about bees.
fn saved(fields: &[&str]) -> Json {
    let fields = fields
        .iter()
        .map(|field| json!({"prefix": "P:", "description": format!("saved {field}")}));
    json!({"traces": [], "train": [], "demos": [{"text": "bees", "label": "a"}],
        "signature": {"instructions": "Saved.", "fields": fields.collect::<Vec<_>>()}, "lm": null})
}

fn metadata(dspy: &str) -> Json {
    json!({"dependency_versions": {"python": "3.11", "dspy": dspy, "cloudpickle": "3.1"}})
}

/// The state of a bare `dspy.ChainOfThought`.
fn of_chain_of_thought() -> Json {
    json!({"predict": saved(&["text", "reasoning", "label"]), "metadata": metadata("3.4.1")})
}

/// The state of a bare `dspy.Predict`.
fn of_predict() -> Json {
    let mut state = saved(&["text", "label"]);
    state["metadata"] = metadata("3.4.1");
    state
}

fn read_with(state: &Json, name: &str, module: &str) -> Result<Job, Problems> {
    let dir = dir();
    fs::write(dir.path().join("s.json"), state.to_string()).expect("written");
    read_text(dir.path(), "job.toml", &job(name, module))
}

#[test]
fn state_of_a_bare_module_loads_as_the_predictor_self() {
    for (state, module, predictor) in [
        (of_chain_of_thought(), "ChainOfThought", "predict"),
        (of_predict(), "Predict", "self"),
    ] {
        let job = read_with(&state, "self", module).unwrap_or_else(|problems| panic!("{module}: {problems}"));
        let own = &job.spec.student.predictors[0];
        assert_eq!(own.predictor_name(), predictor);
        assert_eq!(own.instructions.as_deref(), Some("Saved."));
        assert_eq!(own.desc["label"], "saved label");
        assert_eq!(own.demos.len(), 1);
    }
}

#[test]
fn compiled_state_of_a_bare_module_has_the_keys_of_dspys() {
    for (state, module) in [
        (of_chain_of_thought(), "ChainOfThought"),
        (of_predict(), "Predict"),
    ] {
        let job = read_with(&state, "self", module).unwrap_or_else(|problems| panic!("{module}: {problems}"));
        let models = [crate::program::TrainedModel::default()];
        let spec = &job.spec;
        let text = crate::program::saved_state(&spec.student, &spec.program_settings(), &models);
        let ours: Json = serde_json::from_str(&text.expect("it can be saved")).expect("JSON");
        let keys =
            |state: &Json| -> Vec<String> { state.as_object().expect("a table").keys().cloned().collect() };
        assert_eq!(keys(&ours), keys(&state), "{module}");
        assert_eq!(keys(&ours["metadata"]), keys(&state["metadata"]));
    }
}

#[test]
fn state_of_a_bare_module_is_named_where_the_job_calls_it_otherwise() {
    for (state, name, module, bare) in [
        (
            of_chain_of_thought(),
            "classify",
            "ChainOfThought",
            "ChainOfThought",
        ),
        (
            of_chain_of_thought(),
            "predict",
            "ChainOfThought",
            "ChainOfThought",
        ),
        (of_chain_of_thought(), "self", "Predict", "ChainOfThought"),
        (of_predict(), "classify", "Predict", "Predict"),
        (of_predict(), "self", "ChainOfThought", "Predict"),
    ] {
        let problems = read_with(&state, name, module).expect_err(name);
        assert_eq!(problems.0.len(), 1, "{problems}");
        let wanted = format!("a bare `dspy.{bare}`: write `name = \"self\"` and `module = \"{bare}\"`");
        assert!(problems.0[0].remedy.contains(&wanted), "{name}: {problems}");
    }
}

#[test]
fn state_with_another_number_of_fields_is_warned_of() {
    // What `name = "predict"` makes of the state of a bare ChainOfThought.
    let job = read_with(&of_chain_of_thought(), "predict", "Predict")
        .unwrap_or_else(|problems| panic!("{problems}"));
    let words = "s.json:1: the saved predictor `predict` has 3 fields, and the signature 2";
    assert!(job.warnings.join("\n").contains(words), "{:?}", job.warnings);
    let job = read_with(&of_chain_of_thought(), "self", "ChainOfThought")
        .unwrap_or_else(|problems| panic!("{problems}"));
    assert!(
        !job.warnings.join("\n").contains("paired by position"),
        "{:?}",
        job.warnings
    );
}

#[test]
fn predictor_self_has_no_others_beside_it() {
    let dir = dir();
    let text = good()
        .replace("name = \"check\"", "name = \"self\"")
        .replace("\"check\" =", "self =");
    let problems = read_text(dir.path(), "job.toml", &text).expect_err("two predictors");
    assert!(
        problems.to_string().contains("`self` is the program itself"),
        "{problems}"
    );
}

#[test]
fn state_of_a_dspy_before_2_6_is_refused_with_its_version() {
    let old = json!({"classify": {"signature": {}, "extended_signature": {}, "demos": []}, "metadata": metadata("2.5.43")});
    let oldest = json!({"classify": {"signature_instructions": "Sort.", "demos": []}});
    let flat = json!({"extended_signature": {}, "signature": {}, "demos": []});
    for (state, version) in [
        (old, "DSPy 2.5.43"),
        (oldest, "a DSPy before 2.6"),
        (flat, "a DSPy before 2.6"),
    ] {
        for (name, module) in [
            ("classify", "ChainOfThought"),
            ("classify", "Predict"),
            ("self", "ChainOfThought"),
        ] {
            let problems = read_with(&state, name, module).expect_err(version);
            assert_eq!(problems.0.len(), 1, "{problems}");
            let wanted = format!("saved by {version}, which DSPy 3 does not load either");
            assert!(problems.0[0].message.contains(&wanted), "{problems}");
        }
    }
}

#[test]
fn state_that_is_a_pickle_is_named_as_one() {
    let dir = dir();
    let path = dir.path().join("s.json");
    fs::write(&path, b"\x80\x05\x95\x10\0\0").expect("written");
    let text = job("classify", "Predict");
    let problems = read_text(dir.path(), "job.toml", &text).expect_err("a pickle");
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert!(problems.0[0].message.ends_with("is a pickle"), "{problems}");
    assert!(
        problems.0[0].remedy.contains("program.save(\"state.json\")"),
        "{problems}"
    );

    fs::remove_file(&path).expect("removed");
    fs::create_dir(&path).expect("a folder");
    fs::write(path.join("program.pkl"), b"\x80\x05").expect("written");
    let problems = read_text(dir.path(), "job.toml", &text).expect_err("a folder");
    assert_eq!(problems.0.len(), 1, "{problems}");
    assert!(problems.0[0].message.contains("save_program=True"), "{problems}");
}
