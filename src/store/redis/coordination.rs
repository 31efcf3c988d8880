//! Coordination in Redis: small keys beside the run's, each with its own expiry.

use super::script::{LEAD, RESIGN, SIGN, WORKERS};
use super::{KEPT, RedisStore, millis, reply};
use crate::coordination::{Coordination, Heartbeat, LeaseResult, Process, WorkerInfo};
use crate::store::StoreError;
use crate::task::RunId;
use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A heartbeat as Redis holds it.
#[derive(Serialize, Deserialize)]
struct HeartbeatRecord<W> {
    #[serde(flatten)]
    worker: W,
    /// With the rest of the lease it gives the age. 0 if an earlier version wrote the heartbeat.
    #[serde(default)]
    lease_ms: u64,
}

/// A heartbeat from the script's reply: milliseconds that are left of its lease, a space, and its JSON. `None` if a worker of another
/// version wrote another format.
fn heartbeat_of(reply: &[u8]) -> Option<Heartbeat> {
    let (left, about) = std::str::from_utf8(reply).ok()?.split_once(' ')?;
    let HeartbeatRecord { worker, lease_ms } =
        serde_json::from_str::<HeartbeatRecord<WorkerInfo>>(about).ok()?;
    let age = lease_ms.saturating_sub(left.parse().ok()?);
    Some(Heartbeat {
        worker,
        age_secs: age / 1000,
    })
}

#[async_trait]
impl Coordination for RedisStore {
    async fn acquire_lease(
        &self,
        run: &RunId,
        process: &Process,
        lease: Duration,
    ) -> Result<LeaseResult, StoreError> {
        let who = text(process);
        let call = LEAD.call([self.keys.leader(run)]);
        let reply = self.link.run(call.bytes(&who).number(millis(lease))).await?;
        let other = self.read(reply, reply::other_leader)?;
        other.map_or(Ok(LeaseResult::Acquired), |(who, left)| {
            Ok(LeaseResult::HeldBy {
                process: self.member(&who)?,
                left: Duration::from_millis(left),
            })
        })
    }

    async fn release_lease(&self, run: &RunId, process: &Process) -> Result<(), StoreError> {
        let who = text(process);
        let call = RESIGN.call([self.keys.leader(run)]);
        self.link.run(call.bytes(&who)).await.map(drop)
    }

    async fn heartbeat(&self, run: &RunId, worker: &WorkerInfo, lease: Duration) -> Result<(), StoreError> {
        let about = text(&HeartbeatRecord {
            worker,
            lease_ms: millis(lease),
        });
        let call = SIGN.call([self.keys.workers(run)]);
        let call = call.bytes(worker.process.id.as_bytes()).bytes(&about);
        let job = self.keys.job(run);
        let call = call.number(millis(lease)).number(KEPT.as_secs());
        self.link.run(call.bytes(job.as_bytes())).await.map(drop)
    }

    async fn workers(&self, run: &RunId) -> Result<Vec<Heartbeat>, StoreError> {
        let reply = self.link.run(WORKERS.call([self.keys.workers(run)])).await?;
        let signs = self.read(reply, reply::texts)?;
        let mut heartbeats: Vec<Heartbeat> = signs.iter().filter_map(|sign| heartbeat_of(sign)).collect();
        heartbeats.sort_by(|a, b| a.worker.process.id.cmp(&b.worker.process.id));
        Ok(heartbeats)
    }

    async fn cancel(&self, run: &RunId) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(self.keys.cancelled(run))
            .arg(1)
            .arg("EX")
            .arg(KEPT.as_secs());
        self.link.ask(&set).await.map(drop)
    }

    async fn resume(&self, run: &RunId) -> Result<(), StoreError> {
        let mut delete = redis::cmd("DEL");
        self.link
            .ask(delete.arg(self.keys.cancelled(run)))
            .await
            .map(drop)
    }

    async fn is_cancelled(&self, run: &RunId) -> Result<bool, StoreError> {
        let mut get = redis::cmd("GET");
        let reply = self.link.ask(get.arg(self.keys.cancelled(run))).await?;
        Ok(self.read(reply, reply::optional)?.is_some())
    }

    async fn report(&self, run: &RunId, manifest: &[u8]) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(self.keys.report(run)).arg(manifest);
        self.link.ask(set.arg("EX").arg(KEPT.as_secs())).await?;
        let mut register = redis::cmd("HSET");
        register.arg(self.keys.runs()).arg(&run.0).arg(1);
        self.link.ask(&register).await?;
        let mut keep = redis::cmd("EXPIRE");
        self.link
            .ask(keep.arg(self.keys.runs()).arg(KEPT.as_secs()))
            .await
            .map(drop)
    }

    async fn reports(&self) -> Result<Vec<(RunId, Vec<u8>)>, StoreError> {
        let all = self.link.ask(redis::cmd("HKEYS").arg(self.keys.runs())).await?;
        let mut runs: Vec<RunId> = self
            .read(all, reply::texts)?
            .into_iter()
            .filter_map(|run| Some(RunId(String::from_utf8(run).ok()?)))
            .collect();
        runs.sort();
        let mut reports = Vec::new();
        for run in runs {
            let reply = self
                .link
                .ask(redis::cmd("GET").arg(self.keys.report(&run)))
                .await?;
            match self.read(reply, reply::optional)? {
                Some(report) => reports.push((run, report)),
                // The report has expired: remove the run from the index.
                None => {
                    let mut forget = redis::cmd("HDEL");
                    self.link.ask(forget.arg(self.keys.runs()).arg(&run.0)).await?;
                }
            }
        }
        Ok(reports)
    }
}

impl RedisStore {
    fn member<T: DeserializeOwned>(&self, text: &[u8]) -> Result<T, StoreError> {
        serde_json::from_slice(text).map_err(|error| StoreError::ForeignData {
            place: self.place().to_owned(),
            message: format!("the run's leader has a format that this version does not write: {error}"),
        })
    }
}

fn text(member: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(member).expect("strings and numbers serialise")
}
