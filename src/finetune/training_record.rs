//! What the store keeps of a training while it goes on: written by the worker that looks after it, read by the coordinator.

use super::{TrainingId, TrainingProgress};
use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When the request went out that starts the training, in milliseconds of the Unix clock; empty: it was certainly not started.
pub const STARTED_SLOT: u32 = 0;

/// The provider's id.
pub const ID_SLOT: u32 = 1;

/// A [`TrainingProgress`] as JSON.
pub const PROGRESS_SLOT: u32 = 2;

/// A [`Preflight`] as JSON.
pub const PREFLIGHT_SLOT: u32 = 3;

/// When a worker looked at the training last, in milliseconds of the Unix clock: a sign of life where nobody holds the task between two
/// looks.
pub const LOOKED_SLOT: u32 = 4;

/// Why a worker that was asked to look ahead cannot carry the training out: a text. Another one may.
pub const NOT_HERE_SLOT: u32 = 5;

/// What a look ahead found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// Why a training would fail; none: nothing speaks against it.
    pub problem: Option<String>,
    /// What is allowed but worth telling.
    pub warnings: Vec<String>,
}

/// A task's records, read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingRecord {
    /// When the request went out that starts the training, in milliseconds of the Unix clock.
    pub started_ms: Option<u64>,
    /// The provider's id.
    pub id: Option<TrainingId>,
    /// How far it is.
    pub progress: Option<TrainingProgress>,
    /// When a worker looked at it last, in milliseconds of the Unix clock.
    pub looked_ms: Option<u64>,
    /// What a look ahead found.
    pub preflight: Option<Preflight>,
    /// Why a worker that was asked to look ahead cannot carry it out.
    pub not_here: Option<String>,
}

impl TrainingRecord {
    /// Reads a task's records; what is not of this version is as good as absent, but for the mark of a start.
    pub fn of(records: &[(u32, Vec<u8>)]) -> TrainingRecord {
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

    /// Whether there may be a training somewhere.
    pub fn may_be_started(&self) -> bool {
        self.started_ms.is_some() || self.id.is_some()
    }

    /// How long ago the training was asked for, by the clocks of the machines; none: not known.
    pub fn age(&self) -> Option<Duration> {
        Some(Duration::from_millis(now_ms().saturating_sub(self.started_ms?)))
    }
}

/// Milliseconds of the Unix clock, as the slots have them.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
