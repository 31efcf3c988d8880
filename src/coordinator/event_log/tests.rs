//! Decisions from heartbeats: which events and rates are recorded.

use super::*;
use crate::coordination::{Heartbeat, Process, WorkerInfo};
use crate::coordinator::workers::Workers;
use crate::lm::{ClosedAccount, ClosedCause, LmState, LmStatus};
use crate::metrics::Service;
use rates::RunRates;
use serde_json::{Value, json};
use service_watch::ServiceOutage;
use std::time::Duration;
use tokio::time::Instant;

const RUN: RunRates = RunRates {
    ended: 10,
    failed: 0,
    rate: 1.234_567,
};

fn status() -> LmStatus {
    LmStatus {
        model: "openai/m".to_owned(),
        address: "http://127.0.0.1:8000/v1".to_owned(),
        key_variable: Some("KEY".to_owned()),
        state: LmState::Open,
        answered: 0,
        throttled: 0,
        in_flight: 8,
        waiting: 0,
        answers_per_min: 600,
        limit_per_min: None,
        in_flight_limit: None,
        latency_ms: Some(250),
        last_error: None,
        last_error_names_remedy: false,
        last_error_secs: None,
    }
}

/// A heartbeat of a process with this pid.
fn heartbeat(pid: u32, lms: Vec<LmStatus>) -> Heartbeat {
    Heartbeat {
        worker: WorkerInfo {
            process: Process {
                id: format!("worker-{pid}"),
                host: "host".to_owned(),
                pid,
                bsft: String::new(),
            },
            lanes: vec!["bootstrap".to_owned()],
            concurrency: 16,
            trainers: Vec::new(),
            lms,
            refusal: None,
        },
        age_secs: 0,
    }
}

/// Applies heartbeats, each a second after the one before.
struct Watched {
    changes: HeartbeatChanges,
    now: Instant,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            changes: HeartbeatChanges::new(Workers::Elsewhere),
            now: Instant::now(),
        }
    }

    /// The lines, without those of workers.
    fn after(&mut self, heartbeats: &[Heartbeat]) -> Vec<Value> {
        self.now += Duration::from_secs(1);
        let events = self.changes.update(heartbeats, |_| true, RUN, self.now);
        events.iter().map(|event| json!(event)).collect()
    }

    /// The names of the lines.
    fn names_after(&mut self, status: LmStatus) -> Vec<String> {
        let lines = self.after(&[heartbeat(1, vec![status])]);
        let names = lines.iter().map(|line| line["event"].as_str().expect("a name"));
        names.map(str::to_owned).collect()
    }
}

#[test]
fn workers_join_and_go() {
    let mut watched = Watched::new();
    let worker =
        json!({"worker": "worker-1", "host": "host", "pid": 1, "lanes": ["bootstrap"], "concurrency": 16});
    let line = |event: &str| {
        let mut line = json!({"event": event});
        line.as_object_mut()
            .expect("an object")
            .extend(worker.as_object().expect("an object").clone());
        line
    };
    assert_eq!(watched.after(&[heartbeat(1, vec![])]), [line("worker_joined")]);
    assert_eq!(watched.after(&[heartbeat(1, vec![])]), Vec::<Value>::new());
    assert_eq!(watched.after(&[]), [line("worker_gone")]);
}

#[test]
fn outage_is_recorded_once_with_its_length() {
    let mut watched = Watched::new();
    watched.names_after(status());
    let away = |secs| LmStatus {
        state: LmState::Away { secs },
        last_error: Some("connection refused".to_owned()),
        ..status()
    };
    let lines = watched.after(&[heartbeat(1, vec![away(2)])]);
    let lm = json!({
        "event": "lm_away", "model": "openai/m", "address": "http://127.0.0.1:8000/v1", "key_variable": "KEY",
        "error": "connection refused",
    });
    assert_eq!(lines, [lm]);
    assert_eq!(watched.names_after(away(40)), Vec::<String>::new());
    let lines = watched.after(&[heartbeat(1, vec![status()])]);
    assert_eq!(
        (&lines[0]["event"], &lines[0]["secs"]),
        (&json!("lm_back"), &json!(40))
    );
}

#[test]
fn account_is_closed_when_it_is_on_every_worker() {
    let closed = LmStatus {
        state: LmState::Closed(ClosedAccount {
            cause: ClosedCause::Key,
            status: 401,
            message: "invalid key".to_owned(),
            reset_secs: None,
        }),
        ..status()
    };
    let mut watched = Watched::new();
    let one = |watched: &mut Watched, a: &LmStatus, b: &LmStatus| {
        watched.after(&[heartbeat(1, vec![a.clone()]), heartbeat(2, vec![b.clone()])])
    };
    one(&mut watched, &status(), &status());
    assert_eq!(one(&mut watched, &closed, &status()), Vec::<Value>::new());
    let lines = one(&mut watched, &closed, &closed);
    assert_eq!(lines[0]["event"], "account_closed");
    assert_eq!(
        (&lines[0]["cause"], &lines[0]["status"]),
        (&json!("key"), &json!(401))
    );
    let lines = one(&mut watched, &status(), &closed);
    assert_eq!(lines[0]["event"], "account_open");
}

#[test]
fn limit_is_recorded_when_it_has_changed_by_a_tenth() {
    let limited = |limit_per_min| LmStatus {
        limit_per_min,
        ..status()
    };
    let mut watched = Watched::new();
    watched.names_after(status());
    assert_eq!(watched.names_after(limited(Some(1000))), ["limit", "rates"]);
    assert_eq!(watched.names_after(limited(Some(1090))), Vec::<String>::new());
    assert_eq!(watched.names_after(limited(Some(1200))), ["limit", "rates"]);
    assert_eq!(watched.names_after(limited(None)), ["limit", "rates"]);
}

#[test]
fn rates_count_answers_since_the_first_heartbeat_of_a_process() {
    let counted = |answered, throttled| LmStatus {
        answered,
        throttled,
        ..status()
    };
    let mut watched = Watched::new();
    let lines = watched.after(&[heartbeat(1, vec![counted(500, 7)])]);
    let rates = json!({
        "event": "rates", "ended": 10, "failed": 0, "rate": 1.23,
        "lms": [{
            "model": "openai/m", "address": "http://127.0.0.1:8000/v1", "key_variable": "KEY", "answers": 0, "throttled": 0,
            "answers_per_min": 600, "in_flight": 8, "waiting": 0, "limit_per_min": null, "latency_ms": 250,
        }],
    });
    assert_eq!(lines[1], rates);
    // A second worker of the same process shares its gates; a worker of another process has its own.
    let both = [
        heartbeat(1, vec![counted(530, 8)]),
        heartbeat(1, vec![counted(530, 8)]),
        heartbeat(2, vec![]),
    ];
    let lines = watched.after(&both);
    let lm = &lines.last().expect("rates")["lms"][0];
    assert_eq!((&lm["answers"], &lm["throttled"]), (&json!(30), &json!(1)));
    let both = [
        heartbeat(1, vec![counted(530, 8)]),
        heartbeat(2, vec![counted(12, 3)]),
    ];
    let lines = watched.after(&both);
    let lm = &lines.last().expect("rates")["lms"][0];
    assert_eq!((&lm["answers"], &lm["throttled"]), (&json!(42), &json!(4)));
}

#[test]
fn steady_rates_are_recorded_once_a_minute() {
    let mut watched = Watched::new();
    watched.names_after(status());
    let steady = |second| LmStatus {
        answered: 10 * second,
        in_flight: 7 + second % 3,
        answers_per_min: 590 + second % 20,
        ..status()
    };
    let recorded = (1..=180).filter(|second| !watched.names_after(steady(*second)).is_empty());
    assert_eq!(recorded.collect::<Vec<u64>>(), [60, 120, 180]);
    let refused = LmStatus {
        throttled: 1,
        ..steady(181)
    };
    assert_eq!(watched.names_after(refused), ["rates"]);
}

#[test]
fn last_rates_are_recorded_at_the_end() {
    let mut watched = Watched::new();
    watched.names_after(status());
    assert_eq!(watched.changes.finish(RUN), None);
    watched.names_after(LmStatus {
        answered: 5,
        ..status()
    });
    let last = watched.changes.finish(RUN).map(|event| json!(event));
    assert_eq!(last.expect("rates")["lms"][0]["answers"], 5);
}

#[test]
fn outage_of_a_service_is_recorded_at_its_ends() {
    let (mut redis, start) = (ServiceOutage::new(Service::Redis), Instant::now());
    let mut after = |answers, secs| {
        let event = redis.update(answers, start + Duration::from_secs(secs));
        event.map(|event| json!(event))
    };
    assert_eq!(after(true, 0), None);
    assert_eq!(
        after(false, 2),
        Some(json!({"event": "service_away", "service": "redis"}))
    );
    assert_eq!(after(false, 4), None);
    let back = json!({"event": "service_back", "service": "redis", "secs": 5});
    assert_eq!(after(true, 7), Some(back));
    assert_eq!(after(true, 9), None);
}

#[tokio::test(start_paused = true)]
async fn services_away_are_named_until_they_are_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = EventLog::open(&RunDir::create(folder.path()).expect("a folder")).expect("a log");
    let mut rabbitmq = ServiceOutage::new(Service::RabbitMq);
    let mut after = |answers| {
        let event = rabbitmq.update(answers, Instant::now());
        event.iter().for_each(|event| log.record(event));
    };
    after(false);
    tokio::time::advance(Duration::from_secs(42)).await;
    assert_eq!(log.services_away(), ["waiting for RabbitMQ (42s)"]);
    after(true);
    assert_eq!(log.services_away(), Vec::<String>::new());
}

#[test]
fn event_lines_have_the_time_and_survive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = RunDir::create(folder.path()).expect("a folder");
    for phase in ["bootstrap", "train"] {
        let log = EventLog::open(&dir).expect("a log");
        log.record(&Event::Phase { phase });
        // This process has not started the run.
        log.record(&Event::Stopped { exit: 2, why: None });
    }
    let text = std::fs::read_to_string(dir.events()).expect("a file");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let phases: Vec<&Value> = lines.iter().map(|line| &line["phase"]).collect();
    assert_eq!(phases, ["bootstrap", "train"]);
    assert!(lines[0]["at"].as_f64() <= lines[1]["at"].as_f64() && lines[0]["at"].as_f64() > Some(1.7e9));
}
