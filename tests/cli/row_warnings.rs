//! Rows that a trainer would cut or refuse: counted and reported before anything is trained.

use crate::support::{Folder, JobFile};
use serde_json::Value;

#[test]
fn compile_warns_of_rows_that_the_trainer_would_cut_or_refuse() {
    let folder = Folder::new();
    let mut job = JobFile::with_teacher("model = \"simulated/x\"");
    job.metric = String::new();
    job.finetune =
        "provider = \"export\"\nmodel = \"openai/google/gemma-2-2b-it\"\ntrain = { max_length = 10 }"
            .to_owned();
    job.write(&folder, 5);
    let template = "the chat template of openai/google/gemma-2-2b-it is known to refuse";
    folder.run(&["check", "job.toml"]).with(0).saying(template);
    let ended = folder
        .compile("run")
        .with(0)
        .saying("10 of 10 training rows have more than the 10 tokens that `train` allows")
        .saying("10 of 10 training rows begin with a system message");
    let summary = ended.stderr.split_once("compiled tested").expect("a summary").1;
    assert!(
        summary.contains("training rows begin with a system message"),
        "{summary}"
    );
    let manifest: Value = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let shard = &manifest["shards"][0];
    assert_eq!(shard["checks"]["too_long"], 10);
    assert_eq!(shard["checks"]["refused_system"], 10);
    assert_eq!(shard["warnings"].as_array().map(Vec::len), Some(2), "{shard}");
}

#[test]
fn compile_warns_of_a_teacher_with_other_instructions_than_the_student() {
    let folder = Folder::new();
    let mut job = JobFile::with_teacher("model = \"simulated/x\"");
    job.teachers = "[[teacher]]\nlm = \"teacher\"\nprogram = \"teacher.toml\"".to_owned();
    job.write(&folder, 3);
    folder.write(
        "teacher.toml",
        "[[predictors]]\nname = \"plan\"\nsignature = \"question -> plan\"\ninstructions = \"Think of a good plan.\"\n\
         [[predictors]]\nname = \"answer\"\nmodule = \"ChainOfThought\"\nsignature = \"question, plan -> answer\"\n",
    );
    let words = "teacher 1 has other instructions than the student (`plan`)";
    folder.run(&["check", "job.toml"]).with(0).saying(words);
    folder.run(&["compile", "job.toml", "--rehearse"]).saying(words);
}
