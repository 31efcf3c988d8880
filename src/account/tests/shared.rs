//! Workers that share an account use its limits up together and never exceed them.

use super::limited_lm::{Behavior, LimitedLm, Report};
use super::outages::assert_waited_for;
use super::within;
use super::workers::{LIMIT, Worker, Workers, end, used};
use crate::lm::AccountLimits;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const MINUTE: Duration = Duration::from_secs(60);

/// The most of these times in any minute.
fn most_in_a_minute(times: &[Duration]) -> usize {
    let (mut most, mut first) = (0, 0);
    for (last, time) in times.iter().enumerate() {
        while *time >= MINUTE + times[first] {
            first += 1;
        }
        most = most.max(last - first + 1);
    }
    most
}

fn limited() -> Behavior {
    Behavior {
        per_sec: Some(LIMIT),
        report: Report::RetryAfter,
        ..Behavior::default()
    }
}

fn rpm(rpm: u64) -> AccountLimits {
    AccountLimits {
        rpm: Some(rpm),
        ..AccountLimits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn declared_rpm_is_used_up_by_1_to_50_workers_without_a_refusal() {
    for number in [1, 2, 8, 50] {
        let workers = Workers::new(limited(), rpm(6000), 9000, 512 / number);
        end(workers.start_many(number)).await;
        workers.assert_complete();
        workers.lm.seen(|seen| {
            let most = most_in_a_minute(&seen.accepted);
            assert!(most <= 6000, "{number} workers: {most} in a minute");
            let used = used(seen, 5, 85);
            assert!(used >= 0.97, "{number} workers: {used}");
        });
        let calls = workers.state.calls() as f64 / 9000.0;
        let most = if number <= 10 { 0.2 } else { 1.5 };
        assert!(calls <= most, "{number} workers: {calls} calls a request");
    }
}

#[tokio::test(start_paused = true)]
async fn declared_rpm_is_kept_while_workers_join_die_and_drain() {
    let workers = Workers::new(limited(), rpm(6000), 12_000, 64);
    let mut running = workers.start_many(2);
    for second in 0..90 {
        sleep(Duration::from_secs(1)).await;
        match second % 6 {
            1 | 3 => running.push(workers.start()),
            2 => drop(running.remove(0)),
            4 => running.remove(0).drain().await,
            _ => {}
        }
    }
    end(running).await;
    workers.lm.seen(|seen| {
        assert_eq!(seen.refused.len(), 0);
        assert_eq!(seen.answered.len(), 12_000);
        let most = most_in_a_minute(&seen.accepted);
        assert!(most <= 6000, "{most} in a minute");
        let used = used(seen, 5, 85);
        // Each dead worker took the slots of at most 0.7 s with it.
        assert!(used >= 0.9, "{used}");
    });
}

#[tokio::test(start_paused = true)]
async fn declared_rpm_is_kept_when_the_shared_state_is_lost_or_reverted() {
    let workers = Workers::new(limited(), rpm(6000), 15_000, 64);
    let running = workers.start_many(8);
    for second in 0..120 {
        sleep(Duration::from_secs(1)).await;
        match second % 30 {
            10 => workers.state.restore(HashMap::new()),
            20 => {
                let earlier = workers.state.stored();
                sleep(Duration::from_secs(1)).await;
                workers.state.restore(earlier);
            }
            _ => {}
        }
    }
    end(running).await;
    workers.assert_complete();
    workers.lm.seen(|seen| {
        let most = most_in_a_minute(&seen.accepted);
        assert!(most <= 6000, "{most} in a minute");
    });
}

#[tokio::test(start_paused = true)]
async fn requests_wait_while_the_shared_state_is_away() {
    let workers = Workers::new(limited(), rpm(6000), 3000, 64);
    let running = workers.start_many(8);
    sleep(Duration::from_secs(10)).await;
    workers.state.set_away(true);
    sleep(Duration::from_secs(3)).await;
    let sent = workers.lm.seen(|seen| seen.sent.len());
    sleep(Duration::from_secs(60)).await;
    assert_eq!(workers.lm.seen(|seen| seen.sent.len()), sent);
    workers.state.set_away(false);
    let back = Instant::now();
    end(running).await;
    workers.assert_complete();
    let left = (3000 - sent) as f64 / LIMIT;
    assert!(back.elapsed().as_secs_f64() <= left + 2.0, "{:?}", back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn declared_tokens_are_used_up_by_workers() {
    const TOKENS: f64 = 100_000.0;
    for number in [1, 2, 8] {
        let behavior = Behavior {
            tokens_per_sec: Some(TOKENS),
            most_tokens: 2000,
            ..Behavior::default()
        };
        let tpm = AccountLimits {
            tpm: Some(6_000_000),
            ..AccountLimits::default()
        };
        let workers = Workers::new(behavior, tpm, 8000, 512 / number);
        end(workers.start_many(number)).await;
        workers.lm.seen(|seen| {
            assert_eq!(seen.answered.len(), 8000);
            let refused = seen.refused.len() as f64 / seen.sent.len() as f64;
            // Before the first answers each worker reserves too few tokens.
            assert!(refused <= 0.01, "{number} workers: {refused}");
            let used = seen.tokens as f64 / seen.accepted.last().unwrap().as_secs_f64() / TOKENS;
            assert!(used >= 0.95, "{number} workers: {used}");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn new_worker_gets_its_share_within_seconds() {
    let workers = Workers::new(limited(), rpm(6000), 4000, 256);
    let first = workers.start();
    sleep(Duration::from_secs(10)).await;
    let second = workers.start();
    sleep(Duration::from_secs(5)).await;
    let answered = |worker: &Worker| worker.accounts.statuses()[0].answered;
    let before = [&first, &second].map(answered);
    sleep(Duration::from_secs(10)).await;
    let after = [&first, &second].map(answered);
    let [one, other] = [0, 1].map(|place| after[place] - before[place]);
    assert!(one.abs_diff(other) <= 150, "{one} and {other}");
    drop((first, second));
}

#[tokio::test(start_paused = true)]
async fn server_away_is_probed_once_a_second_by_all_workers_together() {
    for (number, concurrency) in [(8, 8), (50, 1)] {
        let behavior = Behavior {
            down: Some([10, 100]),
            ..Behavior::default()
        };
        let in_flight = number * concurrency;
        let full = in_flight as f64 / 0.2;
        let questions = (full * 30.0) as u64;
        let workers = Workers::new(behavior, AccountLimits::default(), questions, concurrency);
        end(workers.start_many(number)).await;
        workers.assert_complete();
        // Each worker finds by itself that the server is away: by five consecutive failures, and by the calls that are sent meanwhile.
        let most = in_flight + 8 * number;
        workers
            .lm
            .seen(|seen| assert_waited_for(seen, [10, 100], most, full));
    }
}

#[tokio::test(start_paused = true)]
async fn closed_account_gets_one_request_of_a_new_worker_and_opens_for_all() {
    let behavior = Behavior {
        refused: Some([10, 45]),
        ..Behavior::default()
    };
    let workers = Workers::new(behavior, AccountLimits::default(), 8000, 4);
    let mut running = workers.start_many(8);
    sleep(Duration::from_secs(25)).await;
    let dead = || workers.lm.seen(|seen| seen.dead.len());
    let before = dead();
    // Those in flight, one confirmation, and one probe after ten seconds.
    assert!(before <= 8 * (4 + 2), "{before}");
    running.push(workers.start());
    sleep(Duration::from_secs(5)).await;
    assert_eq!(dead() - before, 1);
    end(running).await;
    workers.assert_complete();
    workers.lm.seen(|seen| {
        // The ninth worker's second probe is answered after 55 seconds; those of the others would be after 70.
        assert_eq!(within(&seen.accepted, 11, 54), 0);
        let after = within(&seen.accepted, 58, 61) as f64 / 3.0;
        assert!(after >= 0.9 * 9.0 * 4.0 / 0.2, "{after} a second");
    });
}

#[tokio::test(start_paused = true)]
async fn worker_with_a_refused_key_does_not_close_the_shared_account() {
    let workers = Workers::new(Behavior::default(), AccountLimits::default(), 3000, 16);
    let refused = Workers {
        lm: Arc::new(LimitedLm::new(
            Behavior {
                closed_after: Some((0, crate::lm::ClosedCause::Key)),
                ..Behavior::default()
            },
            7,
        )),
        state: Arc::clone(&workers.state),
        questions: Arc::clone(&workers.questions),
        ..Workers::new(Behavior::default(), AccountLimits::default(), 0, 16)
    };
    let running = workers.start_many(2);
    let with_another_key = refused.start();
    end(running).await;
    with_another_key.drain().await;
    let last = workers.lm.seen(|seen| *seen.accepted.last().unwrap());
    // 32 in flight, 200 ms each.
    assert!(last.as_secs_f64() <= 3000.0 / 160.0 * 1.1, "{last:?}");
    let dead = refused.lm.seen(|seen| seen.dead.len());
    assert!(dead <= 2 + 10, "{dead}");
}

#[tokio::test(start_paused = true)]
async fn declared_concurrent_is_kept_and_shared_evenly_by_workers() {
    let concurrent = AccountLimits {
        concurrent: Some(12),
        ..AccountLimits::default()
    };
    let workers = Workers::new(Behavior::default(), concurrent, 4000, 16);
    let mut running = workers.start_many(2);
    sleep(Duration::from_secs(10)).await;
    running.push(workers.start());
    sleep(Duration::from_secs(10)).await;
    let in_flight: Vec<u64> = running
        .iter()
        .map(|worker| worker.accounts.statuses()[0].in_flight)
        .collect();
    assert!(
        in_flight.iter().all(|calls| (3..=5).contains(calls)),
        "{in_flight:?}"
    );
    // One worker dies: its share is free when its lease has expired.
    drop(running.remove(0));
    sleep(Duration::from_secs(10)).await;
    workers.state.restore(HashMap::new());
    end(running).await;
    workers.assert_complete();
    workers.lm.seen(|seen| {
        assert!(seen.most_in_flight <= 12, "{}", seen.most_in_flight);
        let secs = seen.accepted.last().unwrap().as_secs_f64();
        let ideal = 4000.0 / (12.0 / 0.2);
        assert!(secs <= ideal * 1.25, "{secs} of {ideal}");
    });
}

#[tokio::test(start_paused = true)]
async fn declared_rpd_counts_over_all_workers_and_their_restarts() {
    let rpd = AccountLimits {
        rpd: Some(300),
        ..AccountLimits::default()
    };
    let workers = Workers::new(Behavior::default(), rpd, 1000, 8);
    let first = workers.start_many(2);
    sleep(Duration::from_secs(3)).await;
    drop(first);
    let running = workers.start_many(3);
    sleep(Duration::from_secs(60)).await;
    let sent = workers.lm.seen(|seen| seen.sent.len());
    assert!((270..=300).contains(&sent), "{sent}");
    let status = serde_json::to_value(&running[0].accounts.statuses()[0]).unwrap();
    assert_eq!(status["state"]["cause"], "daily_quota", "{status}");
    drop(running);
    sleep(Duration::from_secs(86_400)).await;
    let _running = workers.start_many(2);
    sleep(Duration::from_secs(20)).await;
    let sent = workers.lm.seen(|seen| seen.sent.len());
    assert!((500..=600).contains(&sent), "{sent}");
}
