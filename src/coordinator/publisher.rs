//! Publishing the tasks of the bootstrap phase: within a window, in order, and again when their messages are lost.

use super::lost_tasks::LostTaskDetector;
use super::outstanding_tasks::OutstandingTasks;
use super::prepare::Prepared;
use super::{Coordinator, RunError};
use crate::broker::{BrokerError, Queue, Recourse};
use crate::message::{BootstrapTask, MESSAGE_VERSION};
use crate::task::TaskId;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

/// Tasks outstanding at the least: enough that no worker runs dry between two looks at the outcomes.
const MIN_WINDOW: usize = 4096;

/// Tasks outstanding at the most: some hundred megabytes of messages, and what a cancelled run leaves in the lane.
const MAX_WINDOW: usize = 1 << 16;

/// Tasks that are published in one go, at the most: some megabytes.
const MAX_BATCH: usize = 4096;

/// Tasks that are published in one go, at the least.
const PUBLISH_BATCH: usize = 512;

/// How often the coordinator looks for tasks whose message is lost.
const SWEEP_EVERY: Duration = Duration::from_secs(3);

/// How long a broker that is well takes to say how much is in a lane.
const DEPTH_WITHIN: Duration = Duration::from_secs(1);

/// How long nobody may hold a task that is not in its lane: longer than a message that was handed back waits.
const ABANDONED: Duration = Duration::from_secs(10);

/// How often the coordinator looks who works on the run.
const COUNT_WORKERS_EVERY: Duration = Duration::from_secs(1);

/// After how long without a worker the user is told what is missing.
const LONELY: Duration = Duration::from_secs(10);

/// Publishes tasks in order, skipping those with an outcome.
pub(super) struct TaskPublisher<'a> {
    coordinator: &'a Coordinator,
    next: usize,
    window: usize,
    counted: Option<Instant>,
    /// Since when nobody is known to work on the run.
    alone_since: Option<Instant>,
    /// Whether somebody was.
    accompanied: bool,
    /// Whether the user was told that nobody is.
    told_alone: bool,
    swept: Instant,
    pub(super) watch: LostTaskDetector,
    made_again: usize,
    /// The messages on their way: a broker that takes none must not keep outcomes from DIR.
    sending: JoinSet<Result<(), BrokerError>>,
}

impl<'a> TaskPublisher<'a> {
    pub(super) fn new(coordinator: &'a Coordinator) -> TaskPublisher<'a> {
        let now = Instant::now();
        TaskPublisher {
            coordinator,
            next: 0,
            window: window(coordinator.in_flight),
            counted: None,
            alone_since: None,
            accompanied: false,
            told_alone: false,
            swept: now,
            watch: LostTaskDetector::new(ABANDONED),
            made_again: 0,
            sending: JoinSet::new(),
        }
    }

    /// Lets the window follow the workers that are there, now and then.
    pub(super) async fn count_workers(&mut self, prepared: &Prepared) {
        if self.counted.is_some_and(|at| at.elapsed() < COUNT_WORKERS_EVERY) {
            return;
        }
        self.counted = Some(Instant::now());
        let workers = match self.coordinator.coordination.workers(&prepared.run).await {
            Ok(workers) => workers,
            Err(error) => return debug!(%error, "the workers are not counted"),
        };
        let elsewhere: usize = workers.iter().map(|worker| worker.concurrency).sum();
        self.window = window(self.coordinator.in_flight.max(elsewhere));
        if self.coordinator.in_flight > 0 || elsewhere > 0 {
            (self.alone_since, self.accompanied, self.told_alone) = (None, true, false);
            return;
        }
        let alone = *self.alone_since.get_or_insert_with(Instant::now);
        if self.told_alone || alone.elapsed() < LONELY {
            return;
        }
        self.told_alone = true;
        match self.accompanied {
            true => warn!(
                "no worker gives a sign of life any more; the tasks wait for one with the same URLs and namespace: bsft-worker"
            ),
            false => self.coordinator.progress.note(
                "no worker has taken a task of this run yet; start some with the same URLs and namespace (bsft-worker), unless all \
                 that there are are busy with another run",
            ),
        }
    }

    /// Returns when messages have gone out; never while none are on their way. Cancel safe.
    pub(super) async fn sent(&mut self) -> Result<(), RunError> {
        match self.sending.join_next().await {
            Some(sent) => gone_out(sent),
            None => std::future::pending().await,
        }
    }

    /// Fills the window, one batch on its way at a time.
    pub(super) async fn publish(
        &mut self,
        prepared: &Prepared,
        outstanding: &mut OutstandingTasks,
    ) -> Result<(), RunError> {
        // Outcomes may come so fast that nobody waits for this any more.
        while let Some(sent) = self.sending.try_join_next() {
            gone_out(sent)?;
        }
        let tasks = prepared.tasks();
        let room = self.window.saturating_sub(outstanding.len()).min(MAX_BATCH);
        // In batches: a wake-up of the publisher for every single outcome would cost more than the message.
        if room < PUBLISH_BATCH || self.next >= tasks || !self.sending.is_empty() {
            return Ok(());
        }
        let mut batch = Vec::with_capacity(room);
        while batch.len() < room && self.next < tasks {
            if !prepared.outcome_log.has(self.next) {
                batch.push(self.next);
            }
            self.next += 1;
        }
        self.send(prepared, &batch, outstanding).await
    }

    /// Publishes again what is lost.
    pub(super) async fn sweep(
        &mut self,
        prepared: &Prepared,
        outstanding: &mut OutstandingTasks,
    ) -> Result<(), RunError> {
        let is_due = self.swept.elapsed() >= SWEEP_EVERY && self.sending.is_empty();
        if !is_due || outstanding.len() == 0 {
            return Ok(());
        }
        self.swept = Instant::now();
        let depth = self.coordinator.broker.depth(&Queue::Bootstrap);
        let is_empty = match timeout(DEPTH_WITHIN, depth).await {
            Ok(Ok(waiting)) => waiting == 0,
            Ok(Err(error)) if error.recourse() == Recourse::Halt => return Err(error.into()),
            // The broker is away.
            Ok(Err(_)) | Err(_) => return Ok(()),
        };
        let suspects: HashMap<TaskId, usize> = outstanding
            .not_in_queue(is_empty, Instant::now())
            .map(|task| (prepared.task_id(task), task))
            .collect();
        let ids: Vec<TaskId> = suspects.keys().copied().collect();
        let lost = self.watch.lost(self.coordinator, &prepared.run, &ids).await?;
        let mut lost: Vec<usize> = lost.iter().filter_map(|id| suspects.get(id).copied()).collect();
        if lost.is_empty() {
            return Ok(());
        }
        warn!(
            tasks = lost.len(),
            "nobody has these tasks and no message of them is left: publishing them again"
        );
        self.coordinator.metrics.run.republished(lost.len());
        lost.sort_unstable();
        // A store that lost its tasks may have lost the job, too.
        self.coordinator
            .store
            .put_job(&prepared.run, &prepared.spec)
            .await?;
        self.send(prepared, &lost, outstanding).await
    }

    /// Says at the end how many tasks ran again because an earlier DIR is not there.
    pub(super) fn tell_made_again(&self) {
        if self.made_again > 0 {
            warn!(
                tasks = self.made_again,
                "tasks ran again whose outcomes this DIR did not have"
            );
        }
    }

    async fn send(
        &mut self,
        prepared: &Prepared,
        tasks: &[usize],
        outstanding: &mut OutstandingTasks,
    ) -> Result<(), RunError> {
        self.reopen(prepared, tasks).await?;
        let messages = tasks.iter().map(|task| message(prepared, *task));
        let messages: Vec<Vec<u8>> = messages.collect::<Result<_, _>>()?;
        let broker = Arc::clone(&self.coordinator.broker);
        self.sending
            .spawn(async move { broker.publish(&Queue::Bootstrap, messages).await });
        let now = Instant::now();
        tasks.iter().for_each(|task| outstanding.published(*task, now));
        Ok(())
    }

    /// Prepares the store for tasks that an earlier process may have had an outcome of, which DIR does not have: it was
    /// deleted, set aside, or is to be tried again.
    async fn reopen(&mut self, prepared: &Prepared, tasks: &[usize]) -> Result<(), RunError> {
        let ids: Vec<TaskId> = tasks.iter().map(|task| prepared.task_id(*task)).collect();
        let mut reopened = self.coordinator.store.reopen(&prepared.run, &ids).await?;
        for task in tasks {
            if self.import(prepared, *task).await? {
                // Its outcome was set aside by a changed job, and is made anew from the same answers.
                reopened = reopened.saturating_sub(1);
            }
        }
        if reopened > 0 && !self.coordinator.retry.examples() {
            if self.made_again == 0 {
                warn!(
                    "the store knows of outcomes that this DIR does not have: they were brought to another DIR, or this one was put \
                     back from an older copy; their examples run again"
                );
            }
            self.made_again += reopened;
        }
        Ok(())
    }

    /// Gives the store the answers to a task's questions that an earlier shape of its trace has; whether there were any.
    async fn import(&self, prepared: &Prepared, task: usize) -> Result<bool, RunError> {
        let answers = prepared.outcome_log.replay(task)?;
        if answers.is_empty() {
            return Ok(false);
        }
        let records = (0..).zip(answers.iter().map(|answer| answer.encode())).collect();
        let id = prepared.task_id(task);
        self.coordinator.store.import(&prepared.run, id, records).await?;
        Ok(true)
    }
}

fn gone_out(sent: Result<Result<(), BrokerError>, JoinError>) -> Result<(), RunError> {
    match sent {
        Ok(sent) => Ok(sent?),
        Err(gone) => Err(RunError::Worker(gone.to_string())),
    }
}

/// Tasks outstanding for so many calls in flight: twice as many, since a worker has some tasks in hand beyond its calls.
fn window(in_flight: usize) -> usize {
    (2 * in_flight).clamp(MIN_WINDOW, MAX_WINDOW)
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
