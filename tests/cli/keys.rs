//! Which keys a worker of a cluster sends, and where: its own configuration decides, not the job.

use super::cluster::Cluster;
use crate::support::{Ended, Folder, JobFile, LmServer};
use bsft::broker::Queue;
use std::io::Read as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// Variables of the workers that no job may send anywhere.
const SECRETS: [(&str, &str); 3] = [
    ("AWS_SECRET_ACCESS_KEY", "aws-secret-of-the-worker"),
    ("OPENAI_API_KEY", "sk-of-the-worker"),
    ("INTERNAL_TOKEN", "token-of-the-worker"),
];

/// A server that keeps what it gets and answers nothing.
struct Sink {
    base: String,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Sink {
    fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Sink {
            base: format!("http://{}/v1", listener.local_addr().unwrap()),
            seen: Arc::default(),
        };
        let seen = Arc::clone(&sink.seen);
        // Ends with the test's process.
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut bytes = [0; 4096];
                let length = stream.read(&mut bytes).unwrap_or(0);
                seen.lock().unwrap().extend_from_slice(&bytes[..length]);
            }
        });
        sink
    }

    #[track_caller]
    fn assert_unused(&self) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.is_empty(), "{}", String::from_utf8_lossy(&seen));
    }
}

fn job(lm: &str, finetune: &str) -> Folder {
    let folder = Folder::new();
    let mut job = JobFile::with_teacher(lm);
    if !finetune.is_empty() {
        job.finetune = finetune.to_owned();
    }
    job.write(&folder, 20);
    folder
}

#[track_caller]
fn assert_no_secret(ended: &Ended, folder: &Folder) {
    for (_, secret) in SECRETS {
        assert!(!ended.stderr.contains(secret), "{}", ended.stderr);
        for (name, bytes) in folder.files() {
            assert!(
                !bytes
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes()),
                "{secret} is in {name}"
            );
        }
    }
}

#[test]
fn worker_sends_no_variable_to_an_address_that_the_job_chooses() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = Sink::start();
    let _worker = cluster.worker_with(&[], &SECRETS);
    let names = SECRETS.map(|(name, _)| name);
    for name in names
        .into_iter()
        .chain(["BSFT_AMQP_URL", "BSFT_REDIS_URL", "PATH"])
    {
        let lm = format!(
            "model = \"openai/x\"\napi_base = \"{}\"\napi_key_env = \"{name}\"",
            sink.base
        );
        let folder = job(&lm, "");
        let ended = cluster.run_in(&folder, &COMPILE).with(1);
        let ended = ended.saying("cannot take tasks: lm `teacher`: ").saying(name);
        assert_no_secret(&ended, &folder);
    }
    sink.assert_unused();
}

#[test]
fn worker_sends_no_variable_to_a_service_that_the_job_chooses() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = Sink::start();
    let _worker = cluster.worker_with(&[], &SECRETS);
    let finetune = format!(
        "provider = \"openai\"\nmodel = \"openai/gpt-test\"\napi_base = \"{}\"\napi_key_env = \"INTERNAL_TOKEN\"",
        sink.base
    );
    let folder = job("model = \"simulated/x\"", &finetune);
    let ended = cluster.run_in(&folder, &COMPILE).with(1);
    let ended = ended.saying("[key.INTERNAL_TOKEN] with to = [");
    assert_no_secret(&ended, &folder);
    sink.assert_unused();
}

#[test]
fn workers_of_a_compile_on_a_cluster_are_no_exception() {
    let Some(cluster) = Cluster::start() else { return };
    let sink = Sink::start();
    let lm = format!(
        "model = \"openai/x\"\napi_base = \"{}\"\napi_key_env = \"INTERNAL_TOKEN\"",
        sink.base
    );
    let folder = job(&lm, "");
    let arguments = [&COMPILE[..], &["--workers", "1"]].concat();
    let ended = cluster.run_in(&folder, &arguments).with(2);
    ended.saying("[key.INTERNAL_TOKEN] with to = [");
    sink.assert_unused();
}

#[test]
fn key_of_the_keys_file_is_read_from_its_own_variable_and_sent() {
    let Some(cluster) = Cluster::start() else { return };
    let server = LmServer::start("clean");
    let lm = format!(
        "model = \"openai/x\"\napi_base = \"{}\"\napi_key_env = \"TEAM_KEY\"",
        server.base()
    );
    let folder = job(&lm, "");
    let origin = server.base().trim_end_matches("/v1").to_owned();
    folder.write(
        "keys.toml",
        format!("[key.TEAM_KEY]\nvariable = \"KEY_OF_TEAM_A\"\nto = [\"{origin}\"]\n"),
    );
    folder.write("key", "sk-of-team-a\n");
    let (keys, key) = (folder.path("keys.toml"), folder.path("key"));
    let _worker = cluster.worker_with(
        &["--keys", keys.to_str().unwrap()],
        &[("KEY_OF_TEAM_A_FILE", key.to_str().unwrap())],
    );
    cluster.run_in(&folder, &COMPILE).with(0);
}

#[test]
fn keys_file_with_problems_is_bad_usage_of_worker_and_compile() {
    let folder = job("model = \"simulated/x\"", "");
    folder.write(
        "keys.toml",
        "[key.MY_KEY]\n[key.BSFT_AMQP_URL]\nto = [\"https://h\"]\n",
    );
    let arguments = [&COMPILE[..], &["--keys", "keys.toml"]].concat();
    let ended = folder.run(&arguments).with(2);
    ended
        .saying("keys.toml:1: [key.MY_KEY] does not list the servers")
        .saying("BSFT_AMQP_URL is never sent");
}

#[test]
fn message_of_a_preflight_names_neither_address_nor_key_nor_settings() {
    let Some(cluster) = Cluster::start() else { return };
    let finetune = "provider = \"openai\"\nmodel = \"openai/gpt-test\"\napi_base = \"http://service.example/v1\"\n\
                    api_key_env = \"SERVICE_KEY\"\ntrain = { n_epochs = 7 }";
    let folder = job("model = \"simulated/x\"", finetune);
    let mut running = cluster.start_in(&folder, &COMPILE);
    let body = cluster.take(&Queue::Finetune, 1).remove(0);
    let body = String::from_utf8(body).unwrap();
    running.kill();
    assert!(body.contains("\"preflight\""), "{body}");
    for part in [
        "service.example",
        "SERVICE_KEY",
        "gpt-test",
        "n_epochs",
        "provider",
    ] {
        assert!(!body.contains(part), "{part} is in {body}");
    }
}
