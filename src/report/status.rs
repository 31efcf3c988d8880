//! How far a run is, for `status`.

use super::figures::{count, percent, time};
use super::manifest::{Manifest, Phase};
use crate::coordination::WorkerInfo;
use serde::Serialize;
use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A manifest that is older than this is of a run that nobody works on: a living coordinator writes it every two seconds.
const FRESH: Duration = Duration::from_secs(15);

/// What is known of a run, from its manifest and from the services.
#[derive(Debug, Serialize)]
pub struct RunStatus {
    #[serde(skip)]
    name: String,
    /// The manifest.
    #[serde(flatten)]
    pub manifest: Manifest,
    /// Whether a coordinator works on it, by the age of the manifest.
    pub live: bool,
    /// Seconds until every task has an outcome, at the present rate.
    pub eta_seconds: Option<f64>,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Workers that gave a sign of life lately; none: not known.
    pub workers: Option<Vec<WorkerInfo>>,
    /// Messages in the namespace's queues; none: not known.
    pub queues: Option<Depths>,
}

/// Messages in a namespace's queues.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Depths {
    /// Bootstrap tasks that wait for a worker.
    pub bootstrap: usize,
    /// Fine-tune tasks that wait for a worker.
    pub finetune: usize,
    /// Messages of the bootstrap lane that were refused, or failed too often.
    pub dead_bootstrap: usize,
    /// Messages of the finetune lane that were refused, or failed too often.
    pub dead_finetune: usize,
}

impl RunStatus {
    /// What the manifest alone tells.
    pub fn of(name: String, manifest: Manifest) -> RunStatus {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = now.saturating_sub(Duration::from_secs(manifest.updated));
        let live = manifest.phase != Phase::Compiled && age < FRESH;
        let left = manifest.tasks.saturating_sub(manifest.counts.done());
        let eta_seconds = (live && manifest.rate > 0.0).then(|| left as f64 / manifest.rate);
        RunStatus {
            name,
            manifest,
            live,
            eta_seconds,
            cancelled: false,
            workers: None,
            queues: None,
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (manifest, counts) = (&self.manifest, &self.manifest.counts);
        write!(
            f,
            "{}  {:?}  {} of {} tasks, {} kept ({}), {} failed",
            self.name,
            manifest.phase,
            count(counts.done() as u64),
            count(manifest.tasks as u64),
            count(counts.kept as u64),
            percent(counts.kept, counts.traces),
            count(counts.failed() as u64)
        )?;
        let kinds: Vec<String> = (counts.failures.iter())
            .map(|(kind, failed)| format!("{} {}", kind.name(), count(*failed as u64)))
            .collect();
        if !kinds.is_empty() {
            write!(f, " ({})", kinds.join(", "))?;
        }
        if let Some(eta) = self.eta_seconds {
            let eta = time(Duration::from_secs_f64(eta.min(1e9)));
            write!(f, "  {:.0}/s eta {eta}", manifest.rate)?;
        }
        if self.cancelled {
            write!(f, "  cancelled")?;
        } else if !self.live && manifest.phase != Phase::Compiled {
            let remedy = match manifest.has_only_failures_left() {
                true => "trainings have failed; mend what they say, and retry trains them anew",
                false => "compile goes on with it",
            };
            write!(f, "  no coordinator has reported lately: {remedy}")?;
        }
        if manifest.phase == Phase::Train {
            for shard in &manifest.shards {
                write!(f, "\n  fine-tune {}: {}", shard.name(), shard.status())?;
            }
        }
        for worker in self.workers.iter().flatten() {
            let lanes = worker.lanes.join(",");
            write!(
                f,
                "\n  worker {}: {lanes}, {} calls in flight at most",
                worker.process, worker.concurrency
            )?;
            if !worker.trainers.is_empty() {
                write!(f, ", trainers {}", worker.trainers.join(" "))?;
            }
        }
        if self.live && self.workers.as_ref().is_some_and(Vec::is_empty) {
            write!(f, "\n  no worker has given a sign of life lately")?;
        }
        Ok(())
    }
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
