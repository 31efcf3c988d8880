//! Rate limits: declared, reported in headers, and learnt from refusals.

use super::limited_lm::{Behavior, Report};
use super::{Load, within};
use crate::lm::AccountLimits;

/// Requests per second that the server allows: 6,000 a minute.
const LIMIT: f64 = 100.0;

fn limited(report: Report) -> Behavior {
    Behavior {
        per_sec: Some(LIMIT),
        report,
        ..Behavior::default()
    }
}

fn declared(rpm: Option<u64>, tpm: Option<u64>) -> Option<AccountLimits> {
    Some(AccountLimits {
        rpm,
        tpm,
        ..AccountLimits::default()
    })
}

#[tokio::test(start_paused = true)]
async fn declared_rpm_is_used_up_without_a_refusal() {
    for concurrency in [64, 256, 1024, 8192] {
        let load = Load {
            declared: declared(Some(6000), None),
            concurrency,
            ..Load::new(limited(Report::RetryAfter))
        };
        let ended = load.run().await;
        ended.assert_complete(2000);
        ended.seen(|seen| {
            assert_eq!((seen.refused.len(), seen.sent.len()), (0, 2000));
            let used = 2000.0 / seen.accepted.last().unwrap().as_secs_f64() / LIMIT;
            assert!(used >= 0.98, "{concurrency} in flight: {used}");
        });
        assert_eq!(ended.status().limit_per_min, Some(6000));
    }
}

#[tokio::test(start_paused = true)]
async fn declared_tokens_are_used_up_where_answers_differ_in_length() {
    const TOKENS_PER_SEC: f64 = 100_000.0;
    for concurrency in [64, 256, 1024] {
        let load = Load {
            declared: declared(None, Some(6_000_000)),
            questions: 4000,
            concurrency,
            ..Load::new(Behavior {
                tokens_per_sec: Some(TOKENS_PER_SEC),
                most_tokens: 2000,
                ..Behavior::default()
            })
        };
        let ended = load.run().await;
        ended.assert_complete(4000);
        ended.seen(|seen| {
            let refused = seen.refused.len() as f64 / seen.sent.len() as f64;
            let secs = seen.accepted.last().unwrap().as_secs_f64();
            let used = seen.tokens as f64 / secs / TOKENS_PER_SEC;
            assert!(refused <= 0.005, "{concurrency} in flight: {refused}");
            assert!(used >= 0.95, "{concurrency} in flight: {used}");
        });
    }
}

#[tokio::test(start_paused = true)]
async fn rate_in_headers_is_followed_from_the_first_answer() {
    for concurrency in [64, 256, 1024] {
        let load = Load {
            questions: 6000,
            concurrency,
            ..Load::new(limited(Report::Headers))
        };
        let ended = load.run().await;
        ended.assert_complete(6000);
        ended.seen(|seen| {
            let refused = seen.refused.len() as f64 / seen.sent.len() as f64;
            let used = 6000.0 / seen.accepted.last().unwrap().as_secs_f64() / LIMIT;
            assert!(refused <= 0.01, "{concurrency} in flight: {refused}");
            assert!(used >= 0.97, "{concurrency} in flight: {used}");
        });
    }
}

/// Makes 6,000 calls, a minute's worth, to a server that does not report its limit. Returns the share of the limit that was used, and the
/// share of requests that were refused after the first ten seconds.
async fn learnt(behavior: Behavior, concurrency: usize, seed: u64) -> (f64, f64) {
    let load = Load {
        questions: 6000,
        concurrency,
        seed,
        ..Load::new(behavior)
    };
    let ended = load.run().await;
    ended.assert_complete(6000);
    ended.seen(|seen| {
        let used = 6000.0 / seen.accepted.last().unwrap().as_secs_f64() / LIMIT;
        let late = |times: &[std::time::Duration]| within(times, 10, 1000) as f64;
        (used, late(&seen.refused) / late(&seen.sent))
    })
}

#[tokio::test(start_paused = true)]
async fn unreported_rate_is_learnt() {
    for report in [Report::Nothing, Report::RetryAfter] {
        for concurrency in [64, 256, 1024] {
            let (used, refused) = learnt(limited(report), concurrency, 7).await;
            assert!(used >= 0.95, "{report:?}, {concurrency} in flight: {used}");
            assert!(refused <= 0.05, "{report:?}, {concurrency} in flight: {refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rate_is_learnt_where_refusals_count_against_it() {
    for report in [Report::Nothing, Report::RetryAfter] {
        for concurrency in [64, 256, 1024] {
            let behavior = Behavior {
                charges_refusals: true,
                ..limited(report)
            };
            let (used, _) = learnt(behavior, concurrency, 7).await;
            assert!(used >= 0.90, "{report:?}, {concurrency} in flight: {used}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn declared_concurrent_bounds_the_requests_in_flight() {
    let load = Load {
        declared: Some(AccountLimits {
            concurrent: Some(8),
            ..AccountLimits::default()
        }),
        questions: 200,
        ..Load::new(Behavior::default())
    };
    let ended = load.run().await;
    ended.assert_complete(200);
    // 8 at once, 200 ms ± 20 % each: 25 round trips.
    let secs = ended.wall.as_secs_f64();
    assert!((4.0..6.2).contains(&secs), "{secs}");
}

#[tokio::test(start_paused = true)]
async fn server_without_limits_is_used_with_all_permits() {
    let load = Load {
        concurrency: 64,
        ..Load::new(Behavior::default())
    };
    let ended = load.run().await;
    ended.assert_complete(2000);
    let secs = ended.wall.as_secs_f64();
    assert!(secs < 2000.0 / 64.0 * 0.2 * 1.1 + 0.3, "{secs}");
    assert_eq!(ended.status().limit_per_min, None);
}

#[tokio::test(start_paused = true)]
async fn declared_rpd_closes_the_account_until_the_next_day() {
    let load = Load {
        declared: Some(AccountLimits {
            rpd: Some(50),
            ..AccountLimits::default()
        }),
        questions: 80,
        concurrency: 8,
        ..Load::new(Behavior::default())
    };
    let ended = load.run().await;
    assert_eq!((ended.failed.len(), ended.handed_back), (0, 30));
    assert_eq!(ended.seen(|seen| seen.sent.len()), 50);
    let status = serde_json::to_value(ended.status()).unwrap();
    assert_eq!(status["state"]["cause"], "daily_quota", "{status}");
}
