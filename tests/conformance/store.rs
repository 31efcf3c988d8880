//! The promises of [`Store`], each a case; `store_cases!` makes them the tests of one implementation.

pub(crate) use super::long_values::*;

use async_trait::async_trait;
use bsft::store::{Claim, Position, Store, StoreError, Stored};
use bsft::task::{Attempt, AttemptRef, RunId, TaskId};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A store of its own for one test.
#[async_trait]
pub(crate) trait StoreUnderTest: Sized + Send + Sync {
    /// Whether its server is installed; prints a line if not.
    fn is_available() -> bool {
        true
    }
    async fn start() -> Self;
    fn store(&self) -> &dyn Store;
    /// The store as the next process finds it, after this one ended.
    async fn reopened(self) -> Self;
}

pub(crate) const LEASE: Duration = Duration::from_secs(60);
/// A lease that has run out by the time that the next call looks.
pub(crate) const NO_LEASE: Duration = Duration::ZERO;
/// The longest that anything may take, on a machine that does much else.
const PATIENCE: Duration = Duration::from_secs(180);

/// Gives all cases to another macro.
macro_rules! all_store_cases {
    ($then:ident! $($arguments:tt)*) => { $then! { $($arguments)*:
        job_returns_the_last_put_job
        claim_of_a_claimed_task_is_held
        claim_returns_records_by_slot
        records_are_readable_until_finish
        release_counts_no_failure
        expired_lease_counts_a_failure_and_fences_its_attempt
        expired_lease_of_a_waiting_attempt_counts_no_failure
        renew_keeps_the_lease
        stale_attempt_changes_nothing
        finish_keeps_the_first_outcome
        trim_keeps_a_task_done
        trim_is_idempotent
        reopen_allows_another_claim_and_trim
        positions_strictly_grow
        outcomes_returns_pages_up_to_the_limit
        outcomes_returns_with_the_first_outcome
        outcomes_returns_after_its_wait
        abandoned_lists_tasks_without_lease_or_outcome
        claim_returns_imported_records
        import_does_not_replace_records
        runs_are_separate
        next_process_finds_everything
        long_records_are_listed_and_returned_one_by_one
        long_outcome_is_listed_with_its_length
        stale_attempt_changes_no_long_value
        long_records_are_imported
        outcomes_returns_pages_of_few_megabytes
    } };
}
pub(crate) use all_store_cases;

/// A test for each case.
macro_rules! store_cases {
    ($under_test:ty, $test:meta: $($case:ident)+) => {$(
        #[$test]
        async fn $case() {
            if <$under_test as crate::conformance::store::StoreUnderTest>::is_available() {
                crate::conformance::store::$case::<$under_test>().await;
            }
        }
    )+};
    ($under_test:ty, $test:meta) => {
        crate::conformance::store::all_store_cases! { store_cases! $under_test, $test }
    };
}
pub(crate) use store_cases;

pub(crate) fn run() -> RunId {
    RunId("run".into())
}

pub(crate) fn task(n: u32) -> TaskId {
    TaskId::derive(&[&n.to_le_bytes()])
}

/// Claims a task that must be free.
pub(crate) async fn claimed(
    store: &dyn Store,
    task: TaskId,
    lease: Duration,
) -> (AttemptRef, u32, Vec<(u32, Vec<u8>)>) {
    match store.claim(&run(), task, lease).await.unwrap() {
        Claim::Run {
            attempt,
            failures,
            records,
            ..
        } => (AttemptRef { task, attempt }, failures, records),
        other => panic!("task {task} is not free: {other:?}"),
    }
}

/// Has tasks of real size done, all at once.
pub(crate) async fn work_through<S: Store + 'static>(store: &Arc<S>, tasks: Range<u32>) {
    let mut work = tokio::task::JoinSet::new();
    for n in tasks {
        let store = Arc::clone(store);
        work.spawn(async move {
            let (attempt, _, _) = claimed(&*store, task(n), LEASE).await;
            store.record(&run(), attempt, 0, vec![1; 300]).await.unwrap();
            store.finish(&run(), attempt, vec![2; 2_500]).await.unwrap();
        });
    }
    work.join_all().await;
}

async fn attempt(store: &dyn Store, task: TaskId) -> AttemptRef {
    claimed(store, task, LEASE).await.0
}

async fn finished(store: &dyn Store, n: u32) {
    let attempt = attempt(store, task(n)).await;
    store
        .finish(&run(), attempt, n.to_le_bytes().to_vec())
        .await
        .unwrap();
}

pub(crate) async fn outcomes(store: &dyn Store, after: Position, limit: usize) -> Vec<Stored> {
    store
        .outcomes(&run(), after, limit, Duration::ZERO)
        .await
        .unwrap()
}

pub(crate) fn places(stored: &[Stored]) -> Vec<(Position, TaskId)> {
    stored
        .iter()
        .map(|stored| (stored.position, stored.task))
        .collect()
}

#[track_caller]
fn assert_fenced<T: std::fmt::Debug>(result: Result<T, StoreError>, attempt: AttemptRef) {
    assert!(
        matches!(&result, Err(StoreError::Fenced(fenced)) if *fenced == attempt),
        "{result:?}"
    );
}

pub(crate) async fn job_returns_the_last_put_job<T: StoreUnderTest>() {
    let t = T::start().await;
    assert_eq!(t.store().job(&run()).await.unwrap(), None);
    for spec in [&b"one"[..], b"two"] {
        t.store().put_job(&run(), spec).await.unwrap();
        assert_eq!(t.store().job(&run()).await.unwrap().as_deref(), Some(spec));
    }
}

pub(crate) async fn claim_of_a_claimed_task_is_held<T: StoreUnderTest>() {
    let t = T::start().await;
    let (first, failures, records) = claimed(t.store(), task(1), LEASE).await;
    assert_eq!((first.attempt, failures, records), (Attempt(1), 0, vec![]));
    assert_eq!(
        t.store().claim(&run(), task(1), LEASE).await.unwrap(),
        Claim::Held
    );
    attempt(t.store(), task(2)).await;
}

pub(crate) async fn claim_returns_records_by_slot<T: StoreUnderTest>() {
    let t = T::start().await;
    let first = attempt(t.store(), task(1)).await;
    for (slot, bytes) in [(7, "seven"), (0, "old"), (0, ""), (300, "many")] {
        t.store().record(&run(), first, slot, bytes.into()).await.unwrap();
    }
    t.store().release(&run(), first).await.unwrap();
    let (_, _, records) = claimed(t.store(), task(1), LEASE).await;
    assert_eq!(
        records,
        [(0, "".into()), (7, "seven".into()), (300, "many".into())]
    );
}

pub(crate) async fn records_are_readable_until_finish<T: StoreUnderTest>() {
    let t = T::start().await;
    let look = async || {
        let mut records = t.store().records(&run(), task(1)).await.unwrap();
        records.sort();
        records
    };
    assert_eq!(look().await, []);
    let first = attempt(t.store(), task(1)).await;
    assert_eq!(look().await, []);
    for (slot, bytes) in [(12, "twelve"), (0, "")] {
        t.store().record(&run(), first, slot, bytes.into()).await.unwrap();
    }
    let recorded = [(0, "".into()), (12, "twelve".into())];
    assert_eq!(look().await, recorded, "while it is held");
    t.store().release(&run(), first).await.unwrap();
    assert_eq!(look().await, recorded, "while it is free");
    let second = attempt(t.store(), task(1)).await;
    t.store().finish(&run(), second, b"done".into()).await.unwrap();
    assert_eq!(look().await, []);
}

pub(crate) async fn release_counts_no_failure<T: StoreUnderTest>() {
    let t = T::start().await;
    for number in 1..20 {
        let (attempt, failures, _) = claimed(t.store(), task(1), LEASE).await;
        assert_eq!((attempt.attempt, failures), (Attempt(number), 0));
        t.store().release(&run(), attempt).await.unwrap();
        assert_fenced(t.store().release(&run(), attempt).await, attempt);
    }
}

pub(crate) async fn expired_lease_counts_a_failure_and_fences_its_attempt<T: StoreUnderTest>() {
    let t = T::start().await;
    for number in 0..3 {
        let (attempt, failures, _) = claimed(t.store(), task(1), NO_LEASE).await;
        assert_eq!((attempt.attempt, failures), (Attempt(number + 1), number));
    }
    let stale = AttemptRef {
        task: task(1),
        attempt: Attempt(2),
    };
    assert_fenced(t.store().renew(&run(), stale, LEASE).await, stale);
}

pub(crate) async fn expired_lease_of_a_waiting_attempt_counts_no_failure<T: StoreUnderTest>() {
    let t = T::start().await;
    let (waiting, _, _) = claimed(t.store(), task(1), NO_LEASE).await;
    t.store().set_waiting(&run(), waiting, true).await.unwrap();
    let (working, failures, _) = claimed(t.store(), task(1), NO_LEASE).await;
    assert_eq!((working.attempt, failures), (Attempt(2), 0));
    assert_fenced(t.store().set_waiting(&run(), waiting, false).await, waiting);
    t.store().set_waiting(&run(), working, true).await.unwrap();
    t.store().set_waiting(&run(), working, false).await.unwrap();
    let (third, failures, _) = claimed(t.store(), task(1), LEASE).await;
    assert_eq!((third.attempt, failures), (Attempt(3), 1));
    // The process ends while the attempt waits.
    t.store().set_waiting(&run(), third, true).await.unwrap();
    t.store().renew(&run(), third, NO_LEASE).await.unwrap();
    let t = t.reopened().await;
    let (_, failures, _) = claimed(t.store(), task(1), LEASE).await;
    assert_eq!(failures, 1);
}

pub(crate) async fn renew_keeps_the_lease<T: StoreUnderTest>() {
    let t = T::start().await;
    let (attempt, _, _) = claimed(t.store(), task(1), NO_LEASE).await;
    t.store().renew(&run(), attempt, LEASE).await.unwrap();
    assert_eq!(
        t.store().claim(&run(), task(1), LEASE).await.unwrap(),
        Claim::Held
    );
}

pub(crate) async fn stale_attempt_changes_nothing<T: StoreUnderTest>() {
    let t = T::start().await;
    let (old, _, _) = claimed(t.store(), task(1), NO_LEASE).await;
    let new = attempt(t.store(), task(1)).await;
    assert_fenced(t.store().record(&run(), old, 0, b"late".into()).await, old);
    assert_fenced(t.store().finish(&run(), old, b"late".into()).await, old);
    assert_fenced(t.store().release(&run(), old).await, old);
    assert_eq!(t.store().outcome(&run(), task(1)).await.unwrap(), None);
    t.store().release(&run(), new).await.unwrap();
    let (_, _, records) = claimed(t.store(), task(1), LEASE).await;
    assert_eq!(records, []);
    let never = AttemptRef {
        task: task(2),
        attempt: Attempt(1),
    };
    assert_fenced(
        t.store().record(&run(), never, 0, b"never claimed".into()).await,
        never,
    );
}

pub(crate) async fn finish_keeps_the_first_outcome<T: StoreUnderTest>() {
    let t = T::start().await;
    let (old, _, _) = claimed(t.store(), task(1), NO_LEASE).await;
    let new = attempt(t.store(), task(1)).await;
    t.store().finish(&run(), new, b"first".into()).await.unwrap();
    t.store()
        .finish(&run(), new, b"the answer got lost, so again".into())
        .await
        .unwrap();
    assert_fenced(t.store().finish(&run(), old, b"late".into()).await, old);
    assert_fenced(
        t.store().record(&run(), new, 0, b"after the end".into()).await,
        new,
    );
    assert_eq!(
        t.store().outcome(&run(), task(1)).await.unwrap().as_deref(),
        Some(&b"first"[..])
    );
    assert_eq!(
        t.store().claim(&run(), task(1), LEASE).await.unwrap(),
        Claim::Done
    );
    assert_eq!(outcomes(t.store(), Position::default(), 9).await.len(), 1);
}

pub(crate) async fn trim_keeps_a_task_done<T: StoreUnderTest>() {
    let t = T::start().await;
    finished(t.store(), 1).await;
    let stored = outcomes(t.store(), Position::default(), 9).await;
    t.store().trim(&run(), &places(&stored)).await.unwrap();
    t.store()
        .import(&run(), task(1), vec![(0, b"too late".into())])
        .await
        .unwrap();
    assert_eq!(
        t.store().claim(&run(), task(1), LEASE).await.unwrap(),
        Claim::Done
    );
    assert_eq!(t.store().outcome(&run(), task(1)).await.unwrap(), None);
    assert_eq!(outcomes(t.store(), Position::default(), 9).await, []);
}

pub(crate) async fn reopen_allows_another_claim_and_trim<T: StoreUnderTest>() {
    let mut t = T::start().await;
    finished(t.store(), 1).await;
    let stored = outcomes(t.store(), Position::default(), 10).await;
    t.store().trim(&run(), &places(&stored)).await.unwrap();
    t = t.reopened().await;
    for life in [b"second", b"third!"] {
        // Task 2 was never trimmed: it is none that could be reopened.
        assert_eq!(t.store().reopen(&run(), &[task(1), task(2)]).await.unwrap(), 1);
        let (attempt, failures, records) = claimed(t.store(), task(1), NO_LEASE).await;
        assert_eq!(
            (failures, records),
            (0, vec![]),
            "nothing of its earlier life counts"
        );
        t.store().record(&run(), attempt, 0, life.to_vec()).await.unwrap();
        // The next process finds it as it was: at work, with what it recorded.
        t = t.reopened().await;
        let (attempt, _, records) = claimed(t.store(), task(1), LEASE).await;
        assert_eq!(records, [(0, life.to_vec())]);
        t.store().finish(&run(), attempt, life.to_vec()).await.unwrap();
        let stored = outcomes(t.store(), Position::default(), 10).await;
        assert_eq!(stored.iter().map(|s| &s.outcome[..]).collect::<Vec<_>>(), [life]);
        t.store().trim(&run(), &places(&stored)).await.unwrap();
        t = t.reopened().await;
        assert_eq!(outcomes(t.store(), Position::default(), 10).await, []);
        assert_eq!(
            t.store().claim(&run(), task(1), LEASE).await.unwrap(),
            Claim::Done
        );
    }
}

pub(crate) async fn trim_is_idempotent<T: StoreUnderTest>() {
    let t = T::start().await;
    finished(t.store(), 1).await;
    finished(t.store(), 2).await;
    let stored = outcomes(t.store(), Position::default(), 9).await;
    let wrong = [(stored[0].position, task(2)), (Position(1 << 40), task(3))];
    t.store().trim(&run(), &wrong).await.unwrap();
    assert_eq!(outcomes(t.store(), Position::default(), 9).await, stored);
    for _ in 0..2 {
        t.store().trim(&run(), &places(&stored[..1])).await.unwrap();
    }
    assert_eq!(outcomes(t.store(), Position::default(), 9).await, stored[1..]);
    attempt(t.store(), task(3)).await;
}

pub(crate) async fn positions_strictly_grow<T: StoreUnderTest>() {
    let mut t = T::start().await;
    let mut last = Position::default();
    for round in 0..4 {
        for n in 0..5 {
            finished(t.store(), round * 5 + n).await;
        }
        let stored = outcomes(t.store(), last, 99).await;
        assert_eq!(stored.len(), 5);
        for stored in &stored {
            assert!(stored.position > last);
            last = stored.position;
        }
        // Neither trimming all there is nor another process makes a position come again.
        t.store().trim(&run(), &places(&stored)).await.unwrap();
        t = t.reopened().await;
    }
}

pub(crate) async fn outcomes_returns_pages_up_to_the_limit<T: StoreUnderTest>() {
    let t = T::start().await;
    for n in 0..25 {
        finished(t.store(), n).await;
    }
    let (mut after, mut seen) = (Position::default(), Vec::new());
    while let page @ [_, ..] = &outcomes(t.store(), after, 10).await[..] {
        assert!(page.len() <= 10);
        after = page[page.len() - 1].position;
        seen.extend(page.iter().map(|stored| stored.outcome.clone()));
    }
    assert_eq!(
        seen,
        (0..25u32).map(|n| n.to_le_bytes().to_vec()).collect::<Vec<_>>()
    );
}

pub(crate) async fn outcomes_returns_with_the_first_outcome<T: StoreUnderTest>() {
    let t = T::start().await;
    let run = run();
    let read = t.store().outcomes(&run, Position::default(), 9, PATIENCE);
    let start = Instant::now();
    let (read, ()) = tokio::join!(read, finished(t.store(), 1));
    assert_eq!(read.unwrap().len(), 1);
    assert!(start.elapsed() < PATIENCE);
}

pub(crate) async fn outcomes_returns_after_its_wait<T: StoreUnderTest>() {
    let t = T::start().await;
    let (start, wait) = (Instant::now(), Duration::from_millis(50));
    assert_eq!(
        t.store()
            .outcomes(&run(), Position::default(), 9, wait)
            .await
            .unwrap(),
        []
    );
    assert!(start.elapsed() >= wait && start.elapsed() < PATIENCE);
}

pub(crate) async fn abandoned_lists_tasks_without_lease_or_outcome<T: StoreUnderTest>() {
    let t = T::start().await;
    let all: Vec<TaskId> = (0..600).map(task).collect();
    let abandoned = async || t.store().abandoned(&run(), &all).await.unwrap();
    assert_eq!(abandoned().await, all, "no worker has claimed them yet");
    let released = attempt(t.store(), task(0)).await;
    t.store().release(&run(), released).await.unwrap();
    claimed(t.store(), task(1), NO_LEASE).await;
    claimed(t.store(), task(598), LEASE).await;
    finished(t.store(), 599).await;
    assert_eq!(abandoned().await, all[..598]);
    let stored = outcomes(t.store(), Position::default(), 9).await;
    t.store().trim(&run(), &places(&stored)).await.unwrap();
    let left = abandoned().await;
    assert_eq!(
        left.last(),
        Some(&task(599)),
        "its outcome cannot be read any more"
    );
    assert_eq!(t.store().abandoned(&run(), &[]).await.unwrap(), []);
}

pub(crate) async fn claim_returns_imported_records<T: StoreUnderTest>() {
    let t = T::start().await;
    t.store()
        .import(&run(), task(1), vec![(3, b"three".into()), (1, b"one".into())])
        .await
        .unwrap();
    let (attempt, failures, records) = claimed(t.store(), task(1), LEASE).await;
    assert_eq!((attempt.attempt, failures), (Attempt(1), 0));
    assert_eq!(records, [(1, b"one".into()), (3, b"three".into())]);
}

pub(crate) async fn import_does_not_replace_records<T: StoreUnderTest>() {
    let t = T::start().await;
    let first = attempt(t.store(), task(1)).await;
    t.store().record(&run(), first, 1, b"paid".into()).await.unwrap();
    t.store()
        .import(&run(), task(1), vec![(1, b"old".into()), (2, b"new".into())])
        .await
        .unwrap();
    t.store().release(&run(), first).await.unwrap();
    let (_, _, records) = claimed(t.store(), task(1), LEASE).await;
    assert_eq!(records, [(1, b"paid".into()), (2, b"new".into())]);
}

pub(crate) async fn runs_are_separate<T: StoreUnderTest>() {
    let t = T::start().await;
    let other = RunId("other".into());
    t.store().put_job(&other, b"other").await.unwrap();
    finished(t.store(), 1).await;
    assert_eq!(t.store().job(&run()).await.unwrap(), None);
    assert_eq!(t.store().outcome(&other, task(1)).await.unwrap(), None);
    assert!(matches!(
        t.store().claim(&other, task(1), LEASE).await.unwrap(),
        Claim::Run { .. }
    ));
    let none = t
        .store()
        .outcomes(&other, Position::default(), 9, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(none, []);
}

pub(crate) async fn next_process_finds_everything<T: StoreUnderTest>() {
    let t = T::start().await;
    t.store().put_job(&run(), b"job").await.unwrap();
    for n in 0..3 {
        finished(t.store(), n).await;
    }
    let before = outcomes(t.store(), Position::default(), 9).await;
    t.store().trim(&run(), &places(&before[..1])).await.unwrap();
    let working = attempt(t.store(), task(7)).await;
    t.store()
        .record(&run(), working, 4, b"paid".into())
        .await
        .unwrap();
    t.store().release(&run(), working).await.unwrap();
    let t = t.reopened().await;
    assert_eq!(t.store().job(&run()).await.unwrap().as_deref(), Some(&b"job"[..]));
    assert_eq!(outcomes(t.store(), before[0].position, 9).await, before[1..]);
    for n in 0..3 {
        assert_eq!(
            t.store().claim(&run(), task(n), LEASE).await.unwrap(),
            Claim::Done
        );
    }
    let (again, failures, records) = claimed(t.store(), task(7), LEASE).await;
    assert_eq!((again.attempt, failures), (Attempt(2), 0));
    assert_eq!(records, [(4, b"paid".into())]);
}
