//! What an LM's account or server does: it stops the run with a reason or is waited for, and never makes an example fail.

use crate::cli::cluster::{Cluster, job};
use crate::support::{Ended, Folder, JobFile, LmServer, ReservedPort, Running, same, until};

const EXAMPLES: usize = 40;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// The variable with the key of the tests' LM.
const KEY: (&str, &str) = ("LM_ACCOUNTS_KEY", "sk-of-the-tests");

/// A job whose LM needs a key, and what it comes to undisturbed.
fn with_key(server: &LmServer) -> (Folder, Folder) {
    let (folder, reference) = (Folder::new(), Folder::new());
    let mut job = JobFile::at(&server.base());
    job.teacher.push_str(&format!("\napi_key_env = \"{}\"", KEY.0));
    for folder in [&folder, &reference] {
        job.write(folder, EXAMPLES);
    }
    compile(&reference).end().with(0);
    server.reset();
    (folder, reference)
}

fn compile(folder: &Folder) -> Running {
    folder.start_with(&COMPILE, &[KEY])
}

/// The run stopped with everything that was answered, and without failures or fine-tune jobs.
#[track_caller]
fn assert_stopped(folder: &Folder, ended: &Ended, code: i32) {
    assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    assert!(ended.stderr.contains("nothing is lost"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("bsft compile job.toml --out run"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains(KEY.1), "{}", ended.stderr);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    let manifest: serde_json::Value = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    assert_eq!(manifest["phase"], "bootstrap");
    assert!(manifest["stopped"].is_string(), "{manifest}");
    assert_eq!(manifest["trainings"], serde_json::json!({}));
}

#[test]
fn refused_key_stops_the_run_and_the_same_command_resumes_it() {
    let server = LmServer::start("clean");
    let (folder, reference) = with_key(&server);
    server.refuse_after(20, 401, "invalid_api_key");
    let ended = compile(&folder).end();
    assert_stopped(&folder, &ended, 1);
    ended
        .with(1)
        .saying("lm teacher: the key in LM_ACCOUNTS_KEY was refused after ")
        .saying("HTTP 401");
    server.accept();
    compile(&folder).end().with(0);
    same(&folder.result("run"), &reference.result("run"));
}

#[test]
fn used_up_quota_stops_the_run() {
    let server = LmServer::start("clean");
    let (folder, _) = with_key(&server);
    server.refuse_after(20, 429, "insufficient_quota");
    let ended = compile(&folder).end();
    assert_stopped(&folder, &ended, 1);
    ended
        .with(1)
        .saying("the account of the key in LM_ACCOUNTS_KEY has no quota left after ");
}

#[test]
fn unknown_model_stops_the_run_after_the_first_call() {
    let server = LmServer::start("clean");
    let (folder, _) = with_key(&server);
    server.refuse_after(0, 404, "model_not_found");
    let ended = compile(&folder).end();
    assert_stopped(&folder, &ended, 1);
    ended.with(1).saying("does not know the model openai/teacher");
    assert!(server.count().requests <= 3, "{:?}", server.count());
}

#[test]
fn server_that_was_never_there_ends_compile_with_code_4() {
    let (folder, port) = (Folder::new(), ReservedPort::new());
    JobFile::at(&format!("http://127.0.0.1:{}/v1", port.number())).write(&folder, EXAMPLES);
    let ended = folder.compile("run");
    assert_stopped(&folder, &ended, 4);
    ended
        .with(4)
        .saying("cannot be reached, and has not answered in this run")
        .saying("--wait");
}

#[test]
fn wait_waits_for_a_server_that_was_never_there() {
    let (folder, port) = (Folder::new(), ReservedPort::new());
    JobFile::at(&format!("http://127.0.0.1:{}/v1", port.number())).write(&folder, EXAMPLES);
    let running = folder.start(&[&COMPILE[..], &["--wait"]].concat());
    running.until_said("lm teacher does not answer; waiting for");
    let _server = LmServer::start_on(port.number(), &["--profile", "clean"]);
    running.end().with(0);
    assert_eq!(folder.traced("run"), EXAMPLES);
}

#[test]
fn server_that_goes_away_and_comes_back_costs_no_example() {
    let port = ReservedPort::new();
    let server = LmServer::start_on(port.number(), &["--profile", "clean"]);
    let (folder, reference) = job(&server, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let running = folder.start(&COMPILE);
    server.until_held(1);
    drop(server);
    running.until_said("lm teacher does not answer; waiting for");
    until("status to say what the run waits for", || {
        let shown = folder.run(&["status", "run"]).with(0).stdout;
        let words = ["teacher: waiting for http://127.0.0.1:", "last error", "away for"];
        words.iter().all(|words| shown.contains(words)).then_some(())
    });
    let _server = LmServer::start_on(port.number(), &["--profile", "clean"]);
    running.end().with(0);
    assert_eq!(folder.read("run/failures.jsonl"), "");
    same(&folder.result("run"), &reference.result("run"));
}

#[test]
fn key_refused_to_every_worker_stops_the_run_of_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let (folder, reference) = with_key(&server);
    let keys = folder.keys_file(&[(KEY.0, &server.base())]);
    let arguments = ["--concurrency", "4", "--keys", &keys];
    let workers = [(); 2].map(|()| cluster.worker_with(&arguments, &[KEY]));
    server.refuse_after(20, 401, "invalid_api_key");
    let ended = cluster.run_in(&folder, &COMPILE);
    assert_stopped(&folder, &ended, 1);
    ended
        .with(1)
        .saying("lm teacher: the key in LM_ACCOUNTS_KEY was refused after ");
    let status = cluster.status(&folder).unwrap();
    assert!(
        status["stopped"].as_str().unwrap().contains("LM_ACCOUNTS_KEY"),
        "{status}"
    );
    // Workers outlive it: their gates find out that the key is accepted again.
    server.accept();
    cluster.run_in(&folder, &COMPILE).with(0);
    same(&folder.result("run"), &reference.result("run"));
    for worker in workers {
        worker.signal("TERM");
        worker.end().with(0);
    }
}

#[test]
fn status_answers_while_rabbitmq_is_away_and_shows_each_worker() {
    let Some(mut cluster) = Cluster::start_apart() else {
        return;
    };
    let server = LmServer::start("clean");
    let (folder, _) = job(&server, EXAMPLES);
    server.hold_from(EXAMPLES / 2);
    let _worker = cluster.worker(&["--concurrency", "4"]);
    let running = cluster.start_in(&folder, &COMPILE);
    server.until_held(4);
    let shown = until("the worker's LM in its heartbeat", || {
        let shown = cluster.run_in(&folder, &["status", "run"]).with(0).stdout;
        shown.contains("answers/min").then_some(shown)
    });
    assert!(shown.contains("heartbeat "), "{shown}");
    cluster.rabbitmq.as_mut().unwrap().kill_9();
    let ended = cluster
        .run_in(&folder, &["status", "run"])
        .with(0)
        .saying("the queues are unknown");
    assert!(ended.stdout.contains("answers/min"), "{}", ended.stdout);
    until("the coordinator to name what it waits for", || {
        let shown = cluster.run_in(&folder, &["status", "run"]).with(0).stdout;
        shown.contains("waiting for RabbitMQ").then_some(())
    });
    let events = folder.read("run/events.jsonl");
    assert!(
        events.contains(r#""event":"service_away","service":"rabbitmq""#),
        "{events}"
    );
    assert!(events.contains(r#""event":"worker_joined""#), "{events}");
    running.signal("KILL");
    running.end();
}
