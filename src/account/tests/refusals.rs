//! Accounts that are refused: another call confirms the refusal, then the account is closed and probed.

use super::limited_lm::{Behavior, Poison};
use super::{Load, ask};
use crate::account::GateError;
use crate::lm::{ClosedCause, LmState};
use crate::shutdown::Shutdown;
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::sleep;

#[tokio::test(start_paused = true)]
async fn revoked_key_fails_no_example_and_closes_the_account() {
    for concurrency in [1, 64, 256] {
        let load = Load {
            concurrency,
            ..Load::new(Behavior {
                closed_after: Some((1000, ClosedCause::Key)),
                ..Behavior::default()
            })
        };
        let ended = load.run().await;
        assert_eq!(ended.failed, []);
        assert_eq!(ended.handed_back, 1000);
        let dead = ended.seen(|seen| seen.dead.len());
        assert!(dead <= concurrency + 1, "{dead}");
        let LmState::Closed(account) = ended.status().state else {
            panic!("{:?}", ended.status())
        };
        assert_eq!((account.cause, account.status), (ClosedCause::Key, 401));
    }
}

#[tokio::test(start_paused = true)]
async fn account_that_refuses_the_first_call_twice_is_closed() {
    let load = Load {
        questions: 1,
        ..Load::new(Behavior {
            closed_after: Some((0, ClosedCause::Model)),
            ..Behavior::default()
        })
    };
    let ended = load.run().await;
    assert_eq!((ended.failed.len(), ended.handed_back), (0, 1));
    assert_eq!(ended.seen(|seen| seen.dead.len()), 2);
    assert!(ended.wall < Duration::from_secs(2), "{:?}", ended.wall);
}

#[tokio::test(start_paused = true)]
async fn refusal_of_one_call_among_answered_ones_fails_its_example() {
    for (poisoned, concurrency) in [(5, 64), (1000, 64), (5, 1)] {
        let load = Load {
            concurrency,
            questions: 1500,
            ..Load::new(Behavior {
                poisoned: Some((poisoned, Poison::Forbidden)),
                ..Behavior::default()
            })
        };
        let ended = load.run().await;
        let failed: Vec<u64> = ended.failed.iter().map(|(question, _)| *question).collect();
        assert_eq!(failed, [poisoned]);
        assert_eq!(ended.handed_back, 0);
        assert!(ended.failed[0].1.contains("403"), "{:?}", ended.failed);
        assert_eq!(ended.status().state, LmState::Open);
    }
}

#[tokio::test(start_paused = true)]
async fn closed_account_lets_one_call_through_after_ten_seconds() {
    let load = Load {
        questions: 1,
        ..Load::new(Behavior {
            closed_after: Some((1, ClosedCause::Quota)),
            ..Behavior::default()
        })
    };
    let (accounts, gated, permits) = load.parts();
    ask(&gated, &permits, 0).await.unwrap();
    for question in 1..20 {
        let handed_back = ask(&gated, &permits, question).await;
        assert!(matches!(handed_back, Err(GateError::HandedBack)), "{question}");
        sleep(Duration::from_secs(1)).await;
    }
    // One call and its confirmation, and the probe after ten seconds.
    let throttled = accounts.statuses()[0].clone();
    assert_eq!(throttled.answered, 1);
    assert!(matches!(throttled.state, LmState::Closed(_)));
}

#[tokio::test(start_paused = true)]
async fn waiting_call_is_handed_back_in_a_drain() {
    let load = Load {
        questions: 1,
        ..Load::new(Behavior {
            down: Some([0, 3600]),
            ..Behavior::default()
        })
    };
    let (_accounts, gated, permits) = load.parts();
    let shutdown = Shutdown::new();
    let drain = async {
        sleep(Duration::from_secs(30)).await;
        shutdown.drain();
        std::future::pending::<()>().await
    };
    let call = super::ask_until(&gated, &permits, 0, &shutdown);
    tokio::select! {
        ended = call => assert!(matches!(ended, Err(GateError::HandedBack))),
        () = drain => unreachable!(),
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_need_not_wait_is_sent_in_a_drain() {
    let load = Load {
        concurrency: 4,
        ..Load::new(Behavior::default())
    };
    let (_accounts, gated, permits) = load.parts();
    ask(&gated, &permits, 0).await.unwrap();
    let shutdown = Shutdown::new();
    shutdown.drain();
    // One call waits for a permit, and the limit on calls in flight is learnt: the gate limits.
    let calls = (1..=5).map(|question| super::ask_until(&gated, &permits, question, &shutdown));
    for ended in join_all(calls).await {
        ended.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn status_403_of_a_lone_call_fails_it_if_the_account_was_accepted() {
    let forbidden = Behavior {
        poisoned: Some((7, Poison::Forbidden)),
        ..Behavior::default()
    };
    // The last call of a process that got answers.
    let (accounts, gated, permits) = Load::new(forbidden.clone()).parts();
    ask(&gated, &permits, 0).await.unwrap();
    let ended = ask(&gated, &permits, 7).await;
    assert!(matches!(ended, Err(GateError::Failed(_))), "{ended:?}");
    assert_eq!(accounts.statuses()[0].state, LmState::Open);
    // The only call of a process, after an earlier process got answers.
    let (accounts, gated, permits) = Load::new(forbidden.clone()).parts();
    gated.accepted_before();
    let ended = ask(&gated, &permits, 7).await;
    assert!(matches!(ended, Err(GateError::Failed(_))), "{ended:?}");
    assert_eq!(accounts.statuses()[0].state, LmState::Open);
    // The very first call.
    let (accounts, gated, permits) = Load::new(forbidden).parts();
    let ended = ask(&gated, &permits, 7).await;
    assert!(matches!(ended, Err(GateError::HandedBack)), "{ended:?}");
    assert!(matches!(accounts.statuses()[0].state, LmState::Closed(_)));
}
