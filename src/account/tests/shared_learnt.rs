//! Workers that share an account share what they have learnt of it: the limits that it does not declare.

use super::limited_lm::{Behavior, Report};
use super::shared_capacity::Capacity;
use super::workers::{LIMIT, Worker, Workers};
use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::sleep;

/// What happened in a period of time.
#[derive(Debug)]
struct Period {
    /// The share of the limit that was used.
    used: f64,
    /// The share of requests that were refused.
    refused: f64,
    /// Calls to the shared state per second.
    calls_per_sec: f64,
}

impl Workers {
    async fn run_for(&self, secs: u64) -> Period {
        let counts = || {
            let [sent, refused] = self.lm.seen(|seen| [seen.sent.len(), seen.refused.len()]);
            [sent as u64, refused as u64, self.state.calls()]
        };
        let before = counts();
        sleep(Duration::from_secs(secs)).await;
        let after = counts();
        let [sent, refused, calls] = [0, 1, 2].map(|place| (after[place] - before[place]) as f64);
        assert_eq!(self.failed.load(Relaxed), 0);
        Period {
            used: (sent - refused) / secs as f64 / LIMIT,
            refused: refused / sent,
            calls_per_sec: calls / secs as f64,
        }
    }
}

fn workers(report: Report) -> Workers {
    let behavior = Behavior {
        per_sec: Some(LIMIT),
        report,
        ..Behavior::default()
    };
    Workers::new(behavior, None, 30_000, 64)
}

/// The learnt rates of the workers, or the requests in flight that they have learnt.
fn limits(running: &[Worker], name: &str) -> Vec<f64> {
    let status = |worker: &Worker| serde_json::to_value(&worker.accounts.statuses()[0]).unwrap();
    let limit = |worker| status(worker)[name].as_f64().unwrap_or_default();
    running.iter().map(limit).collect()
}

#[tokio::test(start_paused = true)]
async fn joining_worker_gets_a_share_of_the_learnt_rate() {
    let workers = workers(Report::Nothing);
    let mut running = workers.start_many(4);
    workers.run_for(60).await;
    let sum: f64 = limits(&running, "limit_per_min").iter().sum();
    running.push(workers.start());
    let soon = async {
        sleep(Duration::from_secs(2)).await;
        limits(&running, "limit_per_min")
    };
    let (joined, soon) = tokio::join!(workers.run_for(60), soon);
    let change = soon.iter().sum::<f64>() / sum;
    assert!((0.85..1.1).contains(&change), "{soon:?} of {sum}");
    // Its first refusals may have cut it.
    let share = soon[4] / (sum / 5.0);
    assert!((0.7..1.1).contains(&share), "{soon:?} of {sum}");
    assert!(joined.refused <= 0.05, "{joined:?}");
    assert!(joined.used >= 0.9, "{joined:?}");
    assert!(joined.calls_per_sec <= 5.5, "{joined:?}");
}

#[tokio::test(start_paused = true)]
async fn learnt_rate_of_a_dead_worker_goes_to_the_others() {
    let workers = workers(Report::Nothing);
    let mut running = workers.start_many(5);
    workers.run_for(60).await;
    drop(running.remove(0));
    let died = workers.run_for(8).await;
    // If each grew by itself, 87 % would be used.
    assert!(died.used >= 0.93, "{died:?}");
    let after = workers.run_for(22).await;
    assert!(after.used >= 0.95, "{after:?}");
    assert!(after.refused <= 0.05, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn limit_in_headers_is_divided_among_the_workers() {
    let workers = workers(Report::Headers);
    let mut running = workers.start_many(4);
    let first = workers.run_for(60).await;
    running.push(workers.start());
    let joined = workers.run_for(60).await;
    for period in [first, joined] {
        assert!(period.refused <= 0.01, "{period:?}");
        assert!(period.used >= 0.95, "{period:?}");
    }
    assert_eq!(limits(&running, "limit_per_min"), [1200.0; 5]);
}

#[tokio::test(start_paused = true)]
async fn joining_worker_starts_at_the_concurrency_of_the_others() {
    // 30 in flight saturate the server.
    let behavior = Behavior {
        shared: Some(Capacity {
            per_sec: 100.0,
            base: Duration::from_millis(300),
            thrashes_from: 256.0,
        }),
        ..Behavior::default()
    };
    let workers = Workers::new(behavior, None, 30_000, 256);
    let mut running = workers.start_many(2);
    workers.run_for(60).await;
    let others = limits(&running, "in_flight_limit");
    let mean = others.iter().sum::<f64>() / 2.0;
    running.push(workers.start());
    workers.run_for(1).await;
    let joined = limits(&running[2..], "in_flight_limit")[0];
    assert!((joined - mean).abs() <= 2.0, "{joined} beside {others:?}");
}

#[tokio::test(start_paused = true)]
async fn learnt_rate_is_kept_when_the_shared_state_is_lost_or_away() {
    let workers = workers(Report::Nothing);
    let mut running = workers.start_many(4);
    workers.run_for(60).await;
    workers.state.restore(HashMap::new());
    let lost = workers.run_for(20).await;
    workers.state.set_away(true);
    let away = workers.run_for(20).await;
    workers.state.set_away(false);
    let back = workers.run_for(20).await;
    running.push(workers.start());
    let joined = workers.run_for(20).await;
    for period in [lost, away, back, joined] {
        assert!(period.used >= 0.9, "{period:?}");
        assert!(period.refused <= 0.05, "{period:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn learnt_rate_of_stopped_workers_goes_to_those_that_start_later() {
    let workers = workers(Report::Nothing);
    let running = workers.start_many(4);
    workers.run_for(60).await;
    drop(running);
    sleep(Duration::from_secs(600)).await;
    let _running = workers.start_many(2);
    let again = workers.run_for(10).await;
    assert!(again.refused <= 0.05, "{again:?}");
    assert!(again.used >= 0.85, "{again:?}");
}
