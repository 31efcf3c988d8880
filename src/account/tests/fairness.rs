//! Runs that share an account take turns, whatever their numbers of calls.

use super::limited_lm::{Behavior, LimitedLm};
use super::{Accounts, GatedLm, ask};
use crate::lm::{AccountLimits, testing};
use crate::metrics::Metrics;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Requests per second that the account allows.
const LIMIT: u64 = 50;

#[tokio::test(start_paused = true)]
async fn run_with_many_calls_does_not_delay_one_with_few() {
    let accounts = Accounts::default();
    let settings = testing::settings("http://127.0.0.1:1/v1");
    let limits = AccountLimits {
        rpm: Some(LIMIT * 60),
        ..AccountLimits::default()
    };
    let lm = Arc::new(LimitedLm::new(Behavior::default(), 1));
    let run = || {
        let gate = accounts.gate(&settings, Some(limits));
        let metrics = settings.metrics(&Metrics::new());
        Arc::new(GatedLm::new(
            vec![(Arc::clone(&lm) as _, gate)],
            &settings,
            metrics,
        ))
    };
    let (large, small) = (run(), run());
    let permits = Arc::new(Semaphore::new(64));
    ask(&large, &permits, 0).await.unwrap();

    let started = Instant::now();
    let mut calls = JoinSet::new();
    let mut start = |run: &Arc<GatedLm>, questions: std::ops::Range<u64>| {
        for question in questions {
            let (run, permits) = (Arc::clone(run), Arc::clone(&permits));
            calls.spawn(async move {
                ask(&run, &permits, question).await.unwrap();
                (question, started.elapsed().as_secs_f64())
            });
        }
    };
    start(&large, 1..2001);
    start(&small, 2001..2101);
    let mut ended = calls.join_all().await;
    ended.retain(|(question, _)| *question > 2000);
    let last = ended.iter().map(|(_, secs)| *secs).fold(0.0, f64::max);
    // The small run gets half of the limit. Behind the large one it would have ended after 42 s.
    let share = 100.0 / (LIMIT as f64 / 2.0);
    assert!(last <= share + 1.0, "{last} s");
}
