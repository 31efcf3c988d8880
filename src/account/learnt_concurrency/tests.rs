//! The limit against models of servers: the throughput that it reaches, and the requests in flight that it needs.

mod server;

use super::LearntConcurrency;
use server::{Load, Run, ServerKind, Work};

const SEEDS: std::ops::Range<u64> = 0..5;

/// At most 100 answers per second, reached with 30 requests in flight, thrashing from 256: as the server of `limited-lm`.
const KNEE: ServerKind = shared(100.0);

const fn shared(per_sec: f64) -> ServerKind {
    ServerKind::Shared {
        per_sec,
        base: 0.3,
        thrashes_from: 256.0,
    }
}

impl Load {
    /// Runs with several seeds, for `secs` seconds.
    fn runs(&self, secs: f64) -> impl Iterator<Item = Run> {
        SEEDS.map(move |seed| {
            let mut run = self.clone().start(seed);
            run.until(secs);
            run
        })
    }
}

/// Asserts that each run reaches the share `least` of the best throughput with at most `most_in_flight` requests in flight.
#[track_caller]
fn assert_used(load: &Load, best: f64, least: f64, most_in_flight: u64) {
    for run in load.runs(60.0) {
        let used = run.answers(0.0, 60.0) / 60.0 / best;
        assert!(used >= least, "{used:.3} of {load:?}\n{:?}", run.log);
        let most = run.most_in_flight;
        assert!(
            most <= most_in_flight,
            "{most} in flight of {load:?}\n{:?}",
            run.log
        );
    }
}

#[test]
fn best_throughput_is_reached_with_twice_the_knee_at_most() {
    assert_used(&Load::new(KNEE, Work::Equal, 1024), 100.0, 0.95, 60);
    // Where latencies vary, a step may be too large.
    assert_used(&Load::new(KNEE, Work::Varied(0.2), 1024), 100.0, 0.95, 66);
    let queue = ServerKind::Queue {
        places: 30.0,
        base: 0.3,
    };
    assert_used(&Load::new(queue, Work::Varied(0.2), 1024), 100.0, 0.95, 66);
}

#[test]
fn latencies_are_compared_by_the_tokens_of_the_answers() {
    assert_used(&Load::new(KNEE, Work::Tokens(2000), 1024), 100.0, 0.95, 66);
    assert_used(
        &Load::new(KNEE, Work::TokensWithoutMeaning(2000), 1024),
        100.0,
        0.95,
        60,
    );
}

#[test]
fn random_latencies_cost_little_throughput() {
    assert_used(&Load::new(KNEE, Work::Skewed(1.0), 1024), 100.0, 0.75, 128);
}

#[test]
fn server_with_few_places_gets_few_requests() {
    for places in [1.0, 4.0] {
        let queue = ServerKind::Queue { places, base: 2.0 };
        assert_used(&Load::new(queue, Work::Varied(0.2), 64), places / 2.0, 0.9, 16);
    }
}

#[test]
fn limit_grows_with_the_latency_while_throughput_grows() {
    // At the ceiling 256 / 2.28 answers per second; with 16 in flight an eighth of that.
    let batch = ServerKind::Batch {
        base: 1.0,
        gentle: 200.0,
    };
    for run in Load::new(batch, Work::Tokens(500), 256).runs(60.0) {
        let used = run.answers(30.0, 60.0) / 30.0 / (256.0 / 2.28);
        assert!(used >= 0.9, "{used:.3}\n{:?}", run.log);
    }
}

#[test]
fn flat_latency_leads_to_the_ceiling_within_a_few_round_trips() {
    let works = [
        (Work::Equal, 5.0),
        (Work::Varied(0.2), 7.0),
        (Work::TokensWithoutMeaning(500), 5.0),
        (Work::Tokens(500), 9.0),
        (Work::Skewed(1.0), 14.0),
    ];
    for (work, round_trips) in works {
        let load = Load::new(ServerKind::Flat { latency: 0.5 }, work, 64);
        for run in load.runs(60.0) {
            let free = run.free_since.unwrap_or(60.0);
            assert!(free <= round_trips * 0.5, "{free} of {load:?}\n{:?}", run.log);
        }
    }
}

#[test]
fn large_ceiling_is_reached_where_latency_stays_flat() {
    for work in [Work::Equal, Work::Varied(0.2)] {
        for run in Load::new(ServerKind::Flat { latency: 1.0 }, work, 1024).runs(30.0) {
            assert!(run.free_since.is_some_and(|at| at < 20.0), "{:?}", run.log);
        }
    }
}

#[test]
fn short_latency_leads_to_the_ceiling_at_once_even_with_a_slow_client() {
    let client = ServerKind::Shared {
        per_sec: 2000.0,
        base: 0.001,
        thrashes_from: f64::INFINITY,
    };
    for kind in [ServerKind::Flat { latency: 0.001 }, client] {
        for run in Load::new(kind, Work::Skewed(1.0), 64).runs(5.0) {
            assert!(run.free_since.is_some_and(|at| at < 0.1), "{:?}", run.log);
        }
    }
}

#[test]
fn limit_follows_a_server_that_becomes_faster() {
    let load = Load {
        change: Some((60.0, shared(300.0))),
        ..Load::new(KNEE, Work::Varied(0.2), 1024)
    };
    for run in load.runs(180.0) {
        let used = run.answers(150.0, 180.0) / 30.0 / 300.0;
        assert!(used >= 0.9, "{used:.3}\n{:?}", run.log);
    }
}

#[test]
fn limit_follows_a_server_that_becomes_slower() {
    let load = Load {
        change: Some((60.0, shared(30.0))),
        ..Load::new(KNEE, Work::Varied(0.2), 1024)
    };
    for run in load.runs(180.0) {
        let used = run.answers(120.0, 180.0) / 60.0 / 30.0;
        assert!(used >= 0.9, "{used:.3}\n{:?}", run.log);
        assert!(run.in_flight() <= 20, "{:?}", run.log);
    }
}

#[test]
fn limit_falls_when_a_server_begins_to_thrash_at_the_ceiling() {
    let load = Load {
        change: Some((20.0, KNEE)),
        ..Load::new(ServerKind::Flat { latency: 0.3 }, Work::Varied(0.2), 512)
    };
    for run in load.runs(180.0) {
        let used = run.answers(120.0, 180.0) / 60.0 / 100.0;
        assert!(used >= 0.9, "{used:.3}\n{:?}", run.log);
        assert!(run.in_flight() <= 66, "{:?}", run.log);
    }
}

#[test]
fn latency_stays_below_the_timeout() {
    // 40 in flight take 2 s, 50 take 2.5 s, 100 would take 5 s.
    let slow = ServerKind::Shared {
        per_sec: 20.0,
        base: 2.0,
        thrashes_from: 256.0,
    };
    let load = Load {
        timeout: 5.0,
        ..Load::new(slow, Work::Varied(0.2), 1024)
    };
    assert_used(&load, 20.0, 0.85, 66);
}
