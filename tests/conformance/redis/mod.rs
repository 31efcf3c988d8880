//! The store on Redis: every case, on one server and on a cluster, and what only a server can do to us.

mod account;
mod coordination;
mod lockout;
mod loss;
mod refusal;
mod window;

use crate::conformance::store::{LEASE, StoreUnderTest, all_store_cases, claimed, run, store_cases, task};
use crate::support::redis_server::{RedisServer, is_installed};
use async_trait::async_trait;
use bsft::error_action::ErrorAction;
use bsft::store::redis::RedisStore;
use bsft::store::{Position, Store, StoreError};
use bsft::task::AttemptRef;
use std::sync::OnceLock;
use std::time::Duration;

/// A server that the store cases may use instead of starting one each.
pub(crate) const SERVER: &str = "BSFT_TEST_REDIS_URL";

pub(crate) const NAMESPACE: &str = "bsft-test";

/// The longest that a cluster may take to recover, and a server to refuse.
const DEADLINE: Duration = Duration::from_secs(180);

struct OnServer {
    store: RedisStore,
    url: String,
    namespace: String,
    server: Option<RedisServer>,
}

#[async_trait]
impl StoreUnderTest for OnServer {
    fn is_available() -> bool {
        std::env::var_os(SERVER).is_some() || is_installed()
    }

    async fn start() -> OnServer {
        let given = std::env::var(SERVER).ok();
        let server = given.is_none().then(|| RedisServer::start(&[]));
        let url = given.unwrap_or_else(|| server.as_ref().unwrap().url());
        OnServer::on(server, url).await
    }

    fn store(&self) -> &dyn Store {
        &self.store
    }

    async fn reopened(self) -> OnServer {
        let OnServer {
            store,
            url,
            namespace,
            server,
        } = self;
        drop(store);
        OnServer {
            store: connect(&url, &namespace).await,
            url,
            namespace,
            server,
        }
    }
}

impl OnServer {
    async fn on(server: Option<RedisServer>, url: String) -> OnServer {
        let namespace = format!("{NAMESPACE}:{:016x}", fastrand::u64(..));
        OnServer {
            store: connect(&url, &namespace).await,
            url,
            namespace,
            server,
        }
    }
}

store_cases!(OnServer, tokio::test);

/// A cluster that all cases of a process share: it takes two seconds before it is one.
static CLUSTER: OnceLock<RedisServer> = OnceLock::new();

struct OnCluster(OnServer);

#[async_trait]
impl StoreUnderTest for OnCluster {
    async fn start() -> OnCluster {
        let url = CLUSTER.get_or_init(RedisServer::start_cluster).url();
        OnCluster(OnServer::on(None, url).await)
    }

    fn store(&self) -> &dyn Store {
        &self.0.store
    }

    async fn reopened(self) -> OnCluster {
        OnCluster(self.0.reopened().await)
    }
}

macro_rules! one_after_the_other {
    ($under_test:ty: $($case:ident)+) => {$(
        crate::conformance::store::$case::<$under_test>().await;
    )+};
}

#[tokio::test]
async fn every_case_holds_on_a_cluster() {
    if is_installed() {
        all_store_cases! { one_after_the_other! OnCluster }
    }
}

pub(crate) async fn connect(url: &str, namespace: &str) -> RedisStore {
    RedisStore::connect(url, namespace).await.unwrap()
}

pub(crate) async fn refusal(url: &str) -> StoreError {
    match RedisStore::connect(url, NAMESPACE).await {
        Ok(_) => panic!("connected to {url}"),
        Err(error) => error,
    }
}

fn is_unreachable<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    let error = result.as_ref().unwrap_err();
    assert!(matches!(error.action(), ErrorAction::Retry), "{error}");
    matches!(error, StoreError::Unreachable { .. })
}

async fn finish(store: &dyn Store, n: u32) -> AttemptRef {
    let (attempt, _, _) = claimed(store, task(n), LEASE).await;
    store.record(&run(), attempt, 0, vec![1; 300]).await.unwrap();
    store
        .finish(&run(), attempt, n.to_le_bytes().to_vec())
        .await
        .unwrap();
    attempt
}

async fn outcomes(store: &dyn Store) -> Vec<(Position, bsft::task::TaskId)> {
    let stored = store
        .outcomes(&run(), Position::default(), 99_999, Duration::ZERO)
        .await;
    stored
        .unwrap()
        .into_iter()
        .map(|s| (s.position, s.task))
        .collect()
}

/// Keys, sorted.
pub(crate) fn keys(server: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*"])).unwrap();
    keys.sort();
    keys
}

/// A server of the test's own; `None`: there is none to start.
fn server(settings: &[&str]) -> Option<RedisServer> {
    is_installed().then(|| RedisServer::start(settings))
}
