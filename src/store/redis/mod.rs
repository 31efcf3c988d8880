//! The store of a run on many machines: its active tasks on a Redis server or cluster.
//!
//! Every change is one Lua script, so it is atomic and uses the server's clock. Every script may run twice:
//! callers repeat a call without an answer, whether or not it was executed.
//!
//! Redis holds active tasks, outcomes that are not in DIR yet, and about 10 bytes for each task whose
//! outcome was trimmed. All of it expires [`KEPT`] after the last call about the run.
//!
//! Durability is that of the server. With `appendonly yes` and `appendfsync always`, completed calls
//! survive a killed server and a power failure. With `appendfsync everysec` either may lose the last second
//! or two (a killed server only if its disk was slow at that moment); those tasks run again. The same holds
//! for a failover to a replica.

mod account;
mod artifacts;
mod batch;
mod batched_calls;
mod connection;
mod coordination;
mod error_conversion;
mod expiry;
mod idempotency;
mod keys;
mod long_pointer;
mod long_values;
mod page;
mod reply;
mod rights;
mod script;
mod start_checks;
mod url;

pub use expiry::KEPT;
pub use rights::{CLUSTER_RIGHTS, RIGHTS};

use super::{Claim, LONG_VALUE, Position, Store, StoreError, Stored};
use crate::task::{AttemptRef, RunId, TaskId};
use async_trait::async_trait;
use batch::Batcher;
use batched_calls::{ClaimItem, FinishItem, Held, RecordItem};
use connection::RedisLink;
use expiry::Lifetimes;
use idempotency::{InDoubtCalls, InDoubtRequest};
use keys::Keys;
use page::Sizes;
use redis::Value;
use script::{ABANDONED, IMPORT, KEEP, OUTCOME, RELEASE, RENEW, REOPEN, ScriptCall, TRIM, WAIT};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use url::RedisAddress;

/// The first poll interval of a waiting reader.
const LOOK_FIRST: Duration = Duration::from_millis(2);

/// The longest poll interval of a waiting reader, long enough to cause no load. A blocking read would delay
/// all other calls, which share its connection.
const LOOK_LAST: Duration = Duration::from_millis(50);

/// The longest value that Redis takes, in bytes.
const LONGEST_VALUE: usize = 512 << 20;

/// Tasks per trim or reopen script: about a millisecond during which the server does nothing else.
const STEP_TASKS: usize = 512;

/// A namespace on a Redis server or cluster. Many processes may use it at once. It implements the store,
/// coordination, artifacts and the shared state of accounts.
pub struct RedisStore {
    link: Arc<RedisLink>,
    keys: Keys,
    claims: Batcher<ClaimItem>,
    records: Batcher<RecordItem>,
    finishes: Batcher<FinishItem>,
    in_doubt: InDoubtCalls,
    lifetimes: Lifetimes,
    sizes: Sizes,
}

impl std::fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisStore")
            .field("place", &self.place())
            .field("namespace", &self.keys.namespace())
            .finish()
    }
}

impl RedisStore {
    /// Connects to `redis://[user:password@]host[:port][/database]`, or `rediss://` for TLS, and checks the
    /// server. Stores share data exactly if they have the same namespace, whose name consists of letters,
    /// digits and `-_.:`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreachable`]: no server answers there, or not yet. [`StoreError::Refused`]: wrong
    /// user or password, or a missing permission; after a successful connection that is
    /// [`StoreError::LockedOut`]. [`StoreError::Misconfigured`]: the URL, the namespace, or a server that
    /// may evict outcomes or accepts no writes.
    pub async fn connect(url: &str, namespace: &str) -> Result<RedisStore, StoreError> {
        let (address, keys) = read(url, namespace)?;
        if address.is_encrypted() {
            // Fails if another part of the process installed one, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let link = Arc::new(start_checks::checked(address, &keys).await?);
        Ok(RedisStore {
            claims: Batcher::new(Arc::clone(&link), keys.clone()),
            records: Batcher::new(Arc::clone(&link), keys.clone()),
            finishes: Batcher::new(Arc::clone(&link), keys.clone()),
            link,
            keys,
            in_doubt: InDoubtCalls::default(),
            lifetimes: Lifetimes::default(),
            sizes: Sizes::default(),
        })
    }

    /// Checks the syntax of URL and namespace, without a network call.
    ///
    /// # Errors
    ///
    /// [`StoreError::Misconfigured`] with the expected syntax.
    pub fn check(url: &str, namespace: &str) -> Result<(), StoreError> {
        read(url, namespace).map(drop)
    }

    pub fn place(&self) -> &str {
        &self.link.address().place
    }

    /// Checks that the server answers, with a command that every user of bsft may run on its own keys.
    pub async fn probe(&self) -> Result<(), StoreError> {
        let [_, _, _, string] = self.keys.probe();
        self.link.ask(redis::cmd("GET").arg(string)).await.map(drop)
    }

    /// Extends the lifetime of the run's keys, at most once per hour.
    async fn keep(&self, run: &RunId) -> Result<(), StoreError> {
        if !self.lifetimes.is_due(run) {
            return Ok(());
        }
        let keys = [
            self.keys.job(run),
            self.keys.outcomes(run),
            self.keys.position(run),
        ];
        self.link.run(KEEP.call(keys).number(KEPT.as_secs())).await?;
        self.lifetimes.put_off(run);
        Ok(())
    }

    /// Runs a script that returns 0 for a stale attempt.
    async fn fenced(&self, attempt: AttemptRef, call: ScriptCall<'_>) -> Result<(), StoreError> {
        let reply = self.link.run(call).await?;
        match self.read(reply, reply::integer)? {
            0 => Err(StoreError::Fenced(attempt)),
            _ => Ok(()),
        }
    }

    fn task_and_done(&self, run: &RunId, task: TaskId) -> [String; 2] {
        [self.keys.task(run, task), self.keys.done(run, task)]
    }

    fn read<T>(&self, reply: Value, read: impl FnOnce(Value) -> Option<T>) -> Result<T, StoreError> {
        read(reply).ok_or_else(|| self.foreign_data())
    }

    fn foreign_data(&self) -> StoreError {
        StoreError::ForeignData {
            place: self.place().to_owned(),
            message: format!(
                "a value in the namespace {} has an unknown form",
                self.keys.namespace()
            ),
        }
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn put_job(&self, run: &RunId, spec: &[u8]) -> Result<(), StoreError> {
        if spec.len() > LONGEST_VALUE {
            return Err(StoreError::Failed {
                place: self.place().to_owned(),
                message: format!(
                    "the job has {} MB, and Redis takes no value of more than 512 MB; shorten its demos and states",
                    spec.len() / 1_000_000
                ),
            });
        }
        let mut set = redis::cmd("SET");
        set.arg(self.keys.job(run))
            .arg(spec)
            .arg("EX")
            .arg(KEPT.as_secs());
        self.link.ask(&set).await?;
        self.keep(run).await
    }

    async fn job(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let reply = self.link.ask(redis::cmd("GET").arg(self.keys.job(run))).await?;
        self.read(reply, reply::optional)
    }

    async fn claim(&self, run: &RunId, task: TaskId, lease: Duration) -> Result<Claim, StoreError> {
        self.keep(run).await?;
        let in_flight = self.in_doubt.begin(InDoubtRequest::Claim(run.clone(), task));
        let item = ClaimItem {
            task,
            nonce: in_flight.nonce,
            lease_ms: millis(lease),
        };
        let claim = self.claims.submit(run, item).await?;
        in_flight.answered();
        Ok(claim)
    }

    async fn renew(&self, run: &RunId, attempt: AttemptRef, lease: Duration) -> Result<(), StoreError> {
        let call = RENEW.call([self.keys.task(run, attempt.task)]);
        let call = call.number(attempt.attempt.0.into()).number(millis(lease));
        self.fenced(attempt, call.number(KEPT.as_secs())).await
    }

    async fn set_waiting(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        is_waiting: bool,
    ) -> Result<(), StoreError> {
        let call = WAIT.call([self.keys.task(run, attempt.task)]);
        let call = call.number(attempt.attempt.0.into()).number(is_waiting.into());
        self.fenced(attempt, call.number(KEPT.as_secs())).await
    }

    async fn record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        if bytes.len() >= LONG_VALUE {
            return self.record_long(run, attempt, slot, &bytes).await;
        }
        let item = RecordItem { attempt, slot, bytes };
        held(self.records.submit(run, item).await?, attempt)
    }

    async fn record_long(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let bytes = self.put_long_record(run, attempt, slot, bytes).await?;
        let item = RecordItem { attempt, slot, bytes };
        held(self.records.submit(run, item).await?, attempt)
    }

    async fn finish(&self, run: &RunId, attempt: AttemptRef, outcome: Vec<u8>) -> Result<(), StoreError> {
        if outcome.len() >= LONG_VALUE {
            return self.finish_long(run, attempt, &outcome).await;
        }
        let item = FinishItem { attempt, outcome };
        held(self.finishes.submit(run, item).await?, attempt)
    }

    async fn finish_long(&self, run: &RunId, attempt: AttemptRef, outcome: &[u8]) -> Result<(), StoreError> {
        let Some(outcome) = self.put_long_outcome(run, attempt, outcome).await? else {
            return Ok(());
        };
        let item = FinishItem { attempt, outcome };
        held(self.finishes.submit(run, item).await?, attempt)
    }

    async fn release(&self, run: &RunId, attempt: AttemptRef) -> Result<(), StoreError> {
        let in_flight = self.in_doubt.begin(InDoubtRequest::Release(
            run.clone(),
            attempt.task,
            attempt.attempt,
        ));
        let call = RELEASE.call([self.keys.task(run, attempt.task)]);
        let call = call
            .number(attempt.attempt.0.into())
            .number(in_flight.repeats.into());
        let released = self.fenced(attempt, call).await;
        if let Ok(()) | Err(StoreError::Fenced(_)) = released {
            in_flight.answered();
        }
        released
    }

    async fn outcome(&self, run: &RunId, task: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        let keys = [self.keys.task(run, task), self.keys.outcomes(run)];
        let reply = self.link.run(OUTCOME.call(keys)).await?;
        match self.read(reply, reply::optional)? {
            Some(outcome) => self.resolved(run, task, outcome).await,
            None => Ok(None),
        }
    }

    async fn records(&self, run: &RunId, task: TaskId) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let mut all = redis::cmd("HGETALL");
        let reply = self.link.ask(all.arg(self.keys.task(run, task))).await?;
        let fields = self.read(reply, reply::fields)?;
        let has_outcome = fields.iter().any(|(name, _)| name == b"p");
        let slot = |name: &[u8]| std::str::from_utf8(name).ok()?.parse().ok();
        if has_outcome {
            return Ok(Vec::new());
        }
        let mut records = Vec::new();
        for (name, bytes) in fields {
            if let Some(slot) = slot(&name)
                && let Some(bytes) = self.resolved(run, task, bytes).await?
            {
                records.push((slot, bytes));
            }
        }
        Ok(records)
    }

    async fn record_of(&self, run: &RunId, task: TaskId, slot: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let mut get = redis::cmd("HMGET");
        let reply = get.arg(self.keys.task(run, task)).arg("p").arg(slot);
        let reply = self.link.ask(reply).await?;
        match self.read(reply, reply::optionals)?.as_mut_slice() {
            [None, Some(bytes)] => self.resolved(run, task, std::mem::take(bytes)).await,
            _ => Ok(None),
        }
    }

    /// Cancel safe: it changes nothing.
    async fn outcomes(
        &self,
        run: &RunId,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let until = Instant::now() + wait;
        self.keep(run).await?;
        let mut pause = LOOK_FIRST;
        loop {
            let stored = self.page(run, after, limit).await?;
            let left = until.saturating_duration_since(Instant::now());
            if !stored.is_empty() || left.is_zero() {
                return Ok(stored);
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = LOOK_LAST.min(pause * 2);
        }
    }

    async fn trim(&self, run: &RunId, stored: &[(Position, TaskId)]) -> Result<(), StoreError> {
        self.keep(run).await?;
        for part in stored.chunks(STEP_TASKS) {
            let of_task = |(_, task): &(Position, TaskId)| self.task_and_done(run, *task);
            let keys = [self.keys.outcomes(run)].into_iter();
            let keys = keys.chain(part.iter().flat_map(of_task));
            let mut call = TRIM.call(keys).number(KEPT.as_secs());
            for (position, task) in part {
                call = call.number(position.0).mark(*task);
            }
            let reply = self.link.run(call).await?;
            for (number, announced) in self.read(reply, reply::trimmed_long)? {
                // Lua indexes from 1.
                if let Some((_, task)) = number.checked_sub(1).and_then(|at| part.get(at)) {
                    self.delete_long(run, *task, &announced).await?;
                }
            }
        }
        Ok(())
    }

    async fn reopen(&self, run: &RunId, tasks: &[TaskId]) -> Result<usize, StoreError> {
        let mut reopened = 0;
        for part in tasks.chunks(STEP_TASKS) {
            let keys = part.iter().flat_map(|task| self.task_and_done(run, *task));
            let mut call = REOPEN.call(keys).number(KEPT.as_secs());
            for task in part {
                call = call.mark(*task);
            }
            let reply = self.link.run(call).await?;
            let some = self.read(reply, |reply| usize::try_from(reply::integer(reply)?).ok())?;
            reopened += some;
        }
        Ok(reopened)
    }

    async fn abandoned(&self, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        let mut abandoned = Vec::new();
        for part in tasks.chunks(STEP_TASKS) {
            let keys = part.iter().map(|task| self.keys.task(run, *task));
            let reply = self.link.run(ABANDONED.call(keys)).await?;
            let places = self.read(reply, reply::places)?;
            // Lua indexes from 1.
            abandoned.extend(
                places
                    .into_iter()
                    .filter_map(|place| part.get(place.checked_sub(1)?)),
            );
        }
        Ok(abandoned)
    }

    async fn import(
        &self,
        run: &RunId,
        task: TaskId,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        let keys = self.task_and_done(run, task);
        let mut call = IMPORT.call(keys).mark(task).number(KEPT.as_secs());
        let mut announced: Vec<String> = Vec::new();
        for (slot, bytes) in records {
            let bytes = if bytes.len() < LONG_VALUE {
                bytes
            } else {
                let (pointer, name) = self.put_long_import(run, task, slot, &bytes).await?;
                announced.push(name);
                pointer
            };
            call = call.number(slot.into()).owned(bytes);
        }
        if !announced.is_empty() {
            call = call.bytes(b"l").owned(announced.join(" ").into_bytes());
        }
        self.link.run(call).await.map(drop)
    }
}

fn read(url: &str, namespace: &str) -> Result<(RedisAddress, Keys), StoreError> {
    let address = RedisAddress::parse(url)?;
    match Keys::new(namespace) {
        Some(keys) => Ok((address, keys)),
        None => Err(StoreError::Misconfigured {
            place: address.place,
            message: format!("{namespace:?} is not a namespace: use letters, digits and -_.:"),
        }),
    }
}

fn held(held: Held, attempt: AttemptRef) -> Result<(), StoreError> {
    match held {
        Held(true) => Ok(()),
        Held(false) => Err(StoreError::Fenced(attempt)),
    }
}

fn millis(lease: Duration) -> u64 {
    u64::try_from(lease.as_millis()).unwrap_or(u64::MAX)
}
