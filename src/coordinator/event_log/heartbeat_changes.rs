//! Derives events from heartbeats: workers that join and go, LMs that are away, accounts that are closed, limits and rates.

use super::event::{Event, EventRefusal, EventWorker};
use super::event_lm::EventLm;
use super::rates::{LmRates, RatesRecorder, RunRates};
use crate::coordination::{Heartbeat, WorkerInfo};
use crate::coordinator::lm_watch::total_limit;
use crate::coordinator::workers::Workers;
use crate::lm::{LmState, LmStatus};
use std::collections::{BTreeMap, HashMap, HashSet};
use tokio::time::Instant;

/// The state of workers and LMs in the last heartbeats.
pub(in crate::coordinator) struct HeartbeatChanges {
    /// Workers, by id.
    workers: BTreeMap<String, EventWorker>,
    /// The counts of each process at its last heartbeat, by host and pid. The workers of a process share its gates.
    processes: HashMap<(String, u32), HashMap<EventLm, SeenCounts>>,
    lms: BTreeMap<EventLm, SeenLm>,
    rates: RatesRecorder,
    workers_of_run: Workers,
}

#[derive(Clone, Copy, Debug, Default)]
struct SeenCounts {
    answered: u64,
    throttled: u64,
}

/// The state of an LM over all workers.
#[derive(Debug, Default)]
struct SeenLm {
    state: SeenState,
    /// The last limit that was recorded.
    limit_per_min: Option<u64>,
    /// Counts since this process watches the run.
    answers: u64,
    throttled: u64,
}

#[derive(Clone, Debug, Default, PartialEq)]
enum SeenState {
    #[default]
    Open,
    /// The seconds since it answered.
    Away(u64),
    Closed,
}

impl HeartbeatChanges {
    pub(in crate::coordinator) fn new(workers: Workers) -> HeartbeatChanges {
        HeartbeatChanges {
            workers: BTreeMap::new(),
            processes: HashMap::new(),
            lms: BTreeMap::new(),
            rates: RatesRecorder::default(),
            workers_of_run: workers,
        }
    }

    /// Applies the present heartbeats, and returns the events. `is_of_run` selects the LMs of this run, because a worker may serve others,
    /// too.
    pub(in crate::coordinator) fn update(
        &mut self,
        heartbeats: &[Heartbeat],
        is_of_run: impl Fn(&LmStatus) -> bool,
        run: RunRates,
        now: Instant,
    ) -> Vec<Event> {
        let workers = heartbeats.iter().map(|heartbeat| &heartbeat.worker);
        let mut events = self.workers_changed(workers.clone());
        let mut by_lm: BTreeMap<EventLm, Vec<&LmStatus>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for worker in workers {
            let process = (worker.process.host.clone(), worker.process.pid);
            if !seen.insert(process.clone()) {
                continue;
            }
            let statuses = worker.lms.iter().filter(|status| is_of_run(status));
            self.count(process, statuses.clone());
            for status in statuses {
                by_lm.entry(EventLm::from(status)).or_default().push(status);
            }
        }
        for (lm, statuses) in &by_lm {
            let seen = self.lms.entry(lm.clone()).or_default();
            seen.changed(lm, statuses, &mut events);
        }
        let lms = by_lm.iter().map(|(lm, statuses)| {
            let seen = &self.lms[lm];
            LmRates::new(lm, statuses, seen.answers, seen.throttled)
        });
        events.extend(self.rates.update(run, lms.collect(), now).map(Event::Rates));
        events
    }

    /// Returns the last rates, if they are not recorded yet.
    pub(in crate::coordinator) fn finish(&mut self, run: RunRates) -> Option<Event> {
        self.rates.finish(run).map(Event::Rates)
    }

    fn workers_changed<'a>(&mut self, workers: impl Iterator<Item = &'a WorkerInfo>) -> Vec<Event> {
        let now: BTreeMap<String, EventWorker> = workers
            .map(|worker| (worker.process.id.clone(), worker.into()))
            .collect();
        let joined = now.iter().filter(|(id, _)| !self.workers.contains_key(*id));
        let gone = self.workers.iter().filter(|(id, _)| !now.contains_key(*id));
        let joined = joined.map(|(_, worker)| Event::WorkerJoined(worker.clone()));
        let gone = gone.map(|(_, worker)| Event::WorkerGone(worker.clone()));
        let events = joined.chain(gone).collect();
        self.workers = now;
        events
    }

    /// Adds the counts of a process since its last heartbeat. Counts before its first heartbeat belong to earlier runs.
    fn count<'a>(&mut self, process: (String, u32), statuses: impl Iterator<Item = &'a LmStatus>) {
        let is_new = self.workers_of_run.may_be_elsewhere() && !self.processes.contains_key(&process);
        let before = self.processes.entry(process).or_default();
        for status in statuses {
            let lm = EventLm::from(status);
            let counts = SeenCounts {
                answered: status.answered,
                throttled: status.throttled,
            };
            let known = before.insert(lm.clone(), counts);
            let known = known.unwrap_or(if is_new { counts } else { SeenCounts::default() });
            let seen = self.lms.entry(lm).or_default();
            // A process with the pid of a dead one starts at 0.
            seen.answers += counts.answered.saturating_sub(known.answered);
            seen.throttled += counts.throttled.saturating_sub(known.throttled);
        }
    }
}

impl SeenLm {
    fn changed(&mut self, lm: &EventLm, statuses: &[&LmStatus], events: &mut Vec<Event>) {
        let lm = || lm.clone();
        let now = SeenState::from_statuses(statuses);
        let before = std::mem::replace(&mut self.state, now.clone());
        match (&before, &now) {
            (SeenState::Open, SeenState::Open)
            | (SeenState::Away(_), SeenState::Away(_))
            | (SeenState::Closed, SeenState::Closed) => {}
            (SeenState::Away(secs), _) => {
                events.push(Event::LmBack {
                    lm: lm(),
                    secs: *secs,
                });
            }
            (SeenState::Closed, _) => events.push(Event::AccountOpen { lm: lm() }),
            (SeenState::Open, _) => {}
        }
        match now {
            SeenState::Away(_) if !matches!(before, SeenState::Away(_)) => {
                let error = statuses.iter().find_map(|status| status.last_error.clone());
                events.push(Event::LmAway { lm: lm(), error });
            }
            SeenState::Closed if before != SeenState::Closed => {
                let refusal = statuses.iter().find_map(|status| match &status.state {
                    LmState::Closed(account) => Some(EventRefusal::from(account)),
                    LmState::Open | LmState::Away { .. } => None,
                });
                events.extend(refusal.map(|refusal| Event::AccountClosed { lm: lm(), refusal }));
            }
            _ => {}
        }
        let limit = total_limit(statuses.iter().copied());
        if has_moved(self.limit_per_min, limit) {
            self.limit_per_min = limit;
            let per_min = limit;
            events.push(Event::Limit { lm: lm(), per_min });
        }
    }
}

impl SeenState {
    fn from_statuses(statuses: &[&LmStatus]) -> SeenState {
        let mut away = None;
        for status in statuses {
            match status.state {
                LmState::Open => return SeenState::Open,
                LmState::Away { secs } => away = Some(away.map_or(secs, |least: u64| least.min(secs))),
                LmState::Closed(_) => {}
            }
        }
        away.map_or(SeenState::Closed, SeenState::Away)
    }
}

/// Whether the limit has changed by more than a tenth.
fn has_moved(before: Option<u64>, now: Option<u64>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) => before.abs_diff(now) * 10 > before,
        (before, now) => before != now,
    }
}
