//! The event log `events.jsonl`: one line per event of a run, and the rates of its LMs while they change.
//!
//! - `event` defines the lines, `bounded_file` the file.
//! - `heartbeat_changes` derives the events of workers and LMs, and `rates` the lines of rates. `manifest_changes` derives phases and
//!   trainings, `service_watch` the outages of RabbitMQ and Redis.
//!
//! The log contains no inputs, answers or keys. A run does not depend on it: a line that cannot be written is dropped.

mod bounded_file;
mod event;
mod event_lm;
mod heartbeat_changes;
mod manifest_changes;
mod rates;
mod service_watch;
#[cfg(test)]
mod tests;

pub use event::Event;
pub(super) use heartbeat_changes::HeartbeatChanges;
pub(super) use rates::RunRates;
pub(super) use service_watch::watch_services;

use crate::lock::lock;
use crate::report::{Manifest, time};
use crate::run_dir::RunDir;
use crate::system_error::explained;
use bounded_file::BoundedFile;
use event::NamedService;
use manifest_changes::ManifestChanges;
use serde::Serialize;
use std::io;
use std::sync::{Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tracing::warn;

/// The event log of a run directory, open for appending.
#[derive(Debug)]
pub struct EventLog {
    /// Locked for one write at a time, a few times per second at most. Never locked across an await.
    state: Mutex<LogState>,
}

#[derive(Debug)]
struct LogState {
    file: BoundedFile,
    manifest: ManifestChanges,
    /// Services that do not answer.
    away: Vec<(NamedService, Instant)>,
    /// Whether this process has started the run. Only then is its end recorded.
    has_started: bool,
    /// Whether a line could not be written.
    has_failed: bool,
}

/// A line: the time, then the event.
#[derive(Serialize)]
struct TimedEvent<'a> {
    /// Seconds since the Unix epoch.
    at: f64,
    #[serde(flatten)]
    event: &'a Event,
}

impl EventLog {
    /// Opens the log of a run directory that this process has locked. Removes an incomplete last line of a killed process.
    ///
    /// # Errors
    ///
    /// Returns the error of opening or truncating the file.
    pub fn open(dir: &RunDir) -> io::Result<EventLog> {
        let file = BoundedFile::open(dir.events(), dir.earlier_events())?;
        let state = LogState {
            file,
            manifest: ManifestChanges::default(),
            away: Vec::new(),
            has_started: false,
            has_failed: false,
        };
        Ok(EventLog {
            state: Mutex::new(state),
        })
    }

    /// Appends a line. After a failed write, a warning is logged once.
    pub fn record(&self, event: &Event) {
        self.state().record(event);
    }

    /// Records the changes of the manifest since the last call: its phase and its trainings.
    pub(super) fn follow(&self, manifest: &Manifest) {
        let mut state = self.state();
        for event in state.manifest.update(manifest) {
            state.record(&event);
        }
    }

    /// The services that do not answer, one text for each.
    pub(super) fn services_away(&self) -> Vec<String> {
        let state = self.state();
        let away = state.away.iter();
        away.map(|(service, since)| format!("waiting for {service} ({})", time(since.elapsed())))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, LogState> {
        lock(&self.state)
    }
}

impl LogState {
    fn record(&mut self, event: &Event) {
        match event {
            Event::Started { .. } => self.has_started = true,
            Event::Stopped { .. } if !self.has_started => return,
            Event::ServiceAway { service } => self.away.push((*service, Instant::now())),
            Event::ServiceBack { service, .. } => self.away.retain(|(away, _)| away != service),
            _ => {}
        }
        let at = unix_milliseconds() as f64 / 1000.0;
        let line = serde_json::to_string(&TimedEvent { at, event });
        let line = line.expect("an event is plain data with string keys");
        if let Err(error) = self.file.append(&line)
            && !std::mem::replace(&mut self.has_failed, true)
        {
            warn!(error = explained(&error), "events.jsonl lacks lines");
        }
    }
}

fn unix_milliseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
