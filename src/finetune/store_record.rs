//! The record of a running training in the store, written by its worker and read by the coordinator.

use super::{TrainingId, TrainingProgress};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When the start request was sent, in milliseconds since the Unix epoch. Empty if the training was not started.
pub const STARTED_SLOT: u32 = 0;

/// The provider's id of the training.
pub const ID_SLOT: u32 = 1;

/// A [`TrainingProgress`] as JSON.
pub const PROGRESS_SLOT: u32 = 2;

/// A [`Preflight`] as JSON.
pub const PREFLIGHT_SLOT: u32 = 3;

/// When a worker last polled the training, in milliseconds since the Unix epoch. It is the heartbeat of a training whose task has no
/// lease between two polls.
pub const LOOKED_SLOT: u32 = 4;

/// Why the worker that ran the preflight cannot carry out the training, as text. Another worker may.
pub const NOT_HERE_SLOT: u32 = 5;

/// The result of a preflight.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// Why a training would fail. `None` if the preflight passed.
    pub problem: Option<String>,
    /// Warnings that do not prevent a training.
    pub warnings: Vec<String>,
}

/// The parsed records of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingRecord {
    /// When the start request was sent, in milliseconds since the Unix epoch.
    pub started_ms: Option<u64>,
    /// The provider's id of the training.
    pub id: Option<TrainingId>,
    /// The latest progress.
    pub progress: Option<TrainingProgress>,
    /// When a worker last polled it, in milliseconds since the Unix epoch.
    pub looked_ms: Option<u64>,
    /// The result of a preflight.
    pub preflight: Option<Preflight>,
    /// Why the worker that ran the preflight cannot carry it out.
    pub not_here: Option<String>,
}

impl TrainingRecord {
    /// Parses a task's records. Values of another version are ignored, except a start time, which is never lost.
    pub fn from_slots(records: &[(u32, Vec<u8>)]) -> TrainingRecord {
        let mut known = TrainingRecord::default();
        for (slot, bytes) in records.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            let text = || String::from_utf8_lossy(bytes).into_owned();
            match *slot {
                STARTED_SLOT => known.started_ms = Some(text().parse().unwrap_or(u64::MAX)),
                ID_SLOT => known.id = Some(TrainingId(text())),
                NOT_HERE_SLOT => known.not_here = Some(text()),
                LOOKED_SLOT => known.looked_ms = text().parse().ok(),
                PROGRESS_SLOT => known.progress = serde_json::from_slice(bytes).ok(),
                PREFLIGHT_SLOT => known.preflight = serde_json::from_slice(bytes).ok(),
                _ => {}
            }
        }
        known
    }

    /// Whether a training may exist at the provider.
    pub fn may_be_started(&self) -> bool {
        self.started_ms.is_some() || self.id.is_some()
    }

    /// How long ago the training was requested, by the machines' clocks. `None` if unknown.
    pub fn age(&self) -> Option<Duration> {
        Some(Duration::from_millis(now_ms().saturating_sub(self.started_ms?)))
    }
}

/// The current time in milliseconds since the Unix epoch, as the slots contain it.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
