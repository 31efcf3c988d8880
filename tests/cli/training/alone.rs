//! On one machine, without RabbitMQ and Redis.

use super::{COMPILE, Trained};
use crate::support::{JobFile, LmServer, until};

#[test]
fn a_trainer_of_this_machine_trains_and_the_student_names_its_model() {
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
fn a_training_outlives_its_compile_however_that_ends_and_is_taken_up_by_the_next() {
    for signal in ["INT", "KILL"] {
        let trained = Trained::new();
        let running = trained.folder.start(&COMPILE);
        let start = trained.until_started(1);
        trained.until_known();
        running.signal(signal);
        let ended = running.end();
        if signal == "INT" {
            ended.with(3).saying("goes on");
        }
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
fn a_training_that_fails_leaves_the_others_and_is_the_only_one_to_be_retried() {
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
        .saying("bsft-coordinator retry run");
    assert!(!trained.folder.path("run/compiled.json").exists());
    let manifest = trained.manifest();
    assert!(manifest["shards"][1]["model"].is_string(), "{manifest}");
    assert_eq!(trained.starts().len(), 2);

    // It stays failed until somebody asks.
    trained.folder.run(&COMPILE).with(1);
    assert_eq!(trained.starts().len(), 2);
    std::fs::remove_file(trained.folder.path("control/fail")).unwrap();
    let retry = ["retry", "run", "--trainers", "trainers.toml"];
    trained.folder.run(&retry).with(0);
    let names: Vec<String> = trained.starts().into_iter().map(|start| start.name).collect();
    assert_eq!(names.len(), 3);
    assert!(names[2].contains("plan"), "{names:?}");
    trained.check_models();
}

#[test]
fn a_cancelled_training_is_stopped_and_compile_starts_another() {
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
fn what_a_compile_left_behind_is_stopped_by_cancel_too() {
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
fn a_job_that_would_fail_at_its_end_fails_before_the_first_question() {
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
