//! Phase two: every task gets an outcome. Publishes within a window, drains outcomes to DIR, fsyncs, and only then lets the store forget.

use super::ledger::Appended;
use super::prepare::Prepared;
use super::{Coordinator, RunError};
use crate::message::{BootstrapTask, MESSAGE_VERSION};
use crate::queue::Lane;
use crate::store::{Position, Stored};
use crate::task::TaskId;
use crate::trace::{Failure, LineIndex, Outcome};
use std::time::{Duration, Instant};
use tracing::{debug, warn};

/// Tasks outstanding at the least: enough that no worker runs dry between two looks at the outcomes.
const MIN_WINDOW: usize = 4096;

/// Tasks that are published in one go.
const PUBLISH_BATCH: usize = 512;

/// Outcomes that are fetched in one go: some 2 MB of small traces.
const DRAIN_BATCH: usize = 1024;

/// How long the coordinator waits for an outcome before it looks at other things.
const DRAIN_WAIT: Duration = Duration::from_millis(200);

/// How long outcomes may lie in DIR without an fsync; the store keeps them until then.
const SYNC_EVERY: Duration = Duration::from_millis(500);

/// Bytes in DIR that ask for an fsync before that time.
const SYNC_BYTES: usize = 8 << 20;

/// How often `run.json` learns how far things are, for `status`.
const MANIFEST_EVERY: Duration = Duration::from_secs(2);

/// How long tasks may be outstanding without a single outcome before those without one are published again: a message
/// can be lost, the list of tasks cannot.
const REPUBLISH_AFTER: Duration = Duration::from_secs(1800);

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
    let mut drain = Drain::new(coordinator);
    // What the last process had stored and not yet drained.
    while drain.take(&mut prepared, Duration::ZERO).await? > 0 {}
    drain.sync(&prepared).await?;
    prepared.find_remakes()?;
    coordinator
        .progress
        .bootstrap_starts(tasks, prepared.ledger.tally());

    let window = MIN_WINDOW.max(2 * coordinator.in_flight);
    let mut publisher = Publisher { next: 0, window };
    let mut outcome_seen = Instant::now();
    let mut told = Instant::now();
    let ended = loop {
        if coordinator.shutdown.is_draining() {
            break Err(RunError::Interrupted);
        }
        if let Some(error) = too_many_failures(coordinator, &prepared, tasks) {
            break Err(error);
        }
        if prepared.ledger.tally().done() == tasks {
            break Ok(());
        }
        publisher
            .publish(coordinator, &prepared, &mut drain.outstanding)
            .await?;
        let taken = tokio::select! {
            taken = drain.take(&mut prepared, DRAIN_WAIT) => taken?,
            () = coordinator.shutdown.draining() => continue,
        };
        if taken > 0 {
            outcome_seen = Instant::now();
        } else if outcome_seen.elapsed() > REPUBLISH_AFTER {
            warn!(
                outstanding = drain.outstanding,
                "no outcome for a long time: publishing again"
            );
            publisher.next = 0;
            drain.outstanding = 0;
            outcome_seen = Instant::now();
        }
        drain.sync_when_due(&prepared).await?;
        if told.elapsed() >= MANIFEST_EVERY {
            told = Instant::now();
            prepared.manifest.count(prepared.ledger.tally(), &prepared.job);
            prepared.write_manifest(coordinator)?;
        }
        coordinator.progress.bootstrap(prepared.ledger.tally());
    };
    drain.sync(&prepared).await?;
    coordinator.progress.bootstrap_ends(prepared.ledger.tally());
    prepared.manifest.spent("bootstrap", started.elapsed());
    prepared.manifest.count(prepared.ledger.tally(), &prepared.job);
    prepared.write_manifest(coordinator)?;
    ended.map(|()| Bootstrapped { prepared })
}

fn too_many_failures(coordinator: &Coordinator, prepared: &Prepared, tasks: usize) -> Option<RunError> {
    let (failed, allowed) = (prepared.ledger.tally().failed(), prepared.job.max_failure_rate);
    (failed as f64 > allowed * tasks as f64).then(|| RunError::TooManyFailures {
        failed,
        tasks,
        allowed,
        dir: coordinator.dir.clone(),
    })
}

/// Publishes tasks in order, skipping those with an outcome.
struct Publisher {
    next: usize,
    window: usize,
}

impl Publisher {
    async fn publish(
        &mut self,
        coordinator: &Coordinator,
        prepared: &Prepared,
        outstanding: &mut usize,
    ) -> Result<(), RunError> {
        let tasks = prepared.tasks();
        // In batches: a wake-up of the publisher for every single outcome would cost more than the message.
        if *outstanding + PUBLISH_BATCH > self.window {
            return Ok(());
        }
        while *outstanding + PUBLISH_BATCH <= self.window && self.next < tasks {
            let mut batch = Vec::with_capacity(PUBLISH_BATCH);
            let mut ids = Vec::with_capacity(PUBLISH_BATCH);
            while batch.len() < PUBLISH_BATCH && self.next < tasks {
                let task = self.next;
                self.next += 1;
                if !prepared.ledger.has(task) {
                    batch.push(message(prepared, task)?);
                    ids.push((task, prepared.task_id(task)));
                }
            }
            reopen(coordinator, prepared, &ids).await?;
            *outstanding += batch.len();
            coordinator.queue.publish(&Lane::Bootstrap, batch).await?;
        }
        Ok(())
    }
}

/// Prepares the store for tasks that an earlier process may have had an outcome of, which DIR does not have: it was
/// deleted, set aside, or is to be tried again.
async fn reopen(
    coordinator: &Coordinator,
    prepared: &Prepared,
    tasks: &[(usize, TaskId)],
) -> Result<(), RunError> {
    let ids: Vec<TaskId> = tasks.iter().map(|(_, id)| *id).collect();
    let reopened = coordinator.store.reopen(&prepared.run, &ids).await?;
    if reopened > 0 {
        debug!(tasks = reopened, "outcomes that DIR does not have are made again");
    }
    for (task, _) in tasks {
        import(coordinator, prepared, *task).await?;
    }
    Ok(())
}

/// Gives the store the answers to a task's questions that an earlier shape of its trace has.
async fn import(coordinator: &Coordinator, prepared: &Prepared, task: usize) -> Result<(), RunError> {
    let answers = prepared.ledger.remake(task)?;
    if answers.is_empty() {
        return Ok(());
    }
    let records = (0..).zip(answers.iter().map(|answer| answer.encode())).collect();
    coordinator
        .store
        .import(&prepared.run, prepared.task_id(task), records)
        .await?;
    Ok(())
}

fn message(prepared: &Prepared, task: usize) -> Result<Vec<u8>, RunError> {
    let (teacher, example) = prepared.place(task);
    let trainset = &prepared.job.trainset;
    let message = BootstrapTask {
        v: MESSAGE_VERSION,
        run: prepared.run.clone(),
        job: prepared.spec_digest.clone(),
        task: prepared.task_id(task),
        teacher,
        example,
        labels: trainset.label_digest(example as usize).unwrap_or_default(),
        data: trainset.json(example as usize)?,
    };
    Ok(message.encode())
}

/// Takes outcomes from the store to DIR.
struct Drain<'a> {
    coordinator: &'a Coordinator,
    position: Position,
    appended: Appended,
    /// In DIR, not yet known to be on the disk: the store still has them.
    unsynced: Vec<(Position, TaskId)>,
    unsynced_bytes: usize,
    synced_at: Instant,
    outstanding: usize,
}

impl<'a> Drain<'a> {
    fn new(coordinator: &'a Coordinator) -> Drain<'a> {
        Drain {
            coordinator,
            position: Position::default(),
            appended: Appended::default(),
            unsynced: Vec::new(),
            unsynced_bytes: 0,
            synced_at: Instant::now(),
            outstanding: 0,
        }
    }

    /// Takes what is there, waiting that long for the first outcome. Cancel safe: nothing is awaited once outcomes are in hand.
    async fn take(&mut self, prepared: &mut Prepared, wait: Duration) -> Result<usize, RunError> {
        let store = &self.coordinator.store;
        let stored = store
            .outcomes(&prepared.run, self.position, DRAIN_BATCH, wait)
            .await?;
        let taken = stored.len();
        for Stored {
            position,
            task,
            outcome,
        } in stored
        {
            self.position = position;
            match Outcome::decode(outcome) {
                Ok(Outcome::Trace(line)) => self.trace(prepared, &line)?,
                Ok(Outcome::Failure(line)) => self.failure(prepared, &line)?,
                // The train phase looks these up by their task.
                Ok(Outcome::Training(_)) => continue,
                Err(error) => warn!(%task, %error, "outcome left alone; its task will run again"),
            }
            self.unsynced.push((position, task));
        }
        self.unsynced_bytes += self.appended.len();
        prepared.ledger.flush(&mut self.appended)?;
        Ok(taken)
    }

    fn trace(&mut self, prepared: &mut Prepared, line: &str) -> Result<(), RunError> {
        let Ok(index) = LineIndex::of(line) else {
            return Ok(prepared.ledger.append_stale(line)?);
        };
        match self.expected(prepared, index.teacher, index.example, index.task, &index.made_by) {
            Expected::Task(task) => {
                let names = &prepared.predictors;
                prepared
                    .ledger
                    .append_trace(task, line, &index, names, &mut self.appended);
            }
            Expected::Stale => prepared.ledger.append_stale(line)?,
            Expected::Repeated => {}
        }
        Ok(())
    }

    fn failure(&mut self, prepared: &mut Prepared, line: &str) -> Result<(), RunError> {
        let Ok(failure) = serde_json::from_str::<Failure>(line) else {
            return Ok(prepared.ledger.append_stale(line)?);
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
                    .ledger
                    .append_failure(task, line, &failure, &mut self.appended);
            }
            Expected::Stale => prepared.ledger.append_stale(line)?,
            Expected::Repeated => {}
        }
        Ok(())
    }

    fn expected(
        &mut self,
        prepared: &Prepared,
        teacher: u32,
        example: u32,
        found: TaskId,
        made_by: &str,
    ) -> Expected {
        self.outstanding = self.outstanding.saturating_sub(1);
        match prepared.number(teacher, example) {
            Some(task) if prepared.task_id(task) == found && made_by == prepared.made_by(example) => {
                if prepared.ledger.has(task) {
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
        prepared.ledger.sync().await?;
        self.coordinator.store.trim(&prepared.run, &self.unsynced).await?;
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
