//! The server exports the counted values, and answers in time.

use super::*;
use crate::shutdown::Shutdown;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn has(metrics: &Metrics, line: &str) -> bool {
    let text = metrics.text().expect("it is encoded");
    text.lines().any(|known| known == line)
}

/// Counts every metric once.
fn full() -> Metrics {
    let metrics = Metrics::new();
    let price = DollarsPerMillion {
        prompt: 2.0,
        completion: 8.0,
    };
    let lm = metrics.lm("teacher", "openai/x", Some(price));
    lm.request().answered(200);
    lm.spent(500_000, 250_000);
    metrics.worker().failed("lm");
    let run = &metrics.run;
    run.info("r", "job");
    run.phase("train", &["bootstrap", "train"]);
    run.tasks(
        3,
        Done {
            kept: 1,
            dropped: 2,
            failed: 0,
        },
    );
    run.outstanding(0);
    run.tokens("teacher", 1, 2);
    run.cost(Some(0.5));
    run.unsettled("teacher", 1, 100);
    metrics.account.export(&AccountReading {
        limit_per_sec: Some(2.0),
        closed: Some("key"),
        latency_secs: Some(0.25),
        ..account(3)
    });
    run.workers(Some(1));
    run.available(Some(1));
    run.messages("bootstrap", Some(0));
    run.dead_letters("bootstrap", Some(0));
    run.jobs(JobCounts::default());
    let standing = TrainingMetrics {
        ratio: Some(0.25),
        step: Some(5),
        loss: Some(1.5),
    };
    run.training("student", standing);
    metrics.needs(Service::Redis);
    metrics.waits(Service::Redis).waited();
    metrics
}

fn account(throttled: u64) -> AccountReading<'static> {
    AccountReading {
        model: "openai/x",
        address: "http://a",
        key: "KEY",
        throttled,
        ..AccountReading::default()
    }
}

#[test]
fn account_gauges_follow_the_state_and_refusals_are_counted_once() {
    let metrics = full();
    let of = "address=\"http://a\",key=\"KEY\",model=\"openai/x\"";
    let closed = "address=\"http://a\",cause=\"key\",key=\"KEY\",model=\"openai/x\"";
    assert!(has(&metrics, &format!("bsft_account_closed{{{closed}}} 1")));
    assert!(has(
        &metrics,
        &format!("bsft_account_limit_requests_per_second{{{of}}} 2")
    ));
    metrics.account.export(&AccountReading {
        away_secs: Some(7),
        ..account(5)
    });
    assert!(has(&metrics, &format!("bsft_account_throttles_total{{{of}}} 5")));
    assert!(has(&metrics, &format!("bsft_account_away_seconds{{{of}}} 7")));
    let text = metrics.text().expect("it is encoded");
    assert!(!text.contains("bsft_account_closed{"), "{text}");
    assert!(
        !text.contains("bsft_account_limit_requests_per_second{"),
        "{text}"
    );
}

#[test]
fn text_contains_exactly_the_metrics_of_the_table() {
    let families = full().registry.0.gather();
    let mut shown: Vec<&str> = families.iter().map(|family| family.name()).collect();
    let mut defined: Vec<&str> = names::ALL.iter().map(|metric| metric.name).collect();
    shown.sort_unstable();
    defined.sort_unstable();
    assert_eq!(shown, defined);
}

#[test]
fn spent_counts_tokens_and_their_cost_if_a_price_is_given() {
    let metrics = full();
    let of = "lm=\"teacher\",model=\"openai/x\"";
    assert!(has(
        &metrics,
        &format!("bsft_lm_tokens_total{{kind=\"prompt\",{of}}} 500000")
    ));
    assert!(has(&metrics, &format!("bsft_lm_cost_dollars_total{{{of}}} 3")));
    metrics.lm("free", "openai/y", None).spent(1, 1);
    let text = metrics.text().expect("it is encoded");
    assert!(!text.contains("bsft_lm_cost_dollars_total{lm=\"free\""), "{text}");
}

#[test]
fn request_without_an_answer_counts_with_status_none() {
    let metrics = Metrics::new();
    let lm = metrics.lm("a", "m", None);
    let in_flight = |n: u8| {
        has(
            &metrics,
            &format!("bsft_lm_requests_in_flight{{lm=\"a\",model=\"m\"}} {n}"),
        )
    };
    let mut throttled = lm.request();
    let abandoned = lm.request();
    assert!(in_flight(2));
    throttled.answered(429);
    drop((throttled, abandoned));
    assert!(in_flight(0));
    for status in ["429", "none"] {
        let line = format!("bsft_lm_requests_total{{lm=\"a\",model=\"m\",status=\"{status}\"}} 1");
        assert!(has(&metrics, &line), "{line}");
    }
    assert!(has(
        &metrics,
        "bsft_lm_request_duration_seconds_count{lm=\"a\",model=\"m\"} 2"
    ));
}

#[test]
fn text_omits_values_that_became_unknown() {
    let metrics = full();
    metrics.run.training("student", TrainingMetrics::default());
    metrics.run.cost(None);
    metrics.run.workers(None);
    let text = metrics.text().expect("it is encoded");
    for name in ["bsft_finetune_step", "bsft_run_cost_dollars", "bsft_run_workers"] {
        assert!(!text.contains(name), "{text}");
    }
}

#[test]
fn text_omits_worker_metrics_until_a_worker_starts() {
    let metrics = Metrics::new();
    assert!(!metrics.text().expect("it is encoded").contains("bsft_worker_"));
    let one = metrics.worker().starts(8);
    let other = metrics.worker().starts(8);
    assert!(has(&metrics, "bsft_worker_concurrency 16"));
    assert_eq!(metrics.workers_here(), 2);
    drop((one, other));
    assert!(has(&metrics, "bsft_worker_concurrency 0"));
}

#[test]
fn task_ended_records_a_duration_only_with_an_outcome() {
    let metrics = Metrics::new();
    let queue = &metrics.worker().bootstrap;
    for end in [TaskEnd::Kept, TaskEnd::Interrupted, TaskEnd::Refused] {
        queue.task().ended(end);
    }
    assert!(has(
        &metrics,
        "bsft_worker_task_duration_seconds_count{lane=\"bootstrap\"} 1"
    ));
    assert!(has(
        &metrics,
        "bsft_worker_tasks_total{lane=\"bootstrap\",outcome=\"interrupted\"} 1"
    ));
    assert!(has(&metrics, "bsft_worker_tasks_in_flight{lane=\"bootstrap\"} 0"));
}

struct Served {
    server: MetricsServer,
    metrics: Arc<Metrics>,
    shutdown: Shutdown,
}

fn served() -> Served {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (metrics, shutdown) = (Arc::new(Metrics::new()), Shutdown::new());
    let server = MetricsServer::start(listener, Arc::clone(&metrics), shutdown.clone()).expect("it starts");
    Served {
        server,
        metrics,
        shutdown,
    }
}

impl Served {
    /// Sends a request line and returns the whole answer.
    async fn asked(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.server.address())
            .await
            .expect("it listens");
        let request = format!("{request} HTTP/1.1\r\nHost: h\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("it answers");
        answer
    }

    async fn status(&self, request: &str) -> u16 {
        let answer = self.asked(request).await;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.unwrap_or_else(|| panic!("a status: {answer}"))
    }
}

#[tokio::test]
async fn get_metrics_returns_the_text_format() {
    let served = served();
    let answer = served.asked("GET /metrics?x=y").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-type: text/plain; version=0.0.4"),
        "{answer}"
    );
    assert!(answer.contains("\nbsft_build_info{version="), "{answer}");
}

#[tokio::test]
async fn server_rejects_unknown_paths_with_404_and_methods_with_405() {
    let served = served();
    assert_eq!(served.status("GET /").await, 404);
    assert_eq!(served.status("POST /unknown").await, 404);
    let refused = served.asked("POST /metrics").await;
    assert!(
        refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"),
        "{refused}"
    );
}

#[tokio::test]
async fn readyz_lists_each_missing_need_while_healthz_is_200() {
    let served = served();
    assert_eq!(served.status("GET /readyz").await, 200);
    served
        .metrics
        .service_answered(Service::Redis, Err("gone\naway".to_owned()));
    served.metrics.health.needs(Need::Worker);
    served.shutdown.drain();
    let answer = served.asked("GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    let (_, lines) = answer.split_once("\r\n\r\n").expect("a body");
    assert_eq!(lines, "redis: gone away\nworker: not started yet\ndraining\n");
    assert_eq!(served.status("GET /healthz").await, 200);
}

#[tokio::test]
async fn healthz_returns_200_while_other_clients_are_silent_or_broken() {
    let served = served();
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(
            TcpStream::connect(served.server.address())
                .await
                .expect("it listens"),
        );
    }
    let mut nonsense = TcpStream::connect(served.server.address())
        .await
        .expect("it listens");
    nonsense.write_all(&[0; 4096]).await.expect("it reads");
    assert_eq!(served.status("GET /healthz").await, 200);
}

#[tokio::test(start_paused = true)]
async fn client_is_answered_while_slow_ones_have_all_connections() {
    // The clock stands still while this waits: no slow client is closed for its time.
    let (stop_clock, stopped) = std::sync::mpsc::channel::<()>();
    tokio::task::spawn_blocking(move || stopped.recv());
    let served = served();
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(served.server.address())
            .await
            .expect("it listens");
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nHost:")
            .await
            .expect("it reads");
        slow.push(stream);
    }
    for _ in 0..10 {
        assert_eq!(served.status("GET /healthz").await, 200);
    }
    // The oldest made room.
    let mut answer = Vec::new();
    let _ = slow[0].read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
    drop(stop_clock);
}

#[tokio::test(start_paused = true)]
async fn server_closes_clients_that_send_no_request() {
    let served = served();
    let mut silent = TcpStream::connect(served.server.address())
        .await
        .expect("it listens");
    let mut answer = Vec::new();
    let _ = silent.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
}
