//! Tests of warnings before a training: prompts that the student is not trained on, and templates that refuse the rows.

use super::*;

fn warnings(dir: &Path, text: &str) -> String {
    let job = read_text(dir, "job.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
    job.warnings.join("\n")
}

#[test]
fn read_warns_of_a_teacher_with_other_instructions_than_the_student() {
    let dir = dir();
    let program = |instructions: &str, desc: &str| {
        format!(
            "[[predictors]]\nname = \"classify\"\nmodule = \"ChainOfThought\"\n\
             signature = \"text -> label: Literal['a', 'b'], color: Color\"\ninstructions = \"{instructions}\"\n\
             desc = {{ text = \"{desc}\" }}\n[[predictors]]\nname = \"check\"\nsignature = \"text, said -> verdict\"\n\
             inputs = {{ said = \"label\" }}\nrepeat = 2\n"
        )
    };
    let text = good().replace("[[teacher]]", "[[teacher]]\nprogram = \"t.toml\"");
    for (instructions, desc, words) in [
        ("Sort.", "what was said", ""),
        (
            "Sort with care.",
            "what was said",
            "teacher 1 has other instructions than the student (`classify.predict`)",
        ),
        (
            "Sort.",
            "what the caller said",
            "teacher 1 has other field descriptions or types than the student (`classify.predict`)",
        ),
    ] {
        fs::write(dir.path().join("t.toml"), program(instructions, desc)).expect("written");
        let warnings = warnings(dir.path(), &text);
        assert_eq!(
            warnings.contains("than the student"),
            !words.is_empty(),
            "{warnings}"
        );
        assert!(warnings.contains(words), "{warnings}");
    }
    assert!(!warnings(dir.path(), &good()).contains("than the student"));
}

#[test]
fn read_warns_of_a_teacher_whose_state_changes_its_instructions() {
    let dir = dir();
    let predictor = serde_json::json!({"demos": [], "signature": {"instructions": "Saved.", "fields": []}});
    let state = serde_json::json!({"classify.predict": predictor, "check": predictor});
    fs::write(dir.path().join("s.json"), state.to_string()).expect("written");
    let only_teacher = good().replace("[[teacher]]", "[[teacher]]\nstate = \"s.json\"");
    let found = warnings(dir.path(), &only_teacher);
    assert!(
        found.contains("other instructions than the student (`classify.predict`, `check`)"),
        "{found}"
    );
    let both = only_teacher.replace("[student]", "[student]\nstate = \"s.json\"");
    let found = warnings(dir.path(), &both);
    assert!(!found.contains("than the student"), "{found}");
}

#[test]
fn read_warns_of_a_model_whose_template_refuses_system_messages() {
    let dir = dir();
    let model = "model = \"openai/Qwen/Qwen3-0.6B\"";
    let gemma = "model = \"openai/google/gemma-2-2b-it\"";
    let provider = "provider = \"export\"\ntrain = { n_epochs = 3 }";
    for (own, finetune, warned) in [
        (model, provider.to_owned(), false),
        (gemma, provider.to_owned(), true),
        (model, format!("{provider}\n{gemma}"), true),
        (gemma, "provider = \"simulated\"".to_owned(), false),
        (
            gemma,
            "provider = \"command\"\ntrainer = \"t\"\ntrain = { chat_template = \"own\" }".to_owned(),
            false,
        ),
    ] {
        let text = good().replace(model, own).replace(provider, &finetune);
        let found = warnings(dir.path(), &text);
        let words =
            "[lm.student.finetune]: the chat template of openai/google/gemma-2-2b-it is known to refuse";
        assert_eq!(found.contains(words), warned, "{finetune}: {found}");
    }
}

#[test]
fn length_limit_reads_the_names_of_trainers_and_services() {
    let dir = dir();
    for (train, limit) in [
        ("max_length = 900", Some(900)),
        ("max_seq_length = 2048", Some(2048)),
        ("max_length = \"auto\", max_seq_length = 64", Some(64)),
        ("max_length = 0", None),
        ("n_epochs = 3", None),
    ] {
        let text = good().replace("train = { n_epochs = 3 }", &format!("train = {{ {train} }}"));
        let job = read_text(dir.path(), "job.toml", &text).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(job.finetune["student"].length_limit(), limit, "{train}");
    }
}

#[test]
fn read_warns_of_a_key_that_goes_unencrypted_to_another_machine() {
    let dir = dir();
    for (address, is_warned) in [
        ("http://vllm.example:8000/v1", true),
        ("http://10.0.0.7/v1", true),
        ("https://vllm.example/v1", false),
        ("http://127.0.0.1:8000/v1", false),
        ("http://localhost/v1", false),
        ("http://[::1]:8000/v1", false),
    ] {
        let text = format!(
            "{}\n[lm.extra]\nmodel = \"openai/x\"\napi_base = \"{address}\"\napi_key_env = \"VLLM_API_KEY\"\n",
            good()
        );
        let warnings = warnings(dir.path(), &text);
        let words = format!("[lm.extra]: the key in VLLM_API_KEY goes to {address} without encryption");
        assert_eq!(warnings.contains(&words), is_warned, "{warnings}");
    }
}
