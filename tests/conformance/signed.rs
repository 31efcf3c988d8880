//! The store decorator that signs: every case, and what a writer in the server tries.

use crate::conformance::store::{LEASE, StoreUnderTest, claimed, run, store_cases, task};
use async_trait::async_trait;
use bsft::lm::Secret;
use bsft::store::embedded::EmbeddedStore;
use bsft::store::signed::SignedStore;
use bsft::store::{Claim, Position, Store, StoreError};
use bsft::task::{AttemptRef, RunId};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const KEY: &str = "a key of the tests";

/// A store whose values are signed, and the same one without signatures.
struct Signed {
    signed: SignedStore,
    bare: Arc<EmbeddedStore>,
    dir: TempDir,
}

impl Signed {
    fn open(dir: TempDir) -> Signed {
        let bare = Arc::new(EmbeddedStore::open(&dir.path().join("state.redb")).unwrap());
        Signed {
            signed: signed_with(&bare, Some(KEY)),
            bare,
            dir,
        }
    }
}

fn signed_with(bare: &Arc<EmbeddedStore>, key: Option<&str>) -> SignedStore {
    let key = key.and_then(Secret::new);
    SignedStore::new(Arc::clone(bare) as _, "the store", key.as_ref())
}

#[async_trait]
impl StoreUnderTest for Signed {
    async fn start() -> Signed {
        Signed::open(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> &dyn Store {
        &self.signed
    }

    async fn reopened(self) -> Signed {
        let Signed { signed, bare, dir } = self;
        drop((signed, bare));
        Signed::open(dir)
    }
}

store_cases!(Signed, tokio::test);

async fn outcomes(store: &dyn Store) -> Result<Vec<Vec<u8>>, StoreError> {
    let found = store
        .outcomes(&run(), Position::default(), 10, Duration::ZERO)
        .await?;
    Ok(found.into_iter().map(|stored| stored.outcome).collect())
}

async fn attempt(store: &dyn Store, n: u32) -> AttemptRef {
    claimed(store, task(n), LEASE).await.0
}

#[track_caller]
fn assert_unsigned<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    match result {
        Err(StoreError::Unsigned { message, .. }) => {
            assert!(
                message.contains("BSFT_SIGNING_KEY") && !message.contains(KEY),
                "{message}"
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn unsigned_or_changed_job_is_refused() {
    let t = Signed::start().await;
    t.signed.put_job(&run(), b"{}").await.unwrap();
    let mut stored = t.bare.job(&run()).await.unwrap().unwrap();
    assert_ne!(stored, b"{}");
    *stored.last_mut().unwrap() ^= 1;
    for forged in [&stored[..], b"{}", b"", &stored[..20]] {
        t.bare.put_job(&run(), forged).await.unwrap();
        assert_unsigned(t.signed.job(&run()).await);
    }
    // The signature is that of another run.
    let other = RunId("other".to_owned());
    t.signed.put_job(&other, b"{}").await.unwrap();
    let stored = t.bare.job(&other).await.unwrap().unwrap();
    t.bare.put_job(&run(), &stored).await.unwrap();
    assert_unsigned(t.signed.job(&run()).await);
}

#[tokio::test]
async fn forged_outcome_is_unreadable_and_a_moved_one_too() {
    let t = Signed::start().await;
    let first = attempt(&t.signed, 1).await;
    t.signed.finish(&run(), first, b"mine".to_vec()).await.unwrap();
    let genuine = t.bare.outcome(&run(), task(1)).await.unwrap().unwrap();
    for (n, forged) in [(2, b"forged".to_vec()), (3, genuine)] {
        let attempt = attempt(&t.signed, n).await;
        t.bare.finish(&run(), attempt, forged).await.unwrap();
        assert_unsigned(t.signed.outcome(&run(), task(n)).await);
    }
    let found = outcomes(&t.signed).await.unwrap();
    assert_eq!(found, [b"mine".to_vec(), Vec::new(), Vec::new()]);
}

#[tokio::test]
async fn forged_record_is_refused_and_its_attempt_is_not_lost() {
    let t = Signed::start().await;
    let first = attempt(&t.signed, 1).await;
    t.signed
        .record(&run(), first, 0, b"answer".to_vec())
        .await
        .unwrap();
    t.signed.release(&run(), first).await.unwrap();
    // The answer of another call of the same task.
    let records = t.bare.records(&run(), task(1)).await.unwrap();
    t.bare
        .import(&run(), task(1), vec![(1, records[0].1.clone())])
        .await
        .unwrap();
    for _ in 0..20 {
        assert_unsigned(t.signed.claim(&run(), task(1), LEASE).await);
    }
    match t.bare.claim(&run(), task(1), LEASE).await.unwrap() {
        Claim::Run { failures, .. } => assert_eq!(failures, 0),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn process_without_the_key_names_its_variable_and_loses_nothing() {
    let t = Signed::start().await;
    t.signed.put_job(&run(), b"{}").await.unwrap();
    let first = attempt(&t.signed, 1).await;
    t.signed.finish(&run(), first, b"mine".to_vec()).await.unwrap();
    let without = signed_with(&t.bare, None);
    for error in [
        without.job(&run()).await.map(|_| ()).unwrap_err(),
        outcomes(&without).await.map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(error, StoreError::Unsigned { .. }), "{error}");
        assert!(error.to_string().contains("set BSFT_SIGNING_KEY"), "{error}");
    }
    let other = signed_with(&t.bare, Some("another key of the tests"));
    assert_unsigned(other.job(&run()).await);
    assert_eq!(outcomes(&t.signed).await.unwrap(), [b"mine".to_vec()]);
}
