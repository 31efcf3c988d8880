//! Publishes bootstrap tasks: in order, within a window, and again when their messages are lost.

use super::context::RunContext;
use super::error::RunError;
use super::first_examples::FirstExamples;
use super::lost_tasks::LostTaskDetector;
use super::outcome_log::OutcomeLog;
use super::outstanding_tasks::OutstandingTasks;
use super::prepare::StoredSpec;
use super::task_plan::TaskPlan;
use crate::broker::{BrokerError, Queue};
use crate::error_action::ErrorAction;
use crate::memory::{LONG, MemoryShare};
use crate::message::{BootstrapTask, MESSAGE_VERSION};
use crate::task::TaskId;
use futures_util::TryStreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};
use tracing::warn;

/// The smallest window of outstanding tasks: enough that no worker runs out of tasks between two rounds.
const MIN_WINDOW: usize = 4096;

/// The largest window: some hundred megabytes of messages, which a cancelled run leaves in the queue.
const MAX_WINDOW: usize = 1 << 16;

/// The most bytes of outstanding rows while RabbitMQ has them on its disk. A queue in the process has half of the memory budget.
const MAX_WINDOW_BYTES: usize = 1 << 30;

/// The largest batch: some megabytes.
const MAX_BATCH: usize = 4096;

/// The most bytes of rows in a batch; a single row may be longer.
const MAX_BATCH_BYTES: usize = 8 << 20;

/// The smallest batch.
const MIN_BATCH: usize = 512;

/// Imports in flight: enough to share the store's commits, few enough to hold their answers in memory.
const MAX_IMPORTS: usize = 256;

/// The most bytes of answers in flight to the store.
const MAX_IMPORT_BYTES: usize = 8 << 20;

/// How often the publisher checks for lost tasks.
const SWEEP_EVERY: Duration = Duration::from_secs(3);

/// How long a healthy broker takes to return a queue's depth.
const DEPTH_WITHIN: Duration = Duration::from_secs(1);

/// How long a task may have neither a message nor a lease: longer than the delay of a message that was returned to the queue.
const LOST_AFTER: Duration = Duration::from_secs(10);

/// Publishes tasks in order, skipping those with an outcome.
pub(super) struct TaskPublisher<'a> {
    /// By teacher: whether its LMs have answered an earlier process of the run.
    answered: Vec<bool>,
    run: RunContext<'a>,
    tasks: &'a TaskPlan,
    spec: StoredSpec,
    /// The first task that was not published yet.
    next: usize,
    swept: Instant,
    lost: LostTaskDetector,
    /// Tasks that run again although the store knows an outcome of them.
    reopened: usize,
    /// The batch that is being published. It is not awaited: a broker that accepts no messages must not delay the drain.
    sending: JoinSet<Result<(), BrokerError>>,
}

impl<'a> TaskPublisher<'a> {
    pub(super) fn new(
        run: RunContext<'a>,
        tasks: &'a TaskPlan,
        spec: StoredSpec,
        log: &OutcomeLog,
    ) -> TaskPublisher<'a> {
        let teachers = 0..tasks.job.spec.teachers.len();
        let answered = teachers.map(|teacher| tasks.of_teacher(teacher).any(|task| log.has_trace(task)));
        TaskPublisher {
            answered: answered.collect(),
            run,
            tasks,
            spec,
            next: 0,
            swept: Instant::now(),
            lost: LostTaskDetector::new(LOST_AFTER),
            reopened: 0,
            sending: JoinSet::new(),
        }
    }

    /// Outcomes arrive.
    pub(super) fn work_goes_on(&mut self) {
        self.lost.reset_patience();
    }

    /// Returns when a batch was published; pending if none is on its way. Cancel safe.
    pub(super) async fn sent(&mut self) -> Result<(), RunError> {
        match self.sending.join_next().await {
            Some(sent) => check_sent(sent),
            None => std::future::pending().await,
        }
    }

    /// Publishes the first examples that are due.
    pub(super) async fn publish_first(
        &mut self,
        first: &mut FirstExamples,
        log: &OutcomeLog,
        outstanding: &mut OutstandingTasks,
    ) -> Result<(), RunError> {
        self.check_all_sent()?;
        if !self.sending.is_empty() {
            return Ok(());
        }
        let mut batch = Vec::new();
        let now = Instant::now();
        let due: Vec<(usize, usize)> = first.due(now).collect();
        for (teacher, due) in due {
            let asks_lm = |task: &usize| !log.has(*task) && !outstanding.has(*task) && !log.is_replay(*task);
            let examples = self.tasks.of_teacher(teacher).filter(asks_lm).take(due);
            let before = batch.len();
            batch.extend(examples);
            first.published(teacher, batch.len() - before, due, now);
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.send(&batch, log, outstanding).await
    }

    /// Fills the window, one batch at a time. `in_flight`: LM calls that all workers have in flight at most.
    pub(super) async fn publish(
        &mut self,
        in_flight: usize,
        log: &OutcomeLog,
        outstanding: &mut OutstandingTasks,
    ) -> Result<(), RunError> {
        self.check_all_sent()?;
        let window = window(in_flight);
        let room = window.saturating_sub(outstanding.len()).min(MAX_BATCH);
        let (window_bytes, bytes) = (self.window_bytes(), outstanding.bytes());
        // A batch per outcome would cost more than the messages.
        let is_full =
            room < MIN_BATCH || (bytes > 0 && window_bytes.saturating_sub(bytes) < window_bytes / 8);
        if is_full || self.next >= self.tasks.len() || !self.sending.is_empty() {
            return Ok(());
        }
        let mut left = window_bytes.saturating_sub(bytes).min(MAX_BATCH_BYTES);
        let mut batch = Vec::with_capacity(room);
        while batch.len() < room && self.next < self.tasks.len() {
            if !log.has(self.next) && !outstanding.has(self.next) {
                let row = self.row_len(self.next);
                if row > left && !batch.is_empty() {
                    break;
                }
                left = left.saturating_sub(row);
                batch.push(self.next);
            }
            self.next += 1;
        }
        self.send(&batch, log, outstanding).await
    }

    /// The most bytes of outstanding rows.
    fn window_bytes(&self) -> usize {
        let coordinator = self.run.coordinator;
        if coordinator.workers.may_be_elsewhere() {
            MAX_WINDOW_BYTES
        } else {
            coordinator.memory.bytes() / 2
        }
    }

    fn row_len(&self, task: usize) -> usize {
        let (_, example) = self.tasks.teacher_and_example(task);
        self.tasks.job.trainset.row_len(example as usize)
    }

    /// While outcomes arrive without a pause, [`sent`](TaskPublisher::sent) is never polled.
    fn check_all_sent(&mut self) -> Result<(), RunError> {
        while let Some(sent) = self.sending.try_join_next() {
            check_sent(sent)?;
        }
        Ok(())
    }

    /// Republishes lost tasks, if a check is due.
    pub(super) async fn republish_lost(
        &mut self,
        log: &OutcomeLog,
        outstanding: &mut OutstandingTasks,
    ) -> Result<(), RunError> {
        let is_due = self.swept.elapsed() >= SWEEP_EVERY && self.sending.is_empty();
        if !is_due || outstanding.len() == 0 {
            return Ok(());
        }
        self.swept = Instant::now();
        let lost = self.find_lost(outstanding).await?;
        if lost.is_empty() {
            return Ok(());
        }
        let lost = self.batch(&lost);
        warn!(
            tasks = lost.len(),
            "republishing tasks that have no message or lease"
        );
        self.run.coordinator.metrics.run.republished(lost.len());
        // A store that lost its tasks may have lost the job, too.
        let store = &self.run.backends().store;
        store.put_job(self.run.id, &self.spec.bytes).await?;
        self.send(lost, log, outstanding).await
    }

    /// The first of these tasks that fit into one batch, at least one. The others are found again.
    fn batch<'t>(&self, tasks: &'t [usize]) -> &'t [usize] {
        let mut left = MAX_BATCH_BYTES;
        let end = tasks.iter().position(|task| {
            let row = self.row_len(*task);
            let fits = row <= left;
            left = left.saturating_sub(row);
            !fits
        });
        &tasks[..end.map_or(tasks.len(), |end| end.max(1))]
    }

    /// Warns at the end of the phase if tasks ran again although the store knew outcomes of them.
    pub(super) fn warn_of_reopened(&self) {
        if self.reopened > 0 {
            warn!(tasks = self.reopened, "tasks ran again whose outcomes DIR lacked");
        }
    }

    /// The lost tasks in order; none if the broker is away.
    async fn find_lost(&mut self, outstanding: &OutstandingTasks) -> Result<Vec<usize>, RunError> {
        let backends = self.run.backends();
        let depth = backends.broker.depth(&Queue::Bootstrap);
        let is_queue_empty = match timeout(DEPTH_WITHIN, depth).await {
            Ok(Ok(waiting)) => waiting == 0,
            Ok(Err(error)) if error.action() == ErrorAction::Halt => return Err(error.into()),
            Ok(Err(_)) | Err(_) => return Ok(Vec::new()),
        };
        let suspects: HashMap<TaskId, usize> = outstanding
            .not_in_queue(is_queue_empty, Instant::now())
            .map(|task| (self.tasks.id(task), task))
            .collect();
        let ids: Vec<TaskId> = suspects.keys().copied().collect();
        let lost = self.lost.find(backends.store.as_ref(), self.run.id, &ids).await?;
        let mut lost: Vec<usize> = lost.iter().filter_map(|id| suspects.get(id).copied()).collect();
        lost.sort_unstable();
        Ok(lost)
    }

    async fn send(
        &mut self,
        tasks: &[usize],
        log: &OutcomeLog,
        outstanding: &mut OutstandingTasks,
    ) -> Result<(), RunError> {
        self.reopen(tasks, log).await?;
        let messages = tasks.iter().map(|task| self.message(*task));
        let messages: Vec<Vec<u8>> = messages.collect::<Result<_, _>>()?;
        let broker = Arc::clone(&self.run.backends().broker);
        self.sending
            .spawn(async move { broker.publish(&Queue::Bootstrap, messages).await });
        let now = Instant::now();
        for task in tasks {
            outstanding.published(*task, self.row_len(*task), now);
        }
        Ok(())
    }

    /// Deletes outcomes of these tasks from the store. It has some if DIR was deleted or restored from a copy, if the job changed, or
    /// if `retry` took them back.
    async fn reopen(&mut self, tasks: &[usize], log: &OutcomeLog) -> Result<(), RunError> {
        let ids: Vec<TaskId> = tasks.iter().map(|task| self.tasks.id(*task)).collect();
        let mut reopened = self.run.backends().store.reopen(self.run.id, &ids).await?;
        // Outcomes of these tasks are in the archive, and their answers are used again.
        let archived = self.import_answers(tasks, log).await?;
        reopened = reopened.saturating_sub(archived);
        if reopened > 0 && !self.run.coordinator.retry.examples() {
            if self.reopened == 0 {
                warn!("store has outcomes that DIR lacks; rerunning examples");
            }
            self.reopened += reopened;
        }
        Ok(())
    }

    /// Gives the store the archived answers to the tasks' LM calls. Returns how many tasks have an outcome in the archive.
    async fn import_answers(&self, tasks: &[usize], log: &OutcomeLog) -> Result<usize, RunError> {
        let store = &self.run.backends().store;
        let mut imports = FuturesUnordered::new();
        let (mut archived, mut bytes) = (0, 0);
        let memory = MemoryShare::new(&self.run.coordinator.memory);
        for task in tasks {
            let line = log.archived_len(*task);
            if line >= LONG {
                // The line, the answers in it, and their records.
                memory.take(3 * line).await;
            }
            let Some(answers) = log.archived_answers(*task)? else {
                continue;
            };
            archived += 1;
            if answers.is_empty() {
                continue;
            }
            let records: Vec<(u32, Vec<u8>)> =
                (0..).zip(answers.iter().map(|answer| answer.encode())).collect();
            bytes += records.iter().map(|(_, record)| record.len()).sum::<usize>();
            imports.push(store.import(self.run.id, self.tasks.id(*task), records));
            if bytes >= MAX_IMPORT_BYTES {
                while imports.try_next().await?.is_some() {}
                memory.shrink_to(0);
                bytes = 0;
            } else if imports.len() >= MAX_IMPORTS {
                imports.try_next().await?;
            }
        }
        while imports.try_next().await?.is_some() {}
        Ok(archived)
    }

    fn message(&self, task: usize) -> Result<Vec<u8>, RunError> {
        let (teacher, example) = self.tasks.teacher_and_example(task);
        let trainset = &self.tasks.job.trainset;
        let message = BootstrapTask {
            v: MESSAGE_VERSION,
            run: self.run.id.clone(),
            job: self.spec.digest.clone(),
            task: self.tasks.id(task),
            teacher,
            example,
            labels: trainset.label_digest(example as usize).unwrap_or_default(),
            answered: self.answered[teacher as usize],
            notes: true,
            data: trainset.json(example as usize)?,
        };
        Ok(message.encode())
    }
}

fn check_sent(sent: Result<Result<(), BrokerError>, JoinError>) -> Result<(), RunError> {
    match sent {
        Ok(sent) => Ok(sent?),
        Err(gone) => Err(RunError::Worker(gone.to_string())),
    }
}

/// How many tasks may be outstanding: twice the calls in flight, since a worker prefetches tasks beyond its calls.
fn window(in_flight: usize) -> usize {
    (2 * in_flight).clamp(MIN_WINDOW, MAX_WINDOW)
}
