//! Several endpoints of one LM: which of them takes a call, and which is left out.

use super::limited_lm::{Behavior, LimitedLm, Poison, Report, Seen};
use super::{Accounts, Asked, GatedLm, ask, ask_all, ask_until, within};
use crate::lm::{AccountLimits, ClosedCause, LmEndpoint, LmState, LmStatus, testing};
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Requests per second of a limited endpoint.
const LIMIT: f64 = 50.0;

/// A load of `questions` calls, at most `concurrency` of them in flight, on an LM with these endpoints.
struct Load {
    endpoints: Vec<Behavior>,
    declared: Vec<Option<AccountLimits>>,
    questions: u64,
    concurrency: usize,
}

struct Ended {
    lms: Vec<Arc<LimitedLm>>,
    accounts: Arc<Accounts>,
    failed: Vec<(u64, String)>,
    handed_back: u64,
    secs: f64,
}

impl Load {
    fn new<const N: usize>(endpoints: [Behavior; N]) -> Load {
        Load {
            endpoints: endpoints.into(),
            declared: vec![None; N],
            questions: 2000,
            concurrency: 64,
        }
    }

    /// Makes all calls: the first one alone as a coordinator does, then the others at once.
    async fn run(self) -> Ended {
        let (questions, concurrency) = (self.questions, self.concurrency);
        let (lms, accounts, gated) = self.connect();
        let permits = Arc::new(Semaphore::new(concurrency));
        let Asked {
            failed,
            handed_back,
            wall,
        } = ask_all(&gated, &permits, questions).await;
        Ended {
            lms,
            accounts,
            failed,
            handed_back,
            secs: wall.as_secs_f64(),
        }
    }

    fn connect(self) -> (Vec<Arc<LimitedLm>>, Arc<Accounts>, Arc<GatedLm>) {
        fastrand::seed(1);
        let accounts = Arc::new(Accounts::default());
        let mut settings = testing::settings("http://127.0.0.1:1/v1");
        settings.more_endpoints = (2..=self.endpoints.len())
            .map(|port| LmEndpoint {
                api_base: Some(format!("http://127.0.0.1:{port}/v1")),
                api_key_env: None,
                account: None,
            })
            .collect();
        let behaviors = self.endpoints.into_iter().zip(1..);
        let lms: Vec<_> = behaviors
            .map(|(behavior, seed)| Arc::new(LimitedLm::new(behavior, seed)))
            .collect();
        let gates = settings.endpoints().into_iter().zip(self.declared);
        let gates = gates.map(|(endpoint, declared)| accounts.gate(&endpoint, declared));
        let endpoints = lms.iter().map(|lm| Arc::clone(lm) as _).zip(gates).collect();
        let metrics = settings.metrics(&Metrics::new());
        let gated = Arc::new(GatedLm::new(endpoints, &settings, metrics));
        (lms, accounts, gated)
    }
}

impl Ended {
    fn seen<T>(&self, endpoint: usize, read: impl FnOnce(&Seen) -> T) -> T {
        self.lms[endpoint].seen(read)
    }

    fn answered(&self, endpoint: usize) -> usize {
        self.seen(endpoint, |seen| seen.answered.len())
    }

    fn status(&self, endpoint: usize) -> LmStatus {
        self.accounts.statuses().remove(endpoint)
    }

    /// Asserts that no call failed or was handed back, and that each question was answered once.
    fn assert_complete(&self, questions: usize) {
        assert_eq!(self.failed, []);
        assert_eq!(self.handed_back, 0);
        let answers: u32 = (0..self.lms.len())
            .map(|endpoint| self.seen(endpoint, |seen| seen.answered.values().sum::<u32>()))
            .sum();
        assert_eq!(answers as usize, questions);
    }
}

fn limited(per_sec: f64, report: Report) -> Behavior {
    Behavior {
        per_sec: Some(per_sec),
        report,
        ..Behavior::default()
    }
}

fn rpm(per_sec: f64) -> Option<AccountLimits> {
    Some(AccountLimits {
        rpm: Some((per_sec * 60.0) as u64),
        ..AccountLimits::default()
    })
}

#[tokio::test(start_paused = true)]
async fn declared_limits_of_two_endpoints_are_both_used_up() {
    for concurrency in [64, 512] {
        let load = Load {
            declared: vec![rpm(LIMIT), rpm(20.0)],
            concurrency,
            ..Load::new([limited(LIMIT, Report::Nothing), limited(20.0, Report::Nothing)])
        };
        let ended = load.run().await;
        ended.assert_complete(2000);
        let refused = (0..2).map(|endpoint| ended.seen(endpoint, |seen| seen.refused.len()));
        assert_eq!(refused.sum::<usize>(), 0);
        let used = 2000.0 / (LIMIT + 20.0) / ended.secs;
        assert!(used >= 0.95, "{used} of both quotas");
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_servers_report_or_enforce_are_both_used_up() {
    for (report, most_refused) in [
        (Report::Headers, 0.01),
        (Report::RetryAfter, 0.08),
        (Report::Nothing, 0.08),
    ] {
        let load = Load {
            questions: 6000,
            concurrency: 256,
            ..Load::new([limited(LIMIT, report), limited(LIMIT, report)])
        };
        let ended = load.run().await;
        ended.assert_complete(6000);
        let used = 6000.0 / (2.0 * LIMIT) / ended.secs;
        assert!(used >= 0.93, "{used} of both quotas, {report:?}");
        let refused = (0..2).map(|endpoint| ended.seen(endpoint, |seen| seen.refused.len()));
        let refused = refused.sum::<usize>() as f64 / 6000.0;
        assert!(refused <= most_refused, "{refused} refused, {report:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn free_endpoint_takes_the_calls_that_a_limited_one_does_not() {
    let load = Load {
        declared: vec![rpm(LIMIT), None],
        ..Load::new([limited(LIMIT, Report::Nothing), Behavior::default()])
    };
    let ended = load.run().await;
    ended.assert_complete(2000);
    // After the first few round trips all permits are always in use.
    let ideal = 2000.0 * 0.2 / 64.0;
    assert!(ended.secs <= ideal * 1.15 + 0.4, "{} s", ended.secs);
    let limited = ended.answered(0) as f64 / ended.secs;
    assert!(limited >= 0.8 * LIMIT, "{limited} a second");
}

#[tokio::test(start_paused = true)]
async fn faster_of_two_endpoints_takes_more_calls() {
    let slow = Behavior {
        slowness: Some(10.0),
        ..Behavior::default()
    };
    let ended = Load::new([slow, Behavior::default()]).run().await;
    ended.assert_complete(2000);
    let (slow, fast) = (ended.answered(0), ended.answered(1));
    assert!(fast > 8 * slow, "{fast} and {slow}");
    // As fast as the fast endpoint alone, apart from three answers of the slow one: the very first, the first under load, and the last.
    let ideal = 2000.0 * 0.2 / 64.0;
    assert!(ended.secs <= ideal * 1.1 + 3.0 * 2.4, "{} s", ended.secs);
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_is_down_is_left_out_until_it_is_back() {
    for second in [Behavior::default(), limited(LIMIT, Report::RetryAfter)] {
        let down = Behavior {
            per_sec: Some(LIMIT),
            down: Some([5, 95]),
            ..Behavior::default()
        };
        let load = Load {
            questions: 12_000,
            declared: vec![rpm(LIMIT), second.per_sec.and_then(rpm)],
            concurrency: 32,
            ..Load::new([down, second])
        };
        let ended = load.run().await;
        ended.assert_complete(12_000);
        ended.seen(0, |seen| {
            let dead = within(&seen.dead, 6, 95);
            assert!(dead <= 90, "{dead} requests to a server that is down");
            if ended.secs > 110.0 {
                let after = within(&seen.accepted, 100, 105) as f64 / 5.0;
                assert!(after >= 0.9 * LIMIT, "{after} a second");
            }
        });
        let other = ended.seen(1, |seen| within(&seen.accepted, 10, 40) as f64 / 30.0);
        assert!(other >= 0.9 * LIMIT, "{other} a second");
    }
}

#[tokio::test(start_paused = true)]
async fn endpoint_with_a_refused_key_is_left_out() {
    for cause in [ClosedCause::Key, ClosedCause::Quota, ClosedCause::Model] {
        for after in [0, 300] {
            let closed = Behavior {
                closed_after: Some((after, cause)),
                ..Behavior::default()
            };
            let ended = Load::new([closed, limited(LIMIT, Report::Headers)]).run().await;
            ended.assert_complete(2000);
            assert!(matches!(ended.status(0).state, LmState::Closed(_)), "{after}");
            let dead = ended.seen(0, |seen| seen.dead.len());
            // The calls in flight, a few confirmations, and the probes of the closed account.
            assert!(dead <= 64 + 8, "{dead} requests with a dead key");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_hangs_holds_few_calls() {
    let hangs = Behavior {
        hangs: Some((1, Duration::from_secs(60))),
        ..Behavior::default()
    };
    let load = Load {
        questions: 20_000,
        declared: vec![None, rpm(LIMIT)],
        concurrency: 16,
        ..Load::new([hangs, limited(LIMIT, Report::Nothing)])
    };
    let ended = load.run().await;
    ended.assert_complete(20_000);
    // After the first timeouts, one call at a time probes the server.
    let probes = ended.seen(0, |seen| within(&seen.sent, 70, 370));
    assert!(probes <= 6, "{probes} in 300 s, each of which takes 60 s");
    let other = ended.seen(1, |seen| within(&seen.accepted, 70, 370) as f64 / 300.0);
    assert!(other >= 0.95 * LIMIT, "{other} a second");
}

#[tokio::test(start_paused = true)]
async fn calls_are_handed_back_when_every_account_is_closed() {
    let closed = |cause| Behavior {
        closed_after: Some((500, cause)),
        ..Behavior::default()
    };
    let ended = Load::new([closed(ClosedCause::Key), closed(ClosedCause::Quota)])
        .run()
        .await;
    assert_eq!(ended.failed, []);
    assert_eq!(
        ended.handed_back as usize,
        2000 - ended.answered(0) - ended.answered(1)
    );
    assert!(ended.handed_back >= 900, "{}", ended.handed_back);
    let dead = ended.seen(0, |seen| seen.dead.len()) + ended.seen(1, |seen| seen.dead.len());
    assert!(dead <= 64 + 8, "{dead} requests with dead keys");
}

#[tokio::test(start_paused = true)]
async fn calls_wait_while_every_server_is_down() {
    let down = Behavior {
        down: Some([2, 62]),
        ..Behavior::default()
    };
    let ended = Load::new([down.clone(), down]).run().await;
    ended.assert_complete(2000);
    assert!(ended.secs <= 62.0 + 12.0, "{} s", ended.secs);
    for endpoint in 0..2 {
        let dead = ended.seen(endpoint, |seen| within(&seen.dead, 3, 62));
        assert!(dead <= 60, "{dead}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_example_that_crashes_both_servers_fails() {
    for poisoned in [3, 1000, 1998] {
        let poison = Behavior {
            poisoned: Some((poisoned, Poison::Away)),
            ..Behavior::default()
        };
        let ended = Load::new([poison.clone(), poison]).run().await;
        let failed: Vec<u64> = ended.failed.iter().map(|(question, _)| *question).collect();
        assert_eq!(failed, [poisoned]);
    }
}

#[tokio::test(start_paused = true)]
async fn example_that_one_endpoint_refuses_is_answered_by_the_other() {
    for kind in [Poison::Away, Poison::Forbidden] {
        let poison = Behavior {
            poisoned: Some((700, kind)),
            ..Behavior::default()
        };
        let ended = Load::new([poison, Behavior::default()]).run().await;
        ended.assert_complete(2000);
        assert_eq!(ended.status(0).state, LmState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_of_one_account_with_two_keys_have_two_gates() {
    let accounts = Accounts::default();
    let settings = testing::settings("http://127.0.0.1:1/v1");
    let with_key = |key: &str| {
        let mut settings = settings.clone();
        (settings.api_key_env, settings.account) = (Some(key.to_owned()), Some("both".to_owned()));
        settings
    };
    let gates = ["ONE", "OTHER"].map(|key| accounts.gate(&with_key(key), rpm(LIMIT)));
    assert!(!Arc::ptr_eq(&gates[0], &gates[1]));
    assert_eq!(accounts.statuses().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn call_that_an_endpoint_lets_through_is_made_in_a_drain() {
    let load = Load {
        declared: vec![rpm(1.0 / 60.0), rpm(1.0)],
        ..Load::new([limited(1.0, Report::Nothing), limited(1.0, Report::Nothing)])
    };
    let (_lms, _accounts, gated) = load.connect();
    let (permits, shutdown) = (Arc::new(Semaphore::new(1)), Shutdown::new());
    // Each endpoint takes one at once.
    for question in 0..2 {
        ask(&gated, &permits, question).await.unwrap();
    }
    let waits = tokio::spawn({
        let (gated, permits, shutdown) = (Arc::clone(&gated), Arc::clone(&permits), shutdown.clone());
        async move { ask_until(&gated, &permits, 2, &shutdown).await }
    });
    tokio::time::sleep(Duration::from_millis(1)).await;
    let taken = permits.try_acquire().unwrap();
    // The second endpoint lets it through, but there is no permit yet.
    tokio::time::sleep(Duration::from_secs(2)).await;
    shutdown.drain();
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(taken);
    waits.await.unwrap().unwrap();
}
