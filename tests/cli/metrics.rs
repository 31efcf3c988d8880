//! `--metrics-addr`: the metrics, and what `/healthz` and `/readyz` return while services come and go.

use crate::cli::cluster::Cluster;
use crate::support::rabbitmq::{self, RabbitMqServer};
use crate::support::redis_server::{self, RedisServer};
use crate::support::{Folder, JobFile, ReservedPort, Running, clean, until};
use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

const EXAMPLES: usize = 60;

const COMPILE: [&str; 4] = ["compile", "job.toml", "--out", "run"];

/// The server of a process, found by the address that the process logs.
pub(crate) struct Watched {
    address: String,
}

/// Every sample of a scrape, by name and labels as they are written.
pub(crate) struct Scrape(HashMap<String, f64>);

impl Watched {
    pub(crate) fn new(running: &Running) -> Watched {
        let address = until("the log to say where metrics are", || {
            let log = running.said();
            let (_, rest) = log.split_once("metrics at http://")?;
            rest.split_once("/metrics").map(|(address, _)| address.to_owned())
        });
        Watched { address }
    }

    /// Status and body of what it answers to a GET.
    pub(crate) fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        (status, body.to_owned())
    }

    pub(crate) fn scrape(&self) -> Scrape {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Scrape(samples.collect())
    }

    fn until_ready(&self) {
        until("it to be ready", || (self.get("/readyz").0 == 200).then_some(()));
    }

    /// Waits until it is not ready for a reason that begins so; gives all reasons.
    pub(crate) fn until_not_ready(&self, reason: &str) -> String {
        until(&format!("it not to be ready: {reason}"), || {
            let (status, reasons) = self.get("/readyz");
            let is_it = reasons.lines().any(|line| line.starts_with(reason));
            (status == 503 && is_it).then_some(reasons)
        })
    }

    fn is_alive(&self) -> bool {
        self.get("/healthz") == (200, "ok\n".to_owned())
    }
}

impl Scrape {
    /// The sample of that name and labels, such as `x{a="b"}`; none: it is not there.
    pub(crate) fn get(&self, sample: &str) -> Option<f64> {
        self.0.get(sample).copied()
    }

    /// All samples of that name together.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let of_it = (self.0.iter()).filter(|(sample, _)| sample.split('{').next() == Some(name));
        of_it.map(|(_, value)| value).sum()
    }
}

/// A worker on these services, watched on a free port.
fn worker(amqp_url: &str, redis_url: &str, arguments: &[&str]) -> (Running, Watched) {
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_bsft-worker")));
    command.args(arguments).env("BSFT_METRICS_ADDR", "0");
    command.args(["--amqp-url", amqp_url, "--redis-url", redis_url]);
    let running = Running::start(command);
    let watched = Watched::new(&running);
    (running, watched)
}

#[test]
fn bad_metrics_addr_is_bad_usage() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    for address in ["localhost", "127.0.0.1:99999", "http://localhost:80", "::1:80"] {
        let ended = folder.run(&["compile", "job.toml", "--metrics-addr", address]);
        ended.with(2).saying(address).saying("HOST:PORT");
    }
    let by_variable = folder.start_with(&COMPILE, &[("BSFT_METRICS_ADDR", "nowhere")]);
    by_variable.end().with(2).saying("--metrics-addr \"nowhere\"");
    folder
        .start_with(&COMPILE, &[("BSFT_METRICS_ADDR", "")])
        .end()
        .with(0);
}

#[test]
fn metrics_addr_in_use_is_an_error_before_the_run_starts() {
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let ended = folder.run(&[&COMPILE[..], &["--metrics-addr", &port]].concat());
    ended
        .with(1)
        .saying(&format!("127.0.0.1:{port}"))
        .saying("in use");
    assert!(!folder.path("run").exists());
}

#[test]
fn alive_file_is_touched_while_the_process_works() {
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = |scheme: &str| format!("{scheme}://127.0.0.1:{}", silent.local_addr().unwrap().port());
    let folder = Folder::new();
    let file = folder.path("alive");
    let path = file.to_str().unwrap();
    let (running, _watched) = worker(&url("amqp"), &url("redis"), &["--alive-file", path]);
    let touched = || std::fs::metadata(&file).and_then(|found| found.modified()).ok();
    let first = until("the file", touched);
    until("the file to be touched again", || {
        touched().filter(|last| *last > first)
    });
    drop(running);
    JobFile::with_teacher("model = \"simulated/x\"").write(&folder, 3);
    let nowhere = [&COMPILE[..], &["--alive-file", "no/alive"]].concat();
    folder
        .run(&nowhere)
        .with(1)
        .saying("--alive-file no/alive: No such file");
}

#[test]
fn worker_waiting_for_rabbitmq_is_alive_and_not_ready() {
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let amqp_url = format!("amqp://u:hidden@{}", silent.local_addr().unwrap());
    let absent = ReservedPort::new();
    let redis_url = format!("redis://u:hidden@127.0.0.1:{}", absent.number());
    let (_running, watched) = worker(&amqp_url, &redis_url, &[]);
    let reasons = watched.until_not_ready("rabbitmq: not connected yet");
    assert_eq!(
        reasons,
        "rabbitmq: not connected yet\nredis: not connected yet\nworker: not started yet\n"
    );
    assert!(watched.is_alive());
    let scrape = watched.scrape();
    assert_eq!(scrape.get("bsft_service_up{service=\"rabbitmq\"}"), Some(0.0));
    assert_eq!(scrape.sum("bsft_build_info"), 1.0);
    assert_eq!(watched.get("/").0, 404);
}

#[test]
fn worker_metrics_count_tasks_and_report_a_missing_service() {
    if !rabbitmq::installed() || !redis_server::is_installed() {
        return;
    }
    let (mut rabbitmq, mut redis) = (RabbitMqServer::start("[]."), RedisServer::start(&[]));
    let urls = (rabbitmq.url(), redis.url());
    let (_running, watched) = worker(&urls.0, &urls.1, &["--concurrency", "8"]);
    watched.until_ready();

    let folder = Folder::new();
    let teacher = "model = \"simulated/x\"\nprice = { input = 1.0, output = 2.0 }\nsimulate = { malformed_rate = 0.2, error_rate = 0.3 }";
    JobFile::with_teacher(teacher).write(&folder, EXAMPLES);
    let services = [("BSFT_AMQP_URL", &*urls.0), ("BSFT_REDIS_URL", &*urls.1)];
    folder.start_with(&COMPILE, &services).end().with(0);
    let manifest: serde_json::Value = serde_json::from_str(&folder.read("run/run.json")).unwrap();
    let tally = &manifest["tally"];
    let number = |value: &serde_json::Value| value.as_f64().unwrap();
    let ended =
        |outcome: &str| format!("bsft_worker_tasks_total{{lane=\"bootstrap\",outcome=\"{outcome}\"}}");
    // A task is stored before it is counted.
    let durations = "bsft_worker_task_duration_seconds_count{lane=\"bootstrap\"}";
    let trained = "bsft_worker_tasks_total{lane=\"finetune\",outcome=\"trained\"}";
    let scrape = until("every task to be counted", || {
        let scrape = watched.scrape();
        let is_counted = scrape.get(durations) == Some(EXAMPLES as f64) && scrape.get(trained) == Some(1.0);
        is_counted.then_some(scrape)
    });
    let kept = scrape.get(&ended("kept")).unwrap();
    assert_eq!(kept, number(&tally["kept"]));
    assert_eq!(
        kept + scrape.get(&ended("dropped")).unwrap(),
        number(&tally["traces"])
    );
    let failed: f64 = tally["failures"].as_object().unwrap().values().map(number).sum();
    assert_eq!(scrape.get(&ended("failed")), Some(failed));
    assert_eq!(scrape.sum("bsft_worker_failures_total"), failed);
    let spent = scrape.sum("bsft_lm_cost_dollars_total");
    assert!(
        (spent - number(&manifest["cost"]["teacher"])).abs() < 1e-9,
        "{spent}"
    );
    let requests = scrape.sum("bsft_lm_requests_total");
    let ok = scrape.get("bsft_lm_requests_total{lm=\"teacher\",model=\"simulated/x\",status=\"200\"}");
    assert_eq!(requests - scrape.sum("bsft_lm_retries_total"), ok.unwrap());
    assert!(scrape.sum("bsft_lm_retries_total") > 0.0);
    assert_eq!(scrape.sum("bsft_lm_request_duration_seconds_count"), requests);
    assert_eq!(scrape.get("bsft_worker_concurrency"), Some(8.0));
    assert_eq!(scrape.sum("bsft_lm_requests_in_flight"), 0.0);
    assert_eq!(scrape.get("bsft_run_tasks"), None, "it is the coordinator's");

    rabbitmq.kill_9();
    let reasons = watched.until_not_ready("rabbitmq: ");
    assert!(
        !reasons.contains("guest:guest") && !reasons.contains("redis:"),
        "{reasons}"
    );
    assert!(watched.is_alive());
    assert_eq!(
        watched.scrape().get("bsft_service_up{service=\"rabbitmq\"}"),
        Some(0.0)
    );
    rabbitmq.start_again();
    watched.until_ready();

    redis.kill();
    watched.until_not_ready("redis: ");
    assert!(watched.is_alive());
    redis.start_again();
    watched.until_ready();
    assert_eq!(
        watched.scrape().get("bsft_service_up{service=\"redis\"}"),
        Some(1.0)
    );
}

#[test]
fn draining_worker_is_not_ready() {
    let Some(cluster) = Cluster::start() else { return };
    let running = cluster.worker_with(&["--drain", "3600"], &[("BSFT_METRICS_ADDR", "0")]);
    let watched = Watched::new(&running);
    let folder = Folder::new();
    JobFile::with_teacher("model = \"simulated/x\"\nsimulate = { latency_ms = 3600000 }").write(&folder, 3);
    let compile = cluster.start_in(&folder, &[&COMPILE[..], &["--metrics-addr", "0"]].concat());
    until("the call of the first example to be in flight", || {
        (watched.scrape().sum("bsft_lm_requests_in_flight") == 1.0).then_some(())
    });
    watched.until_ready();

    let coordinator = Watched::new(&compile);
    coordinator.until_ready();
    until("the coordinator to see its worker", || {
        let scrape = coordinator.scrape();
        let tasks = scrape.get("bsft_run_tasks_outstanding")? == 1.0 && scrape.get("bsft_run_tasks")? == 3.0;
        (tasks && scrape.get("bsft_run_workers")? == 1.0).then_some(())
    });
    let scrape = coordinator.scrape();
    assert_eq!(
        scrape.get("bsft_queue_dead_letters{lane=\"bootstrap\"}"),
        Some(0.0)
    );
    assert!(scrape.get("bsft_run_dir_available_bytes").unwrap() > 0.0);
    assert_eq!(scrape.sum("bsft_worker_concurrency"), 0.0, "it has no workers");

    running.signal("TERM");
    assert_eq!(watched.until_not_ready("draining"), "draining\n");
    assert!(watched.is_alive());
    running.signal("TERM");
    running.end().with(0);
}
