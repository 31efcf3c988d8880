//! Phase two: every task gets an outcome. Publishes within a window, drains outcomes to DIR, fsyncs, and only then lets the store forget.

use super::outcome_log::Appended;
use super::outstanding_tasks::OutstandingTasks;
use super::prepare::Prepared;
use super::publisher::TaskPublisher;
use super::{Coordinator, RunError};
use crate::store::{Position, Store, Stored};
use crate::task::TaskId;
use crate::trace::{Failure, LineIndex, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// Outcomes that are fetched in one go: some 2 MB of small traces.
const DRAIN_BATCH: usize = 1024;

/// How long the coordinator waits for an outcome before it looks at other things.
const DRAIN_WAIT: Duration = Duration::from_millis(200);

/// How long outcomes may lie in DIR without an fsync; the store keeps them until then.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// Bytes in DIR that ask for an fsync before that time.
const SYNC_BYTES: usize = 8 << 20;

/// How long the end of an interrupted run is held up by a store that is away.
const LAST_SYNC: Duration = Duration::from_secs(5);

/// After how long without an outcome the coordinator reads them from the start again.
const LOOK_BACK: Duration = Duration::from_secs(60);

/// How often `run.json` learns how far things are, for `status`.
const MANIFEST_EVERY: Duration = Duration::from_secs(2);

/// All tasks have an outcome in DIR.
pub(super) struct Bootstrapped {
    pub(super) prepared: Prepared,
}

/// Runs the phase.
pub(super) async fn bootstrap(
    coordinator: &Coordinator,
    mut prepared: Prepared,
) -> Result<Bootstrapped, RunError> {
    let tasks = prepared.tasks();
    let started = Instant::now();
    if let Some(earlier) = &coordinator.earlier {
        // The run went on with other services: what the first had stored and not drained.
        let mut drain = Drain::new(coordinator, earlier);
        while drain.take(&mut prepared, Duration::ZERO).await? > 0 {}
        drain.sync(&prepared).await?;
    }
    let mut drain = Drain::new(coordinator, &coordinator.store);
    // What the last process had stored and not yet drained.
    while drain.take(&mut prepared, Duration::ZERO).await? > 0 {}
    drain.sync(&prepared).await?;
    prepared.find_replays()?;
    coordinator
        .progress
        .bootstrap_starts(tasks, prepared.outcome_log.counts());

    let mut publisher = TaskPublisher::new(coordinator);
    let mut told = Instant::now();
    let mut done_before = prepared.outcome_log.counts().done();
    let ended = loop {
        if coordinator.shutdown.is_draining() {
            break Err(RunError::Interrupted);
        }
        if let Some(error) = too_many_failures(coordinator, &prepared, tasks) {
            break Err(error);
        }
        if prepared.outcome_log.counts().done() == tasks {
            break Ok(());
        }
        let round = async {
            publisher.count_workers(&prepared).await;
            publisher.publish(&prepared, &mut drain.outstanding).await?;
            tokio::select! {
                biased;
                taken = drain.take(&mut prepared, DRAIN_WAIT) => if taken? > 0 {
                    publisher.watch.encourage();
                },
                sent = publisher.sent() => sent?,
            }
            drain.look_back_when_stuck();
            publisher.sweep(&prepared, &mut drain.outstanding).await?;
            drain.sync_when_due(&prepared).await
        };
        tokio::select! {
            // A service that is away may hold up any step of it.
            () = coordinator.shutdown.draining() => continue,
            ended = round => ended?,
        }
        if told.elapsed() >= MANIFEST_EVERY {
            let done = prepared.outcome_log.counts().done();
            prepared.manifest.rate = (done - done_before) as f64 / told.elapsed().as_secs_f64();
            (told, done_before) = (Instant::now(), done);
            prepared
                .manifest
                .count(prepared.outcome_log.counts(), &prepared.job);
            prepared.tell(coordinator).await?;
        }
        coordinator.progress.bootstrap(prepared.outcome_log.counts());
        coordinator.metrics.run.outstanding(drain.outstanding.len());
    };
    match tokio::time::timeout(LAST_SYNC, drain.sync(&prepared)).await {
        Ok(synced) => synced?,
        Err(_) if ended.is_err() => debug!("the store is away; it forgets later what is in DIR"),
        Err(_) => drain.sync(&prepared).await?,
    }
    coordinator.progress.bootstrap_ends(prepared.outcome_log.counts());
    coordinator.metrics.run.outstanding(drain.outstanding.len());
    publisher.tell_made_again();
    prepared.manifest.rate = 0.0;
    prepared.manifest.spent("bootstrap", started.elapsed());
    prepared
        .manifest
        .count(prepared.outcome_log.counts(), &prepared.job);
    prepared.tell(coordinator).await?;
    ended.map(|()| Bootstrapped { prepared })
}

fn too_many_failures(coordinator: &Coordinator, prepared: &Prepared, tasks: usize) -> Option<RunError> {
    let (failed, allowed) = (
        prepared.outcome_log.counts().failed(),
        prepared.job.max_failure_rate,
    );
    (failed as f64 > allowed * tasks as f64).then(|| RunError::TooManyFailures {
        failed,
        tasks,
        allowed,
        dir: coordinator.dir.clone(),
        retry: coordinator.retry_command(),
    })
}

/// Takes outcomes from the store to DIR.
struct Drain<'a> {
    coordinator: &'a Coordinator,
    store: &'a dyn Store,
    position: Position,
    appended: Appended,
    /// In DIR, not yet known to be on the disk: the store still has them.
    unsynced: Vec<(Position, TaskId)>,
    unsynced_bytes: usize,
    synced_at: Instant,
    taken_at: Instant,
    outstanding: OutstandingTasks,
    /// Outcomes that say nothing to us.
    unreadable: usize,
}

impl<'a> Drain<'a> {
    fn new(coordinator: &'a Coordinator, store: &'a Arc<dyn Store>) -> Drain<'a> {
        Drain {
            coordinator,
            store: store.as_ref(),
            position: Position::default(),
            appended: Appended::default(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            synced_at: Instant::now(),
            taken_at: Instant::now(),
            outstanding: OutstandingTasks::default(),
            unreadable: 0,
        }
    }

    /// Reads from the start again when nothing has come for long: a store that lost its place may have given outcomes one that was
    /// passed already. What is known is left alone.
    fn look_back_when_stuck(&mut self) {
        if self.taken_at.elapsed() >= LOOK_BACK && self.outstanding.len() > 0 {
            self.taken_at = Instant::now();
            self.position = Position::default();
        }
    }

    /// Takes what is there, waiting that long for the first outcome. Cancel safe: nothing is awaited once outcomes are in hand.
    async fn take(&mut self, prepared: &mut Prepared, wait: Duration) -> Result<usize, RunError> {
        let stored = self
            .store
            .outcomes(&prepared.run, self.position, DRAIN_BATCH, wait)
            .await?;
        let taken = stored.len();
        if taken > 0 {
            self.taken_at = Instant::now();
        }
        for Stored {
            position,
            task,
            outcome,
        } in stored
        {
            self.position = position;
            match Outcome::decode(outcome) {
                Ok(Outcome::Trace(line)) => self.trace(prepared, &line),
                Ok(Outcome::Failure(line)) => self.failure(prepared, &line),
                // The train phase looks these up by their task.
                Ok(Outcome::Training(_)) => continue,
                Err(error) => self.left_alone(prepared, task, &error),
            }
            self.unsynced.push((position, task));
        }
        self.unsynced_bytes += self.appended.len();
        prepared.outcome_log.flush(&mut self.appended)?;
        Ok(taken)
    }

    /// Many may be of a version that nobody here knows; one is told of.
    fn left_alone(&mut self, prepared: &Prepared, task: TaskId, why: &dyn std::fmt::Display) {
        if self.unreadable == 0 {
            warn!(run = %prepared.run, %task, %why, "an outcome is left alone; its task, and every other one like it, will run again");
        }
        self.unreadable += 1;
        debug!(%task, %why, "outcome left alone");
    }

    fn trace(&mut self, prepared: &mut Prepared, line: &str) {
        let Ok(index) = LineIndex::of(line) else {
            return prepared.outcome_log.append_stale(line, &mut self.appended);
        };
        match self.expected(prepared, index.teacher, index.example, index.task, &index.made_by) {
            Expected::Task(task) => {
                let names = &prepared.predictors;
                prepared
                    .outcome_log
                    .append_trace(task, line, &index, names, &mut self.appended);
            }
            Expected::Stale => prepared.outcome_log.append_stale(line, &mut self.appended),
            Expected::Repeated => {}
        }
    }

    fn failure(&mut self, prepared: &mut Prepared, line: &str) {
        let Ok(failure) = serde_json::from_str::<Failure>(line) else {
            return prepared.outcome_log.append_stale(line, &mut self.appended);
        };
        match self.expected(
            prepared,
            failure.teacher,
            failure.example,
            failure.task,
            &failure.made_by,
        ) {
            Expected::Task(task) => {
                prepared
                    .outcome_log
                    .append_failure(task, line, &failure, &mut self.appended);
            }
            Expected::Stale => prepared.outcome_log.append_stale(line, &mut self.appended),
            Expected::Repeated => {}
        }
    }

    fn expected(
        &mut self,
        prepared: &Prepared,
        teacher: u32,
        example: u32,
        found: TaskId,
        made_by: &str,
    ) -> Expected {
        match prepared.number(teacher, example) {
            Some(task) if prepared.task_id(task) == found && made_by == prepared.made_by(example) => {
                self.outstanding.done(task);
                if prepared.outcome_log.has(task) {
                    Expected::Repeated
                } else {
                    Expected::Task(task)
                }
            }
            _ => Expected::Stale,
        }
    }

    async fn sync_when_due(&mut self, prepared: &Prepared) -> Result<(), RunError> {
        let due = self.unsynced_bytes >= SYNC_BYTES || self.synced_at.elapsed() >= SYNC_EVERY;
        if due && !self.unsynced.is_empty() {
            self.sync(prepared).await
        } else {
            Ok(())
        }
    }

    /// Brings DIR to the disk, then lets the store forget what is there.
    async fn sync(&mut self, prepared: &Prepared) -> Result<(), RunError> {
        prepared.outcome_log.sync().await?;
        // What the store forgets, another coordinator cannot have any more.
        prepared.leadership.confirm(self.coordinator).await?;
        self.store.trim(&prepared.run, &self.unsynced).await?;
        self.unsynced.clear();
        self.unsynced_bytes = 0;
        self.synced_at = Instant::now();
        Ok(())
    }
}

/// What an outcome from the store is to the job.
enum Expected {
    /// The outcome of this task.
    Task(usize),
    /// One that is there already: notices and outcomes may repeat.
    Repeated,
    /// Of the job as it once was.
    Stale,
}
