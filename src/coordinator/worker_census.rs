//! Lists the run's workers, counts the LM calls that they have in flight, and warns when the run has none.

use super::context::RunContext;
use crate::coordination::Heartbeat;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often the workers are counted.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// How long a run may have no workers before the user gets a note.
const REPORT_AFTER: Duration = Duration::from_secs(10);

/// The latest count.
pub(super) struct WorkerCensus {
    counted: Option<Instant>,
    /// LM calls that all workers have in flight at most.
    in_flight: usize,
    /// Whether the run had workers at any time.
    had_workers: bool,
    absence: Absence,
}

/// Whether the run lacks workers.
#[derive(Clone, Copy)]
enum Absence {
    None,
    Since(Instant),
    Reported,
}

impl WorkerCensus {
    pub(super) fn new(run: RunContext<'_>) -> WorkerCensus {
        WorkerCensus {
            counted: None,
            in_flight: run.coordinator.workers.in_flight_here(),
            had_workers: false,
            absence: Absence::None,
        }
    }

    /// LM calls that all known workers have in flight at most.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The next update is due now.
    pub(super) fn make_due(&mut self) {
        self.counted = None;
    }

    /// Counts the workers if that is due. Returns their heartbeats.
    pub(super) async fn update(&mut self, run: RunContext<'_>) -> Option<Vec<Heartbeat>> {
        if self.counted.is_some_and(|at| at.elapsed() < COUNT_EVERY) {
            return None;
        }
        self.counted = Some(Instant::now());
        let heartbeats = match run.backends().coordination.workers(run.id).await {
            Ok(heartbeats) => heartbeats,
            Err(error) => {
                debug!(%error, "workers not counted");
                return None;
            }
        };
        let listed: usize = heartbeats
            .iter()
            .map(|heartbeat| heartbeat.worker.concurrency)
            .sum();
        self.in_flight = run.coordinator.workers.in_flight_here().max(listed);
        if self.in_flight > 0 {
            (self.had_workers, self.absence) = (true, Absence::None);
        } else {
            self.report_absence(run);
        }
        Some(heartbeats)
    }

    fn report_absence(&mut self, run: RunContext<'_>) {
        match self.absence {
            Absence::Reported => return,
            Absence::None => return self.absence = Absence::Since(Instant::now()),
            Absence::Since(start) if start.elapsed() < REPORT_AFTER => return,
            Absence::Since(_) => self.absence = Absence::Reported,
        }
        if self.had_workers {
            warn!("no worker sends heartbeats; start a bsft-worker");
        } else {
            run.coordinator.progress.note(
                "no worker has taken a task of this run yet; start workers with the same URLs and namespace (bsft-worker), unless all \
                 present workers are busy with another run",
            );
        }
    }
}
