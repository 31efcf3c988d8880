//! The store on Redis: every case, on one server and on a cluster, and what only a server can do to us.

use crate::lossy::Lossy;
use crate::redis_server::{RedisServer, is_installed};
use crate::store::{LEASE, StoreUnderTest, all_store_cases, claimed, run, store_cases, task};
use async_trait::async_trait;
use bsft::queue::Recourse;
use bsft::store::redis::RedisStore;
use bsft::store::{Claim, Position, Store, StoreError};
use bsft::task::{AttemptRef, RunId};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// A server that the store cases may use instead of starting one each.
const SERVER: &str = "BSFT_TEST_REDIS_URL";

const NAMESPACE: &str = "bsft-test";

/// The longest that a cluster may take to be one again.
const DEADLINE: Duration = Duration::from_secs(60);

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
        crate::store::$case::<$under_test>().await;
    )+};
}

#[tokio::test]
async fn every_case_holds_on_a_cluster() {
    if is_installed() {
        all_store_cases! { one_after_the_other! OnCluster }
    }
}

async fn connect(url: &str, namespace: &str) -> RedisStore {
    RedisStore::connect(url, namespace).await.unwrap()
}

async fn refusal(url: &str) -> StoreError {
    match RedisStore::connect(url, NAMESPACE).await {
        Ok(_) => panic!("connected to {url}"),
        Err(error) => error,
    }
}

fn is_unreachable<T: std::fmt::Debug>(result: &Result<T, StoreError>) -> bool {
    let error = result.as_ref().unwrap_err();
    assert!(matches!(error.recourse(), Recourse::Retry { .. }), "{error}");
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
fn keys(server: &RedisServer) -> Vec<String> {
    let mut keys: Vec<String> = redis::from_redis_value(server.ask(&["KEYS", "*"])).unwrap();
    keys.sort();
    keys
}

#[tokio::test]
async fn nothing_but_the_run_is_left_by_a_start() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    assert_eq!(keys(&server), [""; 0]);
    store.put_job(&run(), b"job").await.unwrap();
    assert_eq!(keys(&server), ["bsft-test:v1:{run}:job"]);
}

#[tokio::test]
async fn two_namespaces_do_not_see_each_other() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let (a, b) = (
        connect(&server.url(), "a").await,
        connect(&server.url(), "b").await,
    );
    a.put_job(&run(), b"job").await.unwrap();
    finish(&a, 1).await;
    assert_eq!(b.job(&run()).await.unwrap(), None);
    assert_eq!(outcomes(&b).await, []);
    claimed(&b, task(1), LEASE).await;
}

#[tokio::test]
async fn two_processes_share_a_namespace() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let (a, b) = (
        connect(&server.url(), NAMESPACE).await,
        connect(&server.url(), NAMESPACE).await,
    );
    let (attempt, _, _) = claimed(&a, task(1), LEASE).await;
    assert_eq!(b.claim(&run(), task(1), LEASE).await.unwrap(), Claim::Held);
    a.finish(&run(), attempt, b"by a".into()).await.unwrap();
    assert_eq!(b.outcome(&run(), task(1)).await.unwrap(), Some(b"by a".to_vec()));
}

#[tokio::test]
async fn every_key_goes_away_by_itself() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    store.put_job(&run(), b"job").await.unwrap();
    for n in 0..4 {
        finish(&store, n).await;
    }
    let stored = outcomes(&store).await;
    store.trim(&run(), &stored[..2]).await.unwrap();
    assert_eq!(store.reopen(&run(), &[task(0)]).await.unwrap(), 1);
    store
        .import(&run(), task(10), vec![(0, b"known".into())])
        .await
        .unwrap();
    claimed(&store, task(11), LEASE).await;
    let (released, _, _) = claimed(&store, task(12), LEASE).await;
    store.release(&run(), released).await.unwrap();
    let keys = keys(&server);
    assert_eq!(keys.len(), 4 + 6, "{keys:?}");
    for key in keys {
        let left: i64 = redis::from_redis_value(server.ask(&["TTL", &key])).unwrap();
        assert!(left > 0, "{key} stays for ever: {left}");
    }
}

/// Tasks of the growth test.
const TASKS: u32 = 10_000;

#[tokio::test]
async fn the_server_holds_the_window_and_not_the_run() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = Arc::new(connect(&server.url(), NAMESPACE).await);
    finish(&*store, TASKS).await;
    store.trim(&run(), &outcomes(&*store).await).await.unwrap();
    let before = server.info::<u64>("used_memory");
    for window in 0..10 {
        let mut work = tokio::task::JoinSet::new();
        for n in window * TASKS / 10..(window + 1) * TASKS / 10 {
            let store = Arc::clone(&store);
            work.spawn(async move {
                let (attempt, _, _) = claimed(&*store, task(n), LEASE).await;
                store.record(&run(), attempt, 0, vec![1; 300]).await.unwrap();
                store.finish(&run(), attempt, vec![2; 2_500]).await.unwrap();
            });
        }
        work.join_all().await;
        let stored = outcomes(&*store).await;
        assert_eq!(stored.len(), TASKS as usize / 10);
        store.trim(&run(), &stored).await.unwrap();
    }
    let done = "bsft-test:v1:{run}:done";
    assert_eq!(
        keys(&server),
        [done, "bsft-test:v1:{run}:outcomes", "bsft-test:v1:{run}:position"]
    );
    let done: u64 = redis::from_redis_value(server.ask(&["MEMORY", "USAGE", done, "SAMPLES", "0"])).unwrap();
    assert!(
        done < 100 * u64::from(TASKS),
        "{done} bytes for the tasks that are done"
    );
    // Beside the set: buffers and what the allocator rounds up. The outcomes alone were 25 MB.
    let grown = server.info::<u64>("used_memory").saturating_sub(before);
    assert!(
        grown < done + (1 << 20),
        "{grown} bytes, {done} of them for the tasks that are done"
    );
    for n in (0..TASKS).step_by(97) {
        assert_eq!(store.claim(&run(), task(n), LEASE).await.unwrap(), Claim::Done);
    }
}

#[tokio::test]
async fn every_step_may_lose_its_answer_and_be_repeated() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let lossy = Lossy::before(server.port()).await;
    // The server gets to know the scripts: an answer that is lost is to be a step's.
    let warm = connect(&server.url(), "warm").await;
    let released = finish(&warm, 1).await;
    warm.outcome(&run(), task(1)).await.unwrap();
    warm.trim(&run(), &outcomes(&warm).await).await.unwrap();
    warm.reopen(&run(), &[task(1)]).await.unwrap();
    warm.import(&run(), task(2), vec![(0, vec![])]).await.unwrap();
    assert!(warm.renew(&run(), released, LEASE).await.is_err());
    assert!(warm.release(&run(), released).await.is_err());

    let store = connect(&lossy.url(), NAMESPACE).await;
    let (run, id) = (run(), task(1));
    macro_rules! twice {
        ($step:expr) => {{
            lossy.lose_an_answer();
            let lost = $step.await;
            assert!(lossy.has_lost_it() && is_unreachable(&lost), "{lost:?}");
            $step.await.unwrap()
        }};
    }
    twice!(store.put_job(&run, b"job"));
    assert_eq!(twice!(store.job(&run)).as_deref(), Some(&b"job"[..]));
    twice!(store.import(&run, id, vec![(7, b"known".into())]));
    let first = twice!(store.claim(&run, id, LEASE));
    let Claim::Run {
        attempt,
        failures,
        records,
    } = first
    else {
        panic!("{first:?}")
    };
    assert_eq!(
        (attempt.0, failures, records),
        (1, 0, vec![(7, b"known".to_vec())])
    );
    let first = AttemptRef { task: id, attempt };
    twice!(store.renew(&run, first, LEASE));
    twice!(store.record(&run, first, 0, b"paid".into()));
    twice!(store.release(&run, first));
    let (second, failures, records) = claimed(&store, id, LEASE).await;
    assert_eq!((second.attempt.0, failures, records.len()), (2, 0, 2));
    twice!(store.finish(&run, second, b"outcome".into()));
    assert_eq!(twice!(store.outcome(&run, id)), Some(b"outcome".to_vec()));
    assert_eq!(twice!(store.claim(&run, id, LEASE)), Claim::Done);
    let stored = outcomes(&store).await;
    assert_eq!(stored.len(), 1);
    twice!(store.trim(&run, &stored));
    assert_eq!(outcomes(&store).await, []);
    assert_eq!(twice!(store.reopen(&run, &[id])), 0, "the first call reopened it");
    let again = twice!(store.claim(&run, id, LEASE));
    assert!(
        matches!(&again, Claim::Run { failures: 0, records, .. } if records.is_empty()),
        "{again:?}"
    );
}

#[tokio::test]
async fn a_claim_that_was_given_up_is_taken_up_by_whoever_repeats_it() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    finish(&store, 1).await;
    server.ask(&["CLIENT", "PAUSE", "60000", "WRITE"]);
    tokio::time::pause();
    let run = run();
    let claim = store.claim(&run, task(2), LEASE);
    assert!(tokio::time::timeout(Duration::from_secs(1), claim).await.is_err());
    tokio::time::resume();
    // Now the server does what it was asked, and answers nobody.
    server.ask(&["CLIENT", "UNPAUSE"]);
    let (attempt, failures, _) = claimed(&store, task(2), LEASE).await;
    assert_eq!((attempt.attempt.0, failures), (1, 0));
    // Somebody else in the same process does not share it.
    assert_eq!(store.claim(&run, task(2), LEASE).await.unwrap(), Claim::Held);
}

#[tokio::test]
async fn a_connection_that_fell_mute_is_made_anew() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let lossy = Lossy::before(server.port()).await;
    let store = connect(&lossy.url(), NAMESPACE).await;
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    lossy.fall_mute();
    tokio::time::pause();
    assert!(is_unreachable(
        &store.finish(&run(), attempt, b"outcome".into()).await
    ));
    tokio::time::resume();
    store.finish(&run(), attempt, b"outcome".into()).await.unwrap();
    assert_eq!(outcomes(&store).await.len(), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_waited_for() {
    if !is_installed() {
        return;
    }
    let mut server = RedisServer::start(&["--appendfsync", "always"]);
    let store = connect(&server.url(), NAMESPACE).await;
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    server.kill();
    for _ in 0..3 {
        assert!(is_unreachable(
            &store.record(&run(), attempt, 0, b"paid".into()).await
        ));
        assert!(is_unreachable(
            &store.outcomes(&run(), Position(0), 9, LEASE).await
        ));
    }
    let gone = refusal(&server.url()).await.to_string();
    assert!(gone.contains(&server.url()) && gone.contains("check"), "{gone}");
    server.start_again();
    store.record(&run(), attempt, 0, b"paid".into()).await.unwrap();
    store.finish(&run(), attempt, b"outcome".into()).await.unwrap();
    assert_eq!(outcomes(&store).await.len(), 1);
}

#[tokio::test]
async fn a_cluster_that_is_down_is_waited_for() {
    if !is_installed() {
        return;
    }
    let mut server = RedisServer::start_cluster();
    let store = connect(&server.url(), NAMESPACE).await;
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    server.kill();
    for _ in 0..2 {
        assert!(is_unreachable(
            &store.record(&run(), attempt, 0, b"paid".into()).await
        ));
    }
    server.start_again();
    let finish = async {
        while let Err(error) = store.finish(&run(), attempt, b"outcome".into()).await {
            assert!(is_unreachable(&Err::<(), _>(error)));
        }
    };
    tokio::time::timeout(DEADLINE, finish).await.unwrap();
    assert_eq!(outcomes(&store).await.len(), 1);
}

#[tokio::test]
async fn a_database_that_there_is_not_is_said_so() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let error = refusal(&format!("{}/99", server.url())).await;
    assert!(
        matches!(&error, StoreError::Misconfigured { message, .. } if message.contains("database number")),
        "{error}"
    );
}

/// Acknowledged writes before the server is killed.
const ACKNOWLEDGED: usize = 2_000;

#[tokio::test]
async fn everything_acknowledged_survives_kill_9_of_the_server() {
    if !is_installed() {
        return;
    }
    let mut server = RedisServer::start(&["--appendfsync", "always"]);
    let store = Arc::new(connect(&server.url(), NAMESPACE).await);
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let enough = Arc::new(tokio::sync::Notify::new());
    let mut writers = tokio::task::JoinSet::new();
    for first in 0..16 {
        let (store, acknowledged, enough) =
            (Arc::clone(&store), Arc::clone(&acknowledged), Arc::clone(&enough));
        writers.spawn(async move {
            for n in (first..).step_by(16) {
                let Ok(Claim::Run { attempt, .. }) = store.claim(&run(), task(n), LEASE).await else {
                    return;
                };
                let attempt = AttemptRef {
                    task: task(n),
                    attempt,
                };
                let bytes = n.to_le_bytes().to_vec();
                if store.record(&run(), attempt, n, bytes.clone()).await.is_err()
                    || (n % 2 == 0 && store.finish(&run(), attempt, bytes).await.is_err())
                {
                    return;
                }
                let mut acknowledged = acknowledged.lock().unwrap();
                acknowledged.push((n, attempt));
                if acknowledged.len() == ACKNOWLEDGED {
                    enough.notify_one();
                }
            }
        });
    }
    enough.notified().await;
    server.kill();
    writers.join_all().await;
    server.start_again();
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(acknowledged.len() >= ACKNOWLEDGED);
    for (n, attempt) in acknowledged {
        let bytes = n.to_le_bytes().to_vec();
        if n % 2 == 0 {
            let outcome = store.outcome(&run(), task(n)).await.unwrap();
            assert_eq!(outcome, Some(bytes), "outcome {n}");
        } else {
            store.release(&run(), attempt).await.unwrap();
            assert_eq!(claimed(&*store, task(n), LEASE).await.2, [(n, bytes)]);
        }
    }
}

#[tokio::test]
async fn wrong_credentials_are_refused_and_not_shown() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&["--requirepass", "swordfish"]);
    let host = format!("127.0.0.1:{}", server.port());
    for url in [
        format!("redis://{host}"),
        format!("redis://{host}/2"),
        format!("redis://:hunter2@{host}/2"),
        format!("redis://u:hunter2@{host}"),
    ] {
        let error = refusal(&url).await;
        assert!(matches!(error, StoreError::Refused { .. }), "{url}: {error}");
        assert_eq!(error.recourse(), Recourse::Halt);
        let told = format!("{error} {error:?}");
        assert!(
            told.contains(&host) && told.contains("URL") && !told.contains("hunter2"),
            "{told}"
        );
    }
    let store = connect(&format!("redis://:swordfish@{host}/2"), NAMESPACE).await;
    finish(&store, 1).await;
    assert!(!format!("{store:?}").contains("swordfish"));
}

#[tokio::test]
async fn a_user_with_too_few_rights_is_refused_at_the_start() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let url = format!("redis://worker:hunter2@127.0.0.1:{}", server.port());
    let rights =
        "on >hunter2 resetkeys ~bsft-test:* nocommands +@read +@write +@scripting +@connection +info +time";
    for lacking in ["~other:*", "-eval", "-xadd", "-xrange", "-time", "-@scripting"] {
        let rights = match lacking.starts_with('~') {
            true => rights.replace("~bsft-test:*", lacking),
            false => format!("{rights} {lacking}"),
        };
        set_user(&server, &rights);
        let error = refusal(&url).await;
        assert!(matches!(error, StoreError::Refused { .. }), "{lacking}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    for enough in [rights.to_owned(), format!("{rights} -info")] {
        set_user(&server, &enough);
        let store = connect(&url, NAMESPACE).await;
        let run = RunId("run".into());
        store.put_job(&run, b"job").await.unwrap();
        store.job(&run).await.unwrap();
        let attempt = finish(&store, 1).await;
        store.outcome(&run, attempt.task).await.unwrap();
        store.trim(&run, &outcomes(&store).await).await.unwrap();
        assert_eq!(store.reopen(&run, &[attempt.task]).await.unwrap(), 1);
        store
            .import(&run, task(2), vec![(0, b"known".into())])
            .await
            .unwrap();
    }
}

fn set_user(server: &RedisServer, rights: &str) {
    let rights: Vec<&str> = ["ACL", "SETUSER", "worker", "reset"]
        .into_iter()
        .chain(rights.split(' '))
        .collect();
    server.ask(&rights);
}

#[tokio::test]
async fn a_server_that_evicts_is_refused_with_what_to_set() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&["--maxmemory", "500mb", "--maxmemory-policy", "allkeys-lru"]);
    let error = refusal(&server.url()).await;
    assert!(matches!(error, StoreError::Misconfigured { .. }), "{error}");
    assert!(
        error.to_string().contains("maxmemory-policy noeviction"),
        "{error}"
    );
    server.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    connect(&server.url(), NAMESPACE).await;
}

#[tokio::test]
async fn full_memory_refuses_before_any_effect_and_lets_go_what_can_go() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    finish(&store, 1).await;
    let (working, _, _) = claimed(&store, task(2), LEASE).await;
    let (leaving, _, _) = claimed(&store, task(3), LEASE).await;
    let stored = outcomes(&store).await;
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert!(is_unreachable(&store.put_job(&run(), b"job").await));
    assert!(is_unreachable(&store.claim(&run(), task(4), LEASE).await));
    assert!(is_unreachable(
        &store.record(&run(), working, 0, b"paid".into()).await
    ));
    assert!(is_unreachable(
        &store.finish(&run(), working, b"outcome".into()).await
    ));
    assert!(is_unreachable(
        &store.import(&run(), task(5), vec![(0, b"known".into())]).await
    ));
    assert_eq!(outcomes(&store).await, stored);
    store.renew(&run(), working, LEASE).await.unwrap();
    store.release(&run(), leaving).await.unwrap();
    store.trim(&run(), &stored).await.unwrap();
    assert_eq!(outcomes(&store).await, []);
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    store.finish(&run(), working, b"outcome".into()).await.unwrap();
    assert_eq!(claimed(&store, task(4), LEASE).await.0.attempt.0, 1);
    assert_eq!(claimed(&store, task(5), LEASE).await.2, []);
    assert_eq!(store.claim(&run(), task(1), LEASE).await.unwrap(), Claim::Done);
}

#[tokio::test]
async fn a_replica_is_refused_at_the_start() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&["--replicaof", "127.0.0.1 1"]);
    let error = refusal(&server.url()).await;
    assert!(
        matches!(&error, StoreError::Misconfigured { message, .. } if message.contains("replica")),
        "{error}"
    );
}

#[tokio::test]
async fn a_write_that_a_replica_refused_is_an_error_and_the_next_goes_where_the_address_leads() {
    if !is_installed() {
        return;
    }
    let (old, new) = (RedisServer::start(&[]), RedisServer::start(&[]));
    let lossy = Lossy::before(old.port()).await;
    let store = connect(&lossy.url(), NAMESPACE).await;
    claimed(&store, task(1), LEASE).await;
    old.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    lossy.lead_to(new.port());
    assert!(is_unreachable(&store.claim(&run(), task(2), LEASE).await));
    claimed(&store, task(2), LEASE).await;
    assert_eq!(keys(&new).len(), 1);
}

#[tokio::test]
async fn outcomes_of_many_megabytes_come_in_small_pages_and_all_of_them() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    for n in 0..40 {
        let (attempt, _, _) = claimed(&store, task(n), LEASE).await;
        store.finish(&run(), attempt, vec![b'o'; 1 << 20]).await.unwrap();
    }
    let (mut after, mut seen) = (Position::default(), 0);
    while let page @ [_, ..] = &store.outcomes(&run(), after, 40, Duration::ZERO).await.unwrap()[..] {
        after = page[page.len() - 1].position;
        assert!(seen == 0 || page.len() <= 4, "{} in a page", page.len());
        seen += page.len();
    }
    assert_eq!(seen, 40);
}

#[tokio::test]
async fn a_reader_goes_on_after_the_server_lost_everything() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    finish(&store, 1).await;
    finish(&store, 2).await;
    let read = outcomes(&store).await[1].0;
    server.ask(&["FLUSHALL"]);
    finish(&store, 1).await;
    let new = store.outcomes(&run(), read, 9, Duration::ZERO).await.unwrap();
    assert_eq!(new.len(), 1);
}

#[tokio::test]
async fn positions_grow_though_the_clock_was_set_back() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    let ahead = "3999999999999999";
    server.ask(&["SET", "bsft-test:v1:{run}:position", ahead]);
    for n in 1..3 {
        finish(&store, n).await;
    }
    let positions: Vec<u64> = outcomes(&store)
        .await
        .iter()
        .map(|(position, _)| position.0)
        .collect();
    assert_eq!(positions, [4_000_000_000_000_000, 4_000_000_000_000_001]);
}

#[tokio::test]
async fn an_attempt_of_an_earlier_life_is_fenced_off() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    let old = finish(&store, 1).await;
    store.trim(&run(), &outcomes(&store).await).await.unwrap();
    assert_eq!(store.reopen(&run(), &[task(1)]).await.unwrap(), 1);
    let (new, _, _) = claimed(&store, task(1), LEASE).await;
    assert!(new.attempt > old.attempt);
    let late = store.record(&run(), old, 0, b"late".into()).await;
    assert!(matches!(late, Err(StoreError::Fenced(_))), "{late:?}");
    store.record(&run(), new, 0, b"paid".into()).await.unwrap();
}

#[tokio::test]
async fn keys_of_another_program_are_not_taken_for_ours() {
    if !is_installed() {
        return;
    }
    let server = RedisServer::start(&[]);
    let store = connect(&server.url(), NAMESPACE).await;
    server.ask(&["SET", "bsft-test:v1:{run}:outcomes", "a string"]);
    let (attempt, _, _) = claimed(&store, task(1), LEASE).await;
    let error = store
        .finish(&run(), attempt, b"outcome".into())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StoreError::Corrupt { message, .. } if message.contains("namespace")),
        "{error}"
    );
    server.ask(&["DEL", "bsft-test:v1:{run}:outcomes"]);
    server.ask(&["XADD", "bsft-test:v1:{run}:outcomes", "1-7", "a", "b"]);
    let error = store
        .outcomes(&run(), Position::default(), 9, LEASE)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
}
