//! The promises of [`Store`] about long records and outcomes: cases of `store_cases!`.

use super::store::{LEASE, NO_LEASE, StoreUnderTest, claimed, outcomes, places, run, task};
use bsft::store::{Claim, LONG_VALUE, PAGE_BYTES, Position, Store, StoreError};
use bsft::task::AttemptRef;

/// A value that Redis and redb cut into several parts, and that no compression makes short.
fn long(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![b'{'];
    bytes.resize_with(2_500_000, || random.u8(..));
    bytes
}

/// Claims a task that must be free, and returns what the claim lists of long records.
async fn claimed_long(store: &dyn Store, n: u32) -> (AttemptRef, Vec<(u32, usize)>) {
    match store.claim(&run(), task(n), NO_LEASE).await.unwrap() {
        Claim::Run {
            attempt,
            long_records,
            ..
        } => (
            AttemptRef {
                task: task(n),
                attempt,
            },
            long_records,
        ),
        other => panic!("task {n} is not free: {other:?}"),
    }
}

pub(crate) async fn long_records_are_listed_and_returned_one_by_one<T: StoreUnderTest>() {
    let mut t = T::start().await;
    let (attempt, _, _) = claimed(t.store(), task(1), LEASE).await;
    t.store()
        .record(&run(), attempt, 0, b"{short".into())
        .await
        .unwrap();
    t.store().record_long(&run(), attempt, 3, &long(1)).await.unwrap();
    // A retried call, and a value that is long and was passed as any other.
    t.store().record_long(&run(), attempt, 3, &long(1)).await.unwrap();
    t.store().record(&run(), attempt, 7, long(2)).await.unwrap();
    t.store().release(&run(), attempt).await.unwrap();
    for _ in 0..2 {
        let listed = [(3, long(1).len()), (7, long(2).len())];
        assert_eq!(claimed_long(t.store(), 1).await.1, listed);
        assert_eq!(
            t.store().record_of(&run(), task(1), 0).await.unwrap(),
            Some(b"{short".into())
        );
        assert!(t.store().record_of(&run(), task(1), 3).await.unwrap() == Some(long(1)));
        assert!(t.store().record_of(&run(), task(1), 7).await.unwrap() == Some(long(2)));
        assert_eq!(t.store().record_of(&run(), task(1), 4).await.unwrap(), None);
        let all = [(0, b"{short".into()), (3, long(1)), (7, long(2))];
        assert!(t.store().records(&run(), task(1)).await.unwrap() == all);
        t = t.reopened().await;
    }
}

pub(crate) async fn long_outcome_is_listed_with_its_length<T: StoreUnderTest>() {
    let mut t = T::start().await;
    for n in 0..3 {
        let (attempt, _, _) = claimed(t.store(), task(n), LEASE).await;
        t.store().record_long(&run(), attempt, 0, &long(9)).await.unwrap();
        for _ in 0..2 {
            // The second one is a retried call.
            t.store()
                .finish_long(&run(), attempt, &long(n.into()))
                .await
                .unwrap();
        }
        let late = t.store().record_long(&run(), attempt, 1, &long(8)).await;
        assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
    }
    for _ in 0..2 {
        let stored = outcomes(t.store(), Position::default(), 9).await;
        assert_eq!(stored.len(), 3);
        for stored in &stored {
            assert_eq!((stored.outcome.len(), stored.long), (0, Some(long(0).len())));
        }
        for n in 0..3 {
            assert!(t.store().outcome(&run(), task(n)).await.unwrap() == Some(long(n.into())));
            assert_eq!(t.store().records(&run(), task(n)).await.unwrap(), []);
            assert_eq!(t.store().record_of(&run(), task(n), 0).await.unwrap(), None);
        }
        t = t.reopened().await;
    }
    let stored = outcomes(t.store(), Position::default(), 9).await;
    t.store().trim(&run(), &places(&stored[..2])).await.unwrap();
    for _ in 0..2 {
        assert_eq!(t.store().outcome(&run(), stored[1].task).await.unwrap(), None);
        assert!(t.store().outcome(&run(), stored[2].task).await.unwrap().is_some());
        assert_eq!(outcomes(t.store(), Position::default(), 9).await, stored[2..]);
        t = t.reopened().await;
    }
}

pub(crate) async fn stale_attempt_changes_no_long_value<T: StoreUnderTest>() {
    let t = T::start().await;
    let (stale, _, _) = claimed(t.store(), task(1), NO_LEASE).await;
    t.store().record_long(&run(), stale, 0, &long(1)).await.unwrap();
    let (attempt, _, _) = claimed(t.store(), task(1), LEASE).await;
    let record = t.store().record_long(&run(), stale, 0, &long(2)).await;
    assert!(matches!(record, Err(StoreError::Fenced(_))), "{record:?}");
    let finish = t.store().finish_long(&run(), stale, &long(3)).await;
    assert!(matches!(finish, Err(StoreError::Fenced(_))), "{finish:?}");
    assert!(t.store().record_of(&run(), task(1), 0).await.unwrap() == Some(long(1)));
    // The next attempt replaces what the earlier one recorded, also by a short value.
    t.store().record(&run(), attempt, 0, b"{".into()).await.unwrap();
    assert_eq!(
        t.store().record_of(&run(), task(1), 0).await.unwrap(),
        Some(b"{".into())
    );
    t.store().finish_long(&run(), attempt, &long(4)).await.unwrap();
    assert!(t.store().outcome(&run(), task(1)).await.unwrap() == Some(long(4)));
}

pub(crate) async fn long_records_are_imported<T: StoreUnderTest>() {
    let t = T::start().await;
    let records = vec![(0, long(1)), (1, b"{".to_vec())];
    t.store().import(&run(), task(1), records.clone()).await.unwrap();
    // Repeated, it changes nothing.
    t.store().import(&run(), task(1), records.clone()).await.unwrap();
    assert_eq!(claimed_long(t.store(), 1).await.1, [(0, long(1).len())]);
    assert!(t.store().records(&run(), task(1)).await.unwrap() == records);
}

pub(crate) async fn outcomes_returns_pages_of_few_megabytes<T: StoreUnderTest>() {
    let t = T::start().await;
    // As much as is not long.
    let (each, count) = (LONG_VALUE - 1, 40);
    for n in 0..count {
        let (attempt, _, _) = claimed(t.store(), task(n), LEASE).await;
        t.store().finish(&run(), attempt, vec![b'{'; each]).await.unwrap();
    }
    let (mut after, mut seen) = (Position::default(), 0);
    while seen < count as usize {
        let page = outcomes(t.store(), after, 1_000).await;
        let bytes: usize = page.iter().map(|stored| stored.outcome.len()).sum();
        assert_eq!(bytes, page.len() * each);
        assert!((1..=PAGE_BYTES + each).contains(&bytes), "{bytes}");
        seen += page.len();
        after = page.last().unwrap().position;
    }
}
