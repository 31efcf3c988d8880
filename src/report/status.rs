//! The state of a run as `status` shows it.

use super::eta::{eta_seconds, rate_and_eta};
use super::figures::{count, percent, time};
use super::manifest::{Manifest, Phase};
use crate::coordination::Heartbeat;
use crate::lm::{LmState, LmStatus};
use serde::Serialize;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A run with an older manifest has no coordinator: a living one writes the manifest every two seconds.
const FRESH: Duration = Duration::from_secs(15);

/// The state of a run, from its manifest and the services.
#[derive(Debug, Serialize)]
pub struct RunStatus {
    #[serde(skip)]
    name: String,
    /// The manifest.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Whether the run has a coordinator, judged by the age of the manifest.
    pub live: bool,
    /// Seconds until every task has an outcome at the present rate.
    pub eta_seconds: Option<f64>,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Workers with a recent heartbeat. `None` if they are unknown.
    pub workers: Option<Vec<Heartbeat>>,
    /// Messages in the namespace's queues. `None` if they are unknown.
    pub queues: Option<Depths>,
}

/// Messages in a namespace's queues.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Depths {
    /// Waiting messages of the bootstrap queue.
    pub bootstrap: usize,
    /// Waiting messages of the finetune queue.
    pub finetune: usize,
    /// Dead letters of the bootstrap queue: rejected, or delivered too often.
    pub dead_bootstrap: usize,
    /// Dead letters of the finetune queue.
    pub dead_finetune: usize,
}

impl RunStatus {
    /// The state according to the manifest alone.
    pub fn new(name: String, manifest: Manifest) -> RunStatus {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_secs(manifest.updated));
        let live = manifest.phase != Phase::Compiled && age < FRESH;
        let left = manifest.tasks.saturating_sub(manifest.counts.done());
        let eta_seconds = eta_seconds(left, manifest.rate).filter(|_| live);
        let reported = Some(&manifest.heartbeats).filter(|reported| live && !reported.is_empty());
        let reported = reported.map(|reported| aged(reported, age.as_secs()));
        RunStatus {
            name,
            manifest,
            live,
            eta_seconds,
            cancelled: false,
            workers: reported,
            queues: None,
        }
    }
}

/// The heartbeats of a manifest, aged by the time since it was written.
fn aged(heartbeats: &[Heartbeat], secs: u64) -> Vec<Heartbeat> {
    let heartbeats = heartbeats.iter().cloned();
    heartbeats
        .map(|heartbeat| Heartbeat {
            age_secs: heartbeat.age_secs.saturating_add(secs),
            ..heartbeat
        })
        .collect()
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let manifest = &self.manifest;
        write!(f, "{}  {:?}  ", self.name, manifest.phase)?;
        fmt_counts(manifest, f)?;
        if self.eta_seconds.is_some() {
            write!(f, "  {}", rate_and_eta(manifest.rate, self.eta_seconds))?;
        }
        let stopped = manifest
            .stopped
            .as_deref()
            .filter(|_| !self.live && manifest.phase == Phase::Bootstrap);
        if let Some(why) = stopped {
            write!(f, "  stopped: {why}; compile resumes the run")?;
        } else if self.cancelled {
            write!(f, "  cancelled")?;
        } else if !self.live && manifest.phase != Phase::Compiled {
            let remedy = if manifest.has_only_failures_left() {
                "trainings failed; fix the causes, then run retry"
            } else {
                "compile resumes the run"
            };
            write!(f, "  no coordinator has reported lately: {remedy}")?;
        }
        if manifest.phase == Phase::Train {
            for shard in &manifest.shards {
                write!(f, "\n  fine-tune {}: {}", shard.name(), shard.status())?;
            }
        }
        if self.live {
            for limit in &manifest.limits {
                write!(f, "\n  {limit}")?;
            }
        }
        for lm in manifest.counts.endpoints.keys() {
            if let Some(answers) = manifest.counts.by_endpoint(lm) {
                write!(f, "\n  lm {lm}: {answers}")?;
            }
        }
        for (lm, unsettled) in &manifest.counts.unsettled {
            write!(f, "\n  lm {lm}: {unsettled}")?;
        }
        if let Some(failure) = &manifest.commonest_failure {
            write!(f, "\n  commonest failure: {failure}")?;
        }
        for heartbeat in self.workers.iter().flatten() {
            fmt_worker(heartbeat, f)?;
        }
        if self.live && self.workers.as_ref().is_some_and(Vec::is_empty) {
            write!(f, "\n  no worker has sent a heartbeat lately")?;
        }
        Ok(())
    }
}

fn fmt_counts(manifest: &Manifest, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let counts = &manifest.counts;
    write!(
        f,
        "{} of {} tasks, {} kept ({}), {} failed",
        count(counts.done() as u64),
        count(manifest.tasks as u64),
        count(counts.kept as u64),
        percent(counts.kept, counts.traces),
        count(counts.failed() as u64)
    )?;
    let kinds: Vec<String> = (counts.failures.iter())
        .map(|(kind, failed)| format!("{} {}", kind.name(), count(*failed as u64)))
        .collect();
    if kinds.is_empty() {
        Ok(())
    } else {
        write!(f, " ({})", kinds.join(", "))
    }
}

fn fmt_worker(heartbeat: &Heartbeat, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let worker = &heartbeat.worker;
    write!(
        f,
        "\n  worker {}: {}, {} calls in flight at most",
        worker.process,
        worker.lanes.join(","),
        worker.concurrency
    )?;
    if !worker.trainers.is_empty() {
        write!(f, ", trainers {}", worker.trainers.join(" "))?;
    }
    write!(f, ", heartbeat {} s ago", heartbeat.age_secs)?;
    worker.lms.iter().try_for_each(|lm| fmt_lm(lm, f))
}

fn fmt_lm(lm: &LmStatus, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "\n    {}", lm.model)?;
    if !lm.address.is_empty() {
        write!(f, " at {}", lm.address)?;
    }
    match &lm.state {
        LmState::Open => {}
        LmState::Away { secs } => write!(f, ": away for {}", time(Duration::from_secs(*secs)))?,
        LmState::Closed(account) => write!(f, ": refused (HTTP {}: {})", account.status, account.message)?,
    }
    write!(f, ": {} in flight", count(lm.in_flight))?;
    if let Some(limit) = lm.in_flight_limit {
        write!(f, " of {} that saturate it", count(limit))?;
    }
    write!(
        f,
        ", {} waiting, {} answers/min",
        count(lm.waiting),
        count(lm.answers_per_min)
    )?;
    if let Some(limit) = lm.limit_per_min {
        write!(f, " of {} allowed", count(limit))?;
    }
    if let Some(latency) = lm.latency_ms {
        write!(f, ", p50 {}", time(Duration::from_millis(latency)))?;
    }
    if lm.throttled > 0 {
        write!(f, ", {} × 429", count(lm.throttled))?;
    }
    let Some(error) = &lm.last_error else {
        return Ok(());
    };
    let ago = lm
        .last_error_secs
        .map(|secs| format!(" {} ago", time(Duration::from_secs(secs))));
    write!(f, "; last error{}: {error}", ago.unwrap_or_default())
}

impl fmt::Display for Depths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = |messages: usize| count(messages as u64);
        write!(
            f,
            "queues: bootstrap {}, finetune {} waiting",
            n(self.bootstrap),
            n(self.finetune)
        )?;
        match self.dead_bootstrap + self.dead_finetune {
            0 => Ok(()),
            dead => write!(f, "; dead letters {}", n(dead)),
        }
    }
}
