//! What the workers share of an account: slots on one timeline, that no loss of the server brings forward.

use super::{NAMESPACE, connect, keys, server};
use crate::support::redis_server::{RedisServer, is_installed};
use bsft::account::{GateGrant, GateReport, LearntGrant, LearntReport, RateGrant, SharedAccounts, SharedKey};
use bsft::lm::AccountLimits;
use bsft::store::redis::RedisStore;
use std::time::Duration;
use tokio::time::Instant;

fn key() -> SharedKey {
    SharedKey {
        account: "0a".to_owned(),
        gate: "0b".to_owned(),
    }
}

/// Twenty requests of a thousand a minute.
fn wants_twenty() -> GateReport {
    GateReport {
        limits: AccountLimits {
            rpm: Some(1000),
            ..AccountLimits::default()
        },
        wanted: 20,
        ..GateReport::default()
    }
}

/// Slots reserved, with the latest time that the first and the earliest time that the last can have: a call may take any time.
struct Reserved {
    grant: GateGrant,
    first: Instant,
    last: Instant,
}

/// Asks until there are slots.
async fn reserve(store: &RedisStore) -> Reserved {
    loop {
        let asked = Instant::now();
        let grant = store.sync(&key(), &wants_twenty()).await.unwrap();
        if grant.slots > 0 {
            let steps = u32::try_from(grant.slots - 1).unwrap();
            return Reserved {
                first: Instant::now() + grant.start,
                last: asked + grant.start + grant.step * steps,
                grant,
            };
        }
        tokio::time::sleep(grant.ask_after).await;
    }
}

/// No slot of `later` is at or before the last of `earlier`.
fn assert_follows(later: &Reserved, earlier: &Reserved) {
    assert!(
        later.first > earlier.last,
        "{:?} too early",
        earlier.last - later.first
    );
}

async fn assert_slots_share_a_timeline(server: &RedisServer) {
    let (one, other) = (
        connect(&server.url(), NAMESPACE).await,
        connect(&server.url(), NAMESPACE).await,
    );
    let mut before = reserve(&one).await;
    assert_eq!(before.grant.step, Duration::from_millis(61));
    assert!((1..=11).contains(&before.grant.slots), "{:?}", before.grant);
    for store in [&other, &one, &other, &one] {
        let next = reserve(store).await;
        assert_follows(&next, &before);
        before = next;
    }
}

#[tokio::test]
async fn slots_of_all_workers_are_on_one_timeline() {
    let Some(server) = server(&[]) else { return };
    assert_slots_share_a_timeline(&server).await;
    let account = format!("{NAMESPACE}:v1:{{account:0a}}");
    let gate = format!("{account}:0b");
    assert_eq!(keys(&server), [account, gate]);
}

#[tokio::test]
async fn learnt_rate_is_divided_when_a_gate_joins() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    let learnt = async |member, joins, rate| {
        let report = GateReport {
            learnt: LearntReport {
                member,
                joins,
                rate,
                in_flight: Some(12),
            },
            ..GateReport::default()
        };
        store.sync(&key(), &report).await.unwrap().learnt
    };
    learnt(1, true, None).await;
    let alone = learnt(1, false, Some(30.0)).await;
    assert_eq!(alone, LearntGrant::default());
    let joins = learnt(2, true, None).await;
    let half = LearntGrant {
        others: 1,
        rate: RateGrant::Start(15.0),
        in_flight: Some(12),
    };
    assert_eq!(joins, half);
    let other = learnt(1, false, Some(30.0)).await;
    assert_eq!(other.rate, RateGrant::Scaled(0.5));
    let again = learnt(1, false, Some(15.0)).await;
    assert_eq!(again.rate, RateGrant::Unchanged);
}

#[tokio::test]
async fn slots_of_all_workers_are_on_one_timeline_in_a_cluster() {
    if is_installed() {
        assert_slots_share_a_timeline(&RedisServer::start_cluster()).await;
    }
}

#[tokio::test]
async fn slots_follow_those_that_a_wiped_server_has_forgotten() {
    let Some(server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    let before = reserve(&store).await;
    server.ask(&["FLUSHALL"]);
    let after = reserve(&store).await;
    assert_follows(&after, &before);
}

#[tokio::test]
async fn slots_follow_those_that_a_restarted_server_has_lost() {
    let Some(mut server) = server(&[]) else { return };
    let store = connect(&server.url(), NAMESPACE).await;
    reserve(&store).await;
    let written = server.written();
    reserve(&store).await;
    let before = reserve(&store).await;
    server.kill();
    server.lose_after(written);
    server.start_again();
    let after = reserve(&connect(&server.url(), NAMESPACE).await).await;
    assert_follows(&after, &before);
}
