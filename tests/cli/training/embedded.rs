//! On one machine, without RabbitMQ and Redis.

use super::{COMPILE, Trained};
use crate::support::{JobFile, LmServer, until};

#[test]
fn local_trainer_trains_and_compiled_json_names_its_model() {
    let trained = Trained::new();
    trained.finish();
    let ended = trained.folder.run(&COMPILE).with(0);
    assert_eq!(trained.starts().len(), 1, "{}", ended.stderr);
    trained.check_models();
    let manifest = trained.manifest();
    assert_eq!(manifest["shards"][0]["failure"], serde_json::Value::Null);
    // What is done is not done again.
    trained.folder.run(&COMPILE).with(0);
    assert_eq!(trained.starts().len(), 1);
}

#[test]
fn compile_resumes_the_training_of_an_interrupted_or_killed_compile() {
    for signal in ["INT", "KILL"] {
        let trained = Trained::new();
        let running = trained.folder.start(&COMPILE);
        let start = trained.until_started(1);
        trained.until_known();
        running.signal(signal);
        let ended = running.end();
        if signal == "INT" {
            let again = "bsft compile job.toml --out run --trainers trainers.toml";
            ended.with(3).saying("training continues").saying(again);
        }
        // Without trainers no process can resume it: compile reports that and does not wait.
        trained
            .folder
            .run(&COMPILE[..4])
            .with(1)
            .saying("--trainers FILE");
        assert!(start.is_alive(), "{signal} has ended the trainer");
        let running = trained.folder.start(&COMPILE);
        trained.until_known();
        trained.finish();
        running.end().with(0);
        assert_eq!(trained.starts(), [start], "after {signal}");
        trained.check_models();
    }
}

#[test]
fn retry_repeats_only_the_training_that_failed() {
    let mut job = JobFile::with_teacher("model = \"simulated/x\"");
    job.compile = "multitask = false".to_owned();
    let trained = Trained::with_job(job);
    trained.fail("plan");
    let running = trained.folder.start(&COMPILE);
    until("one to fail", || {
        let manifest = std::fs::read(trained.folder.path("run/run.json")).ok()?;
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).ok()?;
        manifest["shards"][0]["failure"].as_str().map(drop)
    });
    trained.finish();
    running
        .end()
        .with(1)
        .saying("predictor plan")
        .saying("the trainer has had enough")
        .saying("bsft retry run --trainers trainers.toml");
    assert!(!trained.folder.path("run/compiled.json").exists());
    let manifest = trained.manifest();
    assert!(manifest["shards"][1]["model"].is_string(), "{manifest}");
    assert_eq!(trained.starts().len(), 2);

    // It stays failed until `retry`.
    trained.folder.run(&COMPILE).with(1);
    assert_eq!(trained.starts().len(), 2);
    std::fs::remove_file(trained.folder.path("control/fail")).unwrap();
    // Long afterwards, `status` suggests the command.
    let mut manifest = trained.manifest();
    manifest["updated"] = 0.into();
    trained.folder.write("run/run.json", manifest.to_string());
    let status = trained.folder.run(&["status", "run"]).with(0);
    assert!(status.stdout.contains("then run retry"), "{}", status.stdout);

    // Without the trainers nothing can be trained, and what is to be retried stays so.
    trained
        .folder
        .run(&["retry", "run"])
        .with(1)
        .saying("--trainers FILE");
    assert_eq!(trained.starts().len(), 2);
    let retry = ["retry", "run", "--trainers", "trainers.toml"];
    trained.folder.run(&retry).with(0);
    let names: Vec<String> = trained.starts().into_iter().map(|start| start.name).collect();
    assert_eq!(names.len(), 3);
    assert!(names[2].contains("plan"), "{names:?}");
    trained.check_models();
}

#[test]
fn cancel_stops_the_training_and_compile_starts_another() {
    let trained = Trained::new();
    let running = trained.folder.start(&COMPILE);
    let start = trained.until_started(1);
    trained.folder.run(&["cancel", "run"]).with(0);
    running.end().with(3).saying("cancelled");
    assert!(!start.is_alive());
    assert_eq!(trained.stopped(), 1);
    trained.finish();
    trained.folder.run(&COMPILE).with(0);
    assert_eq!(trained.starts().len(), 2);
    trained.check_models();
}

#[test]
fn cancel_stops_the_training_of_an_ended_compile() {
    let trained = Trained::new();
    let running = trained.folder.start(&COMPILE);
    let start = trained.until_started(1);
    trained.until_known();
    running.signal("INT");
    running.end().with(3);
    assert!(start.is_alive());
    trained.folder.run(&["cancel", "run"]).with(0);
    assert!(!start.is_alive());
    trained.finish();
    trained.folder.run(&COMPILE).with(0);
    assert_eq!(trained.starts().len(), 2);
}

#[test]
fn compile_with_a_bad_trainer_fails_before_any_lm_call() {
    let server = LmServer::start("clean");
    let wrong = [
        ("scripted", "unheard-of", "unheard-of"),
        ("n_epochs = 2", "epochs = 2", "`epochs`"),
    ];
    for (right, wrong, words) in wrong {
        let trained = Trained::with_job(JobFile::at(&server.base()));
        let job = trained.folder.read("job.toml").replace(right, wrong);
        trained.folder.write("job.toml", job);
        let ended = trained.folder.run(&COMPILE);
        assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.stderr);
        ended.saying(words);
        assert_eq!(server.count().requests, 0);
    }
    // And without any trainers at all.
    let trained = Trained::with_job(JobFile::at(&server.base()));
    let ended = trained.folder.run(&["compile", "job.toml"]);
    assert!(matches!(ended.code, Some(1 | 2)), "{}", ended.stderr);
    ended.saying("--trainers");
    assert_eq!(server.count().requests, 0);
}

/// Trainings lie beside the runs, and outlive them.
fn with_a_shared_folder() -> Trained {
    let trained = Trained::new();
    let trainers = trained.folder.read("trainers.toml");
    trained
        .folder
        .write("trainers.toml", format!("dir = \"shared\"\n{trainers}"));
    trained
}

#[test]
fn compile_reports_an_earlier_training_failure_and_suggests_retry() {
    let trained = with_a_shared_folder();
    trained.fail("student");
    let ended = trained.folder.run(&COMPILE).with(1);
    assert!(!ended.stderr.contains("failed earlier"), "{}", ended.stderr);
    std::fs::remove_dir_all(trained.folder.path("run")).unwrap();
    std::fs::remove_file(trained.folder.path("control/fail")).unwrap();
    trained
        .folder
        .run(&COMPILE)
        .with(1)
        .saying("failed earlier")
        .saying("/shared/")
        .saying("the trainer has had enough")
        .saying("bsft retry run --trainers trainers.toml");
    assert_eq!(trained.starts().len(), 1);
    trained.finish();
    let retry = ["retry", "run", "--trainers", "trainers.toml"];
    trained.folder.run(&retry).with(0);
    assert_eq!(trained.starts().len(), 2);
    trained.check_models();
}

#[test]
fn compile_keeps_the_model_of_a_redefined_trainer_and_warns() {
    let trained = with_a_shared_folder();
    trained.finish();
    let words = "an earlier definition of trainer";
    trained.folder.run(&COMPILE).with(0);
    let trainers = trained.folder.read("trainers.toml");
    // What a model does not depend on may change.
    trained
        .folder
        .write("trainers.toml", format!("{trainers}\ndescription = \"mine\"\n"));
    let ended = trained.folder.run(&COMPILE).with(0);
    assert!(!ended.stderr.contains(words), "{}", ended.stderr);
    let changed = trainers.replace("\"{train_file}\"]", "\"{train_file}\", \"--more\"]");
    assert_ne!(trainers, changed);
    trained.folder.write("trainers.toml", changed);
    trained
        .folder
        .run(&COMPILE)
        .with(0)
        .saying(words)
        .saying("scripted");
    // Also where another run has trained it.
    std::fs::remove_dir_all(trained.folder.path("run")).unwrap();
    trained.folder.run(&COMPILE).with(0).saying(words);
    assert_eq!(trained.starts().len(), 1);
}

#[test]
fn changed_train_settings_start_a_new_training_and_warn() {
    let trained = Trained::new();
    trained.finish();
    trained.folder.run(&COMPILE).with(0);
    let job = trained.folder.read("job.toml");
    trained
        .folder
        .write("job.toml", job.replace("n_epochs = 2", "n_epochs = 3"));
    trained
        .folder
        .run(&COMPILE)
        .with(0)
        .saying("the fine-tune settings have changed (train)")
        .saying("run.json keeps the earlier one");
    assert_eq!(trained.starts().len(), 2);
}
