//! The second phase: runs the bootstrap tasks. Publishes them within a window, and drains their outcomes until each task has one.

use super::context::RunContext;
use super::error::RunError;
use super::event_log::{HeartbeatChanges, RunRates};
use super::failure_guard::FailureGuard;
use super::first_examples::FirstExamples;
use super::lm_watch::{LmWatch, Waiting};
use super::outcome_drain::OutcomeDrain;
use super::outcome_log::OutcomeLog;
use super::prepare::Prepared;
use super::publisher::TaskPublisher;
use super::run_json;
use super::stored_job::StoredJob;
use super::task_plan::TaskPlan;
use super::worker_census::WorkerCensus;
use crate::coordination::Heartbeat;
use crate::lm::LmStatus;
use crate::report::{BootstrapState, LastMinute, Manifest};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, info};

/// How long one round waits for outcomes.
const DRAIN_WAIT: Duration = Duration::from_millis(200);

/// How long a store that is away may delay the exit of a run that stops early.
const LAST_SYNC: Duration = Duration::from_secs(5);

/// How many of the most frequent failures the summary names.
const SHOWN_FAILURES: usize = 3;

/// How often `run.json` is written, for `status`.
const MANIFEST_EVERY: Duration = Duration::from_secs(2);

/// Every task has an outcome in the log.
pub(super) struct Bootstrapped {
    pub(super) tasks: TaskPlan,
    pub(super) stored: StoredJob,
    pub(super) log: OutcomeLog,
    pub(super) manifest: Manifest,
}

pub(super) async fn bootstrap(run: RunContext<'_>, prepared: Prepared) -> Result<Bootstrapped, RunError> {
    let Prepared {
        tasks,
        stored,
        mut log,
        mut manifest,
    } = prepared;
    let started = Instant::now();
    let backends = run.backends();
    if let Some(previous) = &backends.previous_store {
        let mut drain = OutcomeDrain::new(run, previous.as_ref(), &tasks);
        drain.take_all(&mut log).await?;
    }
    let mut drain = OutcomeDrain::new(run, backends.store.as_ref(), &tasks);
    drain.take_all(&mut log).await?;
    if log.replays() > 0 {
        info!(tasks = log.replays(), "tasks replayed from archived answers");
    }

    // Outcomes of earlier processes were judged by them.
    drain.take_ended();
    run.coordinator
        .progress
        .bootstrap_starts(tasks.len(), log.counts());
    let now = Instant::now();
    let waiting = Waiting {
        patience: tasks.job.patience,
        for_first_answer: run.coordinator.wait,
    };
    let workers = run.coordinator.workers;
    let mut rounds = Rounds {
        run,
        tasks: &tasks,
        census: WorkerCensus::new(run),
        lms: LmWatch::new(&tasks.job, &stored.digest, waiting, workers, now),
        changes: HeartbeatChanges::new(workers),
        first: FirstExamples::new(&tasks, &log),
        guard: FailureGuard::new(tasks.job.max_failure_rate, log.counts().kept > 0),
        ended: LastMinute::new(log.counts().done() as u64, now),
        publisher: TaskPublisher::new(run, &tasks, &stored, &log),
        log: &mut log,
        manifest: &mut manifest,
        drain,
        published_at: now,
        is_manifest_due: false,
    };
    let ending = rounds.run_to_end().await?;
    if let BootstrapEnd::Stopped(error) = &ending
        && !matches!(error, RunError::Interrupted)
    {
        run.leadership.void_tasks().await;
    }
    rounds.finish(&ending, started).await?;
    match ending {
        BootstrapEnd::Complete => Ok(Bootstrapped {
            tasks,
            stored,
            log,
            manifest,
        }),
        BootstrapEnd::Stopped(error) => Err(error),
    }
}

/// How the rounds end, unless a service fails for good.
enum BootstrapEnd {
    /// Every task has an outcome.
    Complete,
    /// The run stops early; what was drained is kept.
    Stopped(RunError),
}

/// The phase's loop. Each round publishes, drains, republishes lost tasks, and syncs.
struct Rounds<'a> {
    run: RunContext<'a>,
    tasks: &'a TaskPlan,
    log: &'a mut OutcomeLog,
    manifest: &'a mut Manifest,
    drain: OutcomeDrain<'a>,
    publisher: TaskPublisher<'a>,
    census: WorkerCensus,
    lms: LmWatch,
    changes: HeartbeatChanges,
    first: FirstExamples,
    guard: FailureGuard,
    /// Tasks with an outcome.
    ended: LastMinute,
    /// When the manifest was published last.
    published_at: Instant,
    /// Whether it is published before the next regular time.
    is_manifest_due: bool,
}

impl Rounds<'_> {
    async fn run_to_end(&mut self) -> Result<BootstrapEnd, RunError> {
        let shutdown = &self.run.coordinator.shutdown;
        loop {
            if shutdown.is_draining() {
                return Ok(BootstrapEnd::Stopped(RunError::Interrupted));
            }
            if self.log.counts().done() == self.tasks.len() {
                return Ok(BootstrapEnd::Complete);
            }
            if let Some(error) = self.verdict() {
                return Ok(BootstrapEnd::Stopped(error));
            }
            tokio::select! {
                // Any step of a round may wait for a service that is away.
                () = shutdown.draining() => continue,
                ended = self.round() => ended?,
            }
            self.report_progress().await?;
        }
    }

    /// Cancelled only by a drain, after which no other round follows.
    async fn round(&mut self) -> Result<(), RunError> {
        self.watch_workers().await;
        let outstanding = &mut self.drain.outstanding;
        if self.first.are_answered() {
            let in_flight = self.census.in_flight();
            self.publisher.publish(in_flight, self.log, outstanding).await?;
        } else {
            let first = &mut self.first;
            self.publisher.publish_first(first, self.log, outstanding).await?;
        }
        tokio::select! {
            biased;
            taken = self.drain.take(self.log, DRAIN_WAIT) => if taken? > 0 {
                self.publisher.work_goes_on();
            },
            sent = self.publisher.sent() => sent?,
        }
        for ended in self.drain.take_ended() {
            let (teacher, _) = self.tasks.teacher_and_example(ended.task);
            self.first.enter(teacher, &ended);
            self.guard.enter(&ended);
        }
        self.drain.rewind_when_stuck();
        self.publisher
            .republish_lost(self.log, &mut self.drain.outstanding)
            .await?;
        self.drain.sync_when_due(self.log).await
    }

    /// Takes the workers' heartbeats if that is due.
    async fn watch_workers(&mut self) {
        if let Some(heartbeats) = self.census.update(self.run).await {
            let changes = self.lms.update(&heartbeats, self.log.counts(), Instant::now());
            let progress = &self.run.coordinator.progress;
            changes.iter().for_each(|change| progress.note(change));
            // `status` shows a change at once.
            self.is_manifest_due |= !changes.is_empty();
            self.record_changes(&heartbeats);
            self.first.enter_answered(&self.lms.answered());
            self.manifest.limits = self.lms.limits();
            let away = self.run.coordinator.events.services_away();
            self.manifest.limits.extend(away);
            self.manifest.heartbeats = heartbeats;
        }
    }

    fn record_changes(&mut self, heartbeats: &[Heartbeat]) {
        let rates = self.rates();
        let is_of_run = |status: &LmStatus| self.lms.watches(status);
        let events = self.changes.update(heartbeats, is_of_run, rates, Instant::now());
        for event in events {
            self.run.coordinator.events.record(&event);
        }
    }

    /// Reports and records what has happened since the workers were counted last: a short run ends before they are counted again.
    async fn record_last_changes(&mut self) {
        self.census.make_due();
        // If the service is away, the run has ended all the same.
        let _ = tokio::time::timeout(LAST_SYNC, self.watch_workers()).await;
        if let Some(event) = self.changes.finish(self.rates()) {
            self.run.coordinator.events.record(&event);
        }
    }

    fn rates(&self) -> RunRates {
        let counts = self.log.counts();
        RunRates {
            ended: counts.done(),
            failed: counts.failed(),
            rate: self.ended.per_second(),
        }
    }

    async fn report_progress(&mut self) -> Result<(), RunError> {
        let counts = self.log.counts();
        self.ended.enter(counts.done() as u64, Instant::now());
        self.manifest.rate = self.ended.per_second();
        let state = BootstrapState {
            rate: self.manifest.rate,
            limits: &self.manifest.limits,
            commonest_failure: self.log.commonest_failure(),
        };
        self.run.coordinator.progress.bootstrap(counts, state);
        if self.is_manifest_due || self.published_at.elapsed() >= MANIFEST_EVERY {
            (self.published_at, self.is_manifest_due) = (Instant::now(), false);
            self.publish_counts().await?;
        }
        self.export_outstanding();
        Ok(())
    }

    async fn finish(&mut self, ending: &BootstrapEnd, started: Instant) -> Result<(), RunError> {
        match tokio::time::timeout(LAST_SYNC, self.drain.sync(self.log)).await {
            Ok(synced) => synced?,
            Err(_) if matches!(ending, BootstrapEnd::Complete) => self.drain.sync(self.log).await?,
            Err(_) => debug!("store is away; the next start trims it"),
        }
        self.run.coordinator.progress.bootstrap_ends(self.log.counts());
        self.export_outstanding();
        self.publisher.warn_of_reopened();
        self.record_last_changes().await;
        self.manifest.rate = 0.0;
        self.manifest.limits.clear();
        self.manifest.heartbeats.clear();
        self.manifest.stopped = match ending {
            BootstrapEnd::Complete => None,
            BootstrapEnd::Stopped(why) => Some(why.to_string()),
        };
        self.manifest.add_seconds("bootstrap", started.elapsed());
        self.publish_counts().await
    }

    async fn publish_counts(&mut self) -> Result<(), RunError> {
        self.manifest.record_counts(self.log.counts(), &self.tasks.job);
        self.manifest.common_failures = self.log.most_common_failures(SHOWN_FAILURES);
        self.manifest.commonest_failure = self.manifest.common_failures.first().cloned();
        run_json::publish(self.run, self.manifest).await
    }

    fn export_outstanding(&self) {
        let metrics = &self.run.coordinator.metrics.run;
        metrics.outstanding(self.drain.outstanding.len());
    }

    /// Why the run has to stop; `None` if it continues.
    fn verdict(&mut self) -> Option<RunError> {
        let failure_limit = self.guard.judge(self.census.in_flight());
        let dir = &self.run.coordinator.dir;
        (self.lms.verdict())
            .or_else(|| self.first.verdict())
            .or_else(|| failure_limit.map(|limit| limit.error(self.tasks, self.log, dir)))
    }
}
