//! Fine-tune jobs at a service with OpenAI's protocol: whatever happens, one job is made.

use super::EXAMPLES;
use crate::cli::cluster::Cluster;
use crate::support::openai_server::OpenaiServer;
use crate::support::{Folder, JobFile, LmServer, until};
use serde_json::Value;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// A job that ends after `end_jobs`.
const HELD: [&str; 2] = ["walk=validating_files,queued,running,succeeded", "waits"];

/// A job that never ends.
const ENDLESS: &str = "walk=queued,running";

fn job(service: &OpenaiServer, teacher: &str) -> Folder {
    let folder = Folder::new();
    let mut job = JobFile::with_teacher(teacher);
    job.metric = String::new();
    job.finetune = format!(
        "provider = \"openai\"\nmodel = \"openai/gpt-test\"\napi_base = \"{}\"\napi_key_env = \"SERVICE_KEY\"\n\
         train = {{ n_epochs = 2 }}",
        service.base()
    );
    job.write(&folder, EXAMPLES);
    folder
}

fn simulated(service: &OpenaiServer) -> Folder {
    job(service, "model = \"simulated/x\"")
}

const KEY: [(&str, &str); 1] = [("SERVICE_KEY", "sk-service-0123456789")];

fn manifest(folder: &Folder) -> Option<Value> {
    let bytes = std::fs::read(folder.path("run/run.json")).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The service has made a job and the coordinator knows which.
fn until_made(folder: &Folder) -> String {
    until("the job to be known", || {
        let id = manifest(folder)?["shards"][0]["training"].as_str()?.to_owned();
        Some(id)
    })
}

#[track_caller]
fn one_job(service: &OpenaiServer) -> Value {
    let mut state = service.state();
    assert_eq!(state.violations, Vec::<String>::new());
    assert_eq!(state.jobs.len(), 1, "{:?}", state.requests);
    state.jobs.remove(0)
}

#[track_caller]
fn compiled_with_its_model(folder: &Folder, job: &Value) {
    let student: Value = serde_json::from_str(&folder.read("run/compiled.json")).unwrap();
    for predictor in ["plan", "answer.predict"] {
        assert_eq!(
            student[predictor]["lm"]["model"], job["fine_tuned_model"],
            "{student}"
        );
    }
    for (name, bytes) in folder.files() {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(KEY[0].1), "the key is in {name}");
    }
}

#[test]
fn faulty_create_leaves_one_fine_tune_job() {
    for switch in [
        "lose-create",
        "fail-create",
        "ignore-filter",
        "drop-metadata",
        "lose-upload",
    ] {
        let service = OpenaiServer::start(&[switch, "walk=succeeded"]);
        let folder = simulated(&service);
        let ended = folder.start_with(&COMPILE, &KEY).end();
        assert_eq!(ended.code, Some(0), "{switch}: {}", ended.stderr);
        compiled_with_its_model(&folder, &one_job(&service));
        assert!(service.state().files.is_empty(), "{switch}: rows are left there");
    }
}

#[test]
fn unknown_job_statuses_are_not_terminal() {
    let service = OpenaiServer::start(&["walk=warming_up,pausing,paused,succeeded"]);
    let folder = simulated(&service);
    folder
        .start_with(&COMPILE, &KEY)
        .end()
        .with(0)
        .saying("warming_up");
    compiled_with_its_model(&folder, &one_job(&service));
}

#[test]
fn killed_compile_resumes_its_fine_tune_job() {
    let service = OpenaiServer::start(&HELD);
    let folder = simulated(&service);
    let mut running = folder.start_with(&COMPILE, &KEY);
    let id = until_made(&folder);
    running.kill();
    running.end();
    // Also where nothing is left of it but the files.
    std::fs::remove_file(folder.path("run/state.redb")).unwrap();
    service.end_jobs();
    folder.start_with(&COMPILE, &KEY).end().with(0);
    let job = one_job(&service);
    assert_eq!(job["id"], id);
    compiled_with_its_model(&folder, &job);
}

#[test]
fn fine_tune_job_survives_its_worker_and_redis_flushall() {
    let Some(cluster) = Cluster::start() else { return };
    let service = OpenaiServer::start(&HELD);
    let folder = simulated(&service);
    let keys = folder.keys_file(&[("SERVICE_KEY", &service.base())]);
    let mut worker = cluster.worker_with(&["--keys", &keys], &KEY);
    let running = cluster.start_in(&folder, &COMPILE);
    let id = until_made(&folder);
    worker.kill();
    cluster.redis.ask(&["FLUSHALL"]);
    let _next = cluster.worker_with(&["--keys", &keys], &KEY);
    service.end_jobs();
    running.end().with(0);
    let job = one_job(&service);
    assert_eq!(job["id"], id);
    compiled_with_its_model(&folder, &job);
}

#[test]
fn retry_repeats_a_failed_fine_tune_job_and_compile_does_not() {
    let service = OpenaiServer::start(&["walk=running,failed", "error=object"]);
    let folder = simulated(&service);
    let words = |ended: crate::support::Ended| {
        let ended = ended.with(1).saying("fine-tune job of lm student");
        ended.saying("bsft retry run");
    };
    words(folder.start_with(&COMPILE, &KEY).end());
    assert_eq!(service.state().jobs.len(), 1);
    words(folder.start_with(&COMPILE, &KEY).end());
    assert_eq!(service.state().jobs.len(), 1, "compile alone starts no other");
    words(folder.start_with(&["retry", "run"], &KEY).end());
    assert_eq!(service.state().jobs.len(), 2);
}

#[test]
fn cancel_cancels_the_fine_tune_job_and_compile_creates_another() {
    let service = OpenaiServer::start(&[ENDLESS]);
    let folder = simulated(&service);
    let running = folder.start_with(&COMPILE, &KEY);
    until_made(&folder);
    folder.run(&["cancel", "run"]).with(0);
    running.end().with(3).saying("cancelled");
    assert_eq!(one_job(&service)["status"], "cancelled");
    let mut running = folder.start_with(&COMPILE, &KEY);
    until("another job", || (service.state().jobs.len() == 2).then_some(()));
    running.kill();
    running.end();
}

#[test]
fn cancel_stops_the_job_of_a_killed_compile_if_its_key_is_set() {
    for is_known in [true, false] {
        let service = OpenaiServer::start(&[ENDLESS]);
        let folder = simulated(&service);
        let mut running = folder.start_with(&COMPILE, &KEY);
        until_made(&folder);
        running.kill();
        running.end();
        if !is_known {
            // Killed a moment earlier, it would not have written the id down.
            let mut manifest = manifest(&folder).unwrap();
            for training in manifest["trainings"].as_object_mut().unwrap().values_mut() {
                training["id"] = Value::Null;
            }
            folder.write("run/run.json", manifest.to_string());
        }
        let ended = folder.run(&["cancel", "run"]).with(1);
        ended.saying("SERVICE_KEY is not set").saying("may still run");
        assert_ne!(one_job(&service)["status"], "cancelled");

        let ended = folder.start_with(&["cancel", "run"], &KEY).end().with(0);
        assert!(ended.stdout.contains("1 training stopped"), "{}", ended.stdout);
        assert_eq!(one_job(&service)["status"], "cancelled");
        assert!(service.state().files.is_empty(), "rows are left there");
        let shard = &manifest(&folder).unwrap()["shards"][0];
        assert_eq!(shard["failure"], "cancelled");

        let mut running = folder.start_with(&COMPILE, &KEY);
        until("another job", || (service.state().jobs.len() == 2).then_some(()));
        running.kill();
        running.end();
    }
}

#[test]
fn compile_with_a_bad_service_fails_before_any_lm_call() {
    let lm = LmServer::start("clean");
    let teacher = format!("model = \"openai/teacher\"\napi_base = \"{}\"", lm.base());
    type Case<'a> = (&'a [&'a str], &'a str, &'a [(&'a str, &'a str)], &'a str);
    let cases: [Case<'_>; 3] = [
        (&[], "gpt-test", &[], "SERVICE_KEY is not set"),
        (&["key=another"], "gpt-test", &KEY, "401"),
        (&["shutdown=2020-01-01"], "gpt-test", &KEY, "2020-01-01"),
    ];
    for (switches, model, variables, words) in cases {
        let service = OpenaiServer::start(switches);
        let folder = job(&service, &teacher);
        let text = folder
            .read("job.toml")
            .replace("openai/gpt-test", &format!("openai/{model}"));
        folder.write("job.toml", text);
        let ended = folder.start_with(&COMPILE, variables).end();
        assert_eq!(ended.code, Some(1), "{words}: {}", ended.stderr);
        ended.saying(words);
        assert_eq!(lm.count().requests, 0, "{words}");
        assert_eq!(service.state().jobs.len(), 0);
    }
}
