//! Programs that are one module, such as `dspy.ChainOfThought("question -> answer")`: the predictor `self`.

use crate::support::{Folder, lines};
use serde_json::Value;

/// Compiles a job whose program is this module.
fn compiled(module: &str) -> Folder {
    let folder = Folder::new();
    folder.write("train.jsonl", "{\"question\": \"q\", \"answer\": \"a\"}\n");
    folder.write(
        "job.toml",
        format!(
            "[data]\ntrainset = \"train.jsonl\"\ninputs = [\"question\"]\n[[program.predictors]]\nname = \"self\"\n\
             module = \"{module}\"\nsignature = \"question -> answer\"\n[lm.s]\nmodel = \"simulated/s\"\n[lm.s.finetune]\n\
             provider = \"export\"\n[student]\nlm = \"s\"\n[compile]\nmultitask = false\n"
        ),
    );
    folder.compile("run").with(0);
    folder
}

fn keys(state: &Value) -> Vec<&str> {
    state.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn compile_of_a_bare_chain_of_thought_writes_the_state_that_dspy_loads() {
    let folder = compiled("ChainOfThought");
    let state: Value = serde_json::from_str(&folder.read("run/compiled.json")).unwrap();
    assert_eq!(keys(&state), ["predict", "metadata"]);
    let traces = lines(&folder.read("run/traces.jsonl"));
    assert_eq!(traces[0]["calls"][0]["predictor"], "predict");
    assert_eq!(lines(&folder.read("run/data/s@predict.jsonl")).len(), 1);
}

#[test]
fn compile_of_a_bare_predict_writes_the_state_that_dspy_loads() {
    let folder = compiled("Predict");
    let state: Value = serde_json::from_str(&folder.read("run/compiled.json")).unwrap();
    assert_eq!(
        keys(&state),
        ["traces", "train", "demos", "signature", "lm", "metadata"]
    );
    assert_eq!(lines(&folder.read("run/data/s@self.jsonl")).len(), 1);
}

#[test]
fn compiled_state_of_a_bare_module_loads_as_state() {
    for module in ["ChainOfThought", "Predict"] {
        let folder = compiled(module);
        let job = folder.read("job.toml");
        folder.write(
            "again.toml",
            job.replace("[student]", "[student]\nstate = \"run/compiled.json\""),
        );
        folder.run(&["check", "again.toml"]).with(0);
        let renamed = folder.read("again.toml").replace("\"self\"", "\"classify\"");
        folder.write("renamed.toml", renamed);
        folder
            .run(&["check", "renamed.toml"])
            .with(2)
            .saying(&format!("write `name = \"self\"` and `module = \"{module}\"`"));
    }
}
