//! A whole compile on backends of which one step goes wrong: each kind of step, each time that it happens, in each way. The result
//! is always that of a compile in which nothing went wrong, and nothing that was recorded is paid again.

use crate::conformance::in_memory_service::Service;
use crate::support::{Folder, JobFile, same};
use async_trait::async_trait;
use bsft::account::Accounts;
use bsft::artifacts;
use bsft::broker::embedded::EmbeddedBroker;
use bsft::broker::{Broker, BrokerError, Consumer, Delivery, Disposition, Queue, Receipt};
use bsft::coordination::SingleProcess;
use bsft::coordinator::{self, Backends, Coordinator, EventLog, Retry, Workers};
use bsft::finetune::{
    Provider, ProviderError, Providers, StartError, TrainingId, TrainingRequest, TrainingSpec, TrainingState,
};
use bsft::job;
use bsft::memory::{MemoryBudget, MemorySize};
use bsft::metrics::{self, Metrics};
use bsft::report::Progress;
use bsft::retry::{RetryingBroker, RetryingStore};
use bsft::run_dir::RunDir;
use bsft::shutdown::Shutdown;
use bsft::store::embedded::EmbeddedStore;
use bsft::store::{Claim, Position, Store, StoreError, Stored};
use bsft::task::{AttemptRef, RunId, TaskId};
use bsft::worker::{self, TaskQueues, Worker};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Notify;

const EXAMPLES: usize = 5;

/// How often a step that waits for others is made to go wrong: it is made as often as time allows.
const POLLS: usize = 3;

/// A kind of step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CompileStep {
    PutJob,
    Job,
    Claim,
    Record,
    Finish,
    Outcome,
    Outcomes,
    Records,
    Trim,
    Reopen,
    Abandoned,
    Publish,
    Consume,
    Resolve,
    Find,
    Start,
    Poll,
}

const STEPS: [CompileStep; 17] = [
    CompileStep::PutJob,
    CompileStep::Job,
    CompileStep::Claim,
    CompileStep::Record,
    CompileStep::Finish,
    CompileStep::Outcome,
    CompileStep::Outcomes,
    CompileStep::Records,
    CompileStep::Trim,
    CompileStep::Reopen,
    CompileStep::Abandoned,
    CompileStep::Publish,
    CompileStep::Consume,
    CompileStep::Resolve,
    CompileStep::Find,
    CompileStep::Start,
    CompileStep::Poll,
];

/// What happens at the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    /// An error, and nothing was done.
    Lost,
    /// It was done, and there is an error all the same.
    Unanswered,
    /// It is done twice.
    Repeated,
    /// The process dies before it.
    DeadBefore,
    /// The process dies after it.
    DeadAfter,
}

/// Which step goes wrong, and what was seen.
struct Plan {
    step: CompileStep,
    time: usize,
    wrong: Wrong,
    seen: Mutex<usize>,
    died: Notify,
    /// How often the store acknowledged a record in each slot of each task.
    recorded: Mutex<HashMap<(TaskId, u32), usize>>,
}

impl Plan {
    fn new(step: CompileStep, time: usize, wrong: Wrong) -> Arc<Plan> {
        Arc::new(Plan {
            step,
            time,
            wrong,
            seen: Mutex::new(0),
            died: Notify::new(),
            recorded: Mutex::default(),
        })
    }

    fn has_happened(&self) -> bool {
        *self.seen.lock().unwrap() > self.time
    }

    /// Takes a step; `error` is that of an unreachable service.
    async fn step<'a, T, E>(
        &self,
        step: CompileStep,
        error: impl Fn() -> E,
        mut take: impl FnMut() -> BoxFuture<'a, Result<T, E>>,
    ) -> Result<T, E> {
        let is_it = step == self.step && {
            let mut seen = self.seen.lock().unwrap();
            *seen += 1;
            *seen - 1 == self.time
        };
        if !is_it {
            return take().await;
        }
        match self.wrong {
            Wrong::Lost => Err(error()),
            Wrong::Unanswered => {
                take().await?;
                Err(error())
            }
            Wrong::Repeated => {
                take().await?;
                take().await
            }
            Wrong::DeadBefore => self.die().await,
            Wrong::DeadAfter => {
                take().await?;
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.died.notify_one();
        std::future::pending().await
    }
}

struct Faulty<B> {
    inner: B,
    plan: Arc<Plan>,
}

fn store_away() -> StoreError {
    StoreError::Unreachable {
        place: "store".into(),
        message: "as the test wants it".into(),
    }
}

fn queue_away() -> BrokerError {
    BrokerError::Unreachable {
        url: "queue".into(),
        message: "as the test wants it".into(),
    }
}

/// Does it while the clock stands still, which it otherwise does not for a thread that waits for the disk.
fn on_disk<'a, T: Send + 'a>(work: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    // The clock does not run while such a thread works.
    drop(tokio::task::spawn_blocking(move || is_done.recv().is_err()));
    async move {
        let ended = work.await;
        drop(done);
        ended
    }
    .boxed()
}

#[async_trait]
impl Store for Faulty<EmbeddedStore> {
    async fn put_job(&self, run: &RunId, spec: &[u8]) -> Result<(), StoreError> {
        let take = || on_disk(self.inner.put_job(run, spec));
        self.plan.step(CompileStep::PutJob, store_away, take).await
    }

    async fn job(&self, run: &RunId) -> Result<Option<Vec<u8>>, StoreError> {
        let take = || self.inner.job(run);
        self.plan.step(CompileStep::Job, store_away, take).await
    }

    async fn claim(&self, run: &RunId, task: TaskId, lease: Duration) -> Result<Claim, StoreError> {
        let take = || on_disk(self.inner.claim(run, task, lease));
        self.plan.step(CompileStep::Claim, store_away, take).await
    }

    async fn renew(&self, run: &RunId, attempt: AttemptRef, lease: Duration) -> Result<(), StoreError> {
        self.inner.renew(run, attempt, lease).await
    }

    async fn set_waiting(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        is_waiting: bool,
    ) -> Result<(), StoreError> {
        self.inner.set_waiting(run, attempt, is_waiting).await
    }

    async fn record(
        &self,
        run: &RunId,
        attempt: AttemptRef,
        slot: u32,
        bytes: Vec<u8>,
    ) -> Result<(), StoreError> {
        let take = || on_disk(self.inner.record(run, attempt, slot, bytes.clone()));
        self.plan.step(CompileStep::Record, store_away, take).await?;
        *self
            .plan
            .recorded
            .lock()
            .unwrap()
            .entry((attempt.task, slot))
            .or_default() += 1;
        Ok(())
    }

    async fn finish(&self, run: &RunId, attempt: AttemptRef, outcome: Vec<u8>) -> Result<(), StoreError> {
        let take = || on_disk(self.inner.finish(run, attempt, outcome.clone()));
        self.plan.step(CompileStep::Finish, store_away, take).await
    }

    async fn release(&self, run: &RunId, attempt: AttemptRef) -> Result<(), StoreError> {
        self.inner.release(run, attempt).await
    }

    async fn outcome(&self, run: &RunId, task: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
        let take = || self.inner.outcome(run, task);
        self.plan.step(CompileStep::Outcome, store_away, take).await
    }

    async fn records(&self, run: &RunId, task: TaskId) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let take = || self.inner.records(run, task);
        self.plan.step(CompileStep::Records, store_away, take).await
    }

    async fn outcomes(
        &self,
        run: &RunId,
        after: Position,
        limit: usize,
        wait: Duration,
    ) -> Result<Vec<Stored>, StoreError> {
        let take = || self.inner.outcomes(run, after, limit, wait);
        self.plan.step(CompileStep::Outcomes, store_away, take).await
    }

    async fn trim(&self, run: &RunId, stored: &[(Position, TaskId)]) -> Result<(), StoreError> {
        let take = || self.inner.trim(run, stored);
        self.plan.step(CompileStep::Trim, store_away, take).await
    }

    async fn reopen(&self, run: &RunId, tasks: &[TaskId]) -> Result<usize, StoreError> {
        let take = || self.inner.reopen(run, tasks);
        self.plan.step(CompileStep::Reopen, store_away, take).await
    }

    async fn abandoned(&self, run: &RunId, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        let take = || self.inner.abandoned(run, tasks);
        self.plan.step(CompileStep::Abandoned, store_away, take).await
    }

    async fn import(
        &self,
        run: &RunId,
        task: TaskId,
        records: Vec<(u32, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        on_disk(self.inner.import(run, task, records)).await
    }
}

fn service_away() -> ProviderError {
    ProviderError::Passing("as the test wants it".into())
}

#[async_trait]
impl Provider for Faulty<Arc<Service>> {
    async fn preflight(&self, recipe: &TrainingSpec) -> Result<Vec<String>, ProviderError> {
        self.inner.preflight(recipe).await
    }

    async fn find(&self, order: &TrainingRequest<'_>) -> Result<Option<TrainingId>, ProviderError> {
        let take = || self.inner.find(order);
        self.plan.step(CompileStep::Find, service_away, take).await
    }

    async fn start(&self, order: &TrainingRequest<'_>) -> Result<TrainingId, StartError> {
        // Only the worker repeats it.
        let mut started = None;
        let take = || {
            let id = started.get_or_insert_with(|| self.inner.start_now(order));
            std::future::ready(Ok(id.clone())).boxed()
        };
        let error = || match self.plan.wrong {
            Wrong::Lost => StartError::NotStarted(service_away()),
            _ => StartError::Unclear("as the test wants it".into()),
        };
        self.plan.step(CompileStep::Start, error, take).await
    }

    async fn poll(
        &self,
        id: &TrainingId,
        order: &TrainingRequest<'_>,
    ) -> Result<TrainingState, ProviderError> {
        let take = || self.inner.poll(id, order);
        self.plan.step(CompileStep::Poll, service_away, take).await
    }

    async fn cancel(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        self.inner.cancel(id, order).await
    }

    async fn cleanup(&self, id: &TrainingId, order: &TrainingRequest<'_>) -> Result<(), ProviderError> {
        self.inner.cleanup(id, order).await
    }
}

#[async_trait]
impl Broker for Faulty<EmbeddedBroker> {
    async fn publish(&self, queue: &Queue, messages: Vec<Vec<u8>>) -> Result<(), BrokerError> {
        let take = || self.inner.publish(queue, messages.clone());
        self.plan.step(CompileStep::Publish, queue_away, take).await
    }

    async fn depth(&self, queue: &Queue) -> Result<usize, BrokerError> {
        self.inner.depth(queue).await
    }

    async fn dead_letter_count(&self, queue: &Queue) -> Result<usize, BrokerError> {
        self.inner.dead_letter_count(queue).await
    }

    async fn consume(&self, queue: &Queue, prefetch: NonZeroUsize) -> Result<Box<dyn Consumer>, BrokerError> {
        let take = || self.inner.consume(queue, prefetch);
        let inner = self.plan.step(CompileStep::Consume, queue_away, take).await?;
        Ok(Box::new(FaultyConsumer {
            inner,
            plan: Arc::clone(&self.plan),
        }))
    }
}

struct FaultyConsumer {
    inner: Box<dyn Consumer>,
    plan: Arc<Plan>,
}

#[async_trait]
impl Consumer for FaultyConsumer {
    async fn next(&mut self) -> Result<Option<Delivery>, BrokerError> {
        Ok(self.inner.next().await?.map(|delivery| {
            let (body, redelivered) = (delivery.body.clone(), delivery.redelivered);
            let (postponed, plan) = (delivery.postponed, Arc::clone(&self.plan));
            Delivery::new(
                body,
                redelivered,
                postponed,
                Box::new(FaultyReceipt { delivery, plan }),
            )
        }))
    }
}

struct FaultyReceipt {
    delivery: Delivery,
    plan: Arc<Plan>,
}

#[async_trait]
impl Receipt for FaultyReceipt {
    /// A disposition that goes wrong expires: the message comes again.
    async fn resolve(self: Box<Self>, disposition: Disposition) -> Result<(), BrokerError> {
        let FaultyReceipt { delivery, plan } = *self;
        let mut delivery = Some(delivery);
        let take = || match delivery.take() {
            Some(delivery) => delivery.resolve(disposition).boxed(),
            None => std::future::ready(Ok(())).boxed(),
        };
        plan.step(CompileStep::Resolve, || BrokerError::ReceiptExpired, take)
            .await
    }
}

/// One process's life: ends with the run, or dies as planned.
async fn live(folder: &Folder, service: &Arc<Service>, plan: &Arc<Plan>) -> bool {
    let job = job::read(&folder.path("job.toml")).expect("the job is sound");
    let dir = RunDir::create(&folder.path("run")).unwrap();
    let shutdown = Shutdown::new();
    let store = Faulty {
        inner: EmbeddedStore::open(&dir.store()).unwrap(),
        plan: Arc::clone(plan),
    };
    let broker = Faulty {
        inner: EmbeddedBroker::new(),
        plan: Arc::clone(plan),
    };
    let metrics = Arc::new(Metrics::new());
    let of_store = metrics.waits(metrics::Service::Redis);
    let of_broker = metrics.waits(metrics::Service::RabbitMq);
    let store = Arc::new(RetryingStore::new(Arc::new(store), shutdown.clone(), of_store));
    let broker = Arc::new(RetryingBroker::new(Arc::new(broker), shutdown.clone(), of_broker));
    let artifacts = Arc::new(artifacts::DirArtifacts::new(folder.path("run").join("data")));
    let provider = Faulty {
        inner: Arc::clone(service),
        plan: Arc::clone(plan),
    };
    let memory = Arc::new(MemoryBudget::new(MemorySize::LEAST));
    let worker = Worker {
        broker: Arc::clone(&broker) as _,
        store: Arc::clone(&store) as _,
        coordination: Arc::new(SingleProcess::default()),
        artifacts: Arc::clone(&artifacts) as _,
        // The clock that a start is marked by is not the one that runs ahead.
        providers: Providers::only(Arc::new(provider)).with_visibility_delay(Duration::ZERO),
        calls_in_flight: None,
        accounts: Arc::new(Accounts::default()),
        queues: TaskQueues::ALL,
        concurrency: NonZeroUsize::new(2).unwrap(),
        drain: Duration::from_secs(1),
        memory: Arc::clone(&memory),
        metrics: Arc::clone(&metrics),
    };
    let coordinator = Coordinator {
        backends: Backends {
            broker,
            store,
            coordination: Arc::new(SingleProcess::default()),
            artifacts,
            calls_in_flight: None,
            store_location: "state.redb".into(),
            previous_store: None,
        },
        workers: Workers::InProcess {
            in_flight: NonZeroUsize::new(2).unwrap(),
        },
        events: Arc::new(EventLog::open(&dir).unwrap()),
        dir,
        trainers: None,
        retry: Retry::Nothing,
        rehearsal: false,
        wait: false,
        shutdown: shutdown.clone(),
        progress: Progress::new(HashMap::new()),
        metrics,
        memory,
    };
    // What a worker has in flight are tasks of the runtime: they must die with it, so the runtime is their process.
    tokio::select! {
        ended = coordinator::run(&coordinator, job) => {
            ended.unwrap();
            shutdown.abort();
            true
        }
        ended = worker::run(worker, shutdown.clone()) => panic!("the worker ended: {ended:?}"),
        () = plan.died.notified() => false,
    }
}

/// A process: a runtime of its own, whose clock runs ahead whenever there is nothing to do.
fn process(folder: &Folder, service: &Arc<Service>, plan: &Arc<Plan>) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let limit = Duration::from_secs(3600);
    runtime
        .block_on(async { tokio::time::timeout(limit, Box::pin(live(folder, service, plan))).await })
        .unwrap_or_else(|_| panic!("no end within {limit:?}"))
}

fn job_in(folder: &Folder) {
    JobFile::with_teacher("model = \"simulated/x\"").write(folder, EXAMPLES);
}

/// A compile of which that step goes wrong; `None`: it has no such step.
fn compile(step: CompileStep, time: usize, wrong: Wrong) -> Option<Folder> {
    let (folder, plan) = (Folder::new(), Plan::new(step, time, wrong));
    let service = Arc::new(Service::default());
    job_in(&folder);
    let ended = process(&folder, &service, &plan);
    if !plan.has_happened() {
        return None;
    }
    if !ended {
        // The next process has no bad day, and finds what the first recorded.
        let next = Plan::new(step, usize::MAX, wrong);
        assert!(process(&folder, &service, &next));
        let (before, after) = (plan.recorded.lock().unwrap(), next.recorded.lock().unwrap());
        let is_paid = |paid: &&(TaskId, u32)| !service.is_training(paid.0) && after.contains_key(paid);
        let again: Vec<_> = before.keys().filter(is_paid).collect();
        assert!(again.is_empty(), "paid twice: {again:?}");
    }
    let recorded = plan.recorded.lock().unwrap();
    let paid = recorded
        .iter()
        .filter(|((task, _), _)| !service.is_training(*task));
    let again: Vec<_> = paid.filter(|(_, times)| **times != 1).collect();
    assert!(again.is_empty(), "paid twice: {again:?}");
    drop(recorded);
    assert_eq!(service.trainings(), 1, "trainings that are paid for");
    Some(folder)
}

fn every_time(wrong: Wrong) {
    let reference = Folder::new();
    job_in(&reference);
    let never = Plan::new(CompileStep::PutJob, usize::MAX, wrong);
    assert!(process(&reference, &Arc::new(Service::default()), &never));
    let reference = reference.result("run");
    let mut happened = Vec::new();
    for step in STEPS {
        let is_poll = matches!(
            step,
            CompileStep::Outcomes | CompileStep::Abandoned | CompileStep::Outcome | CompileStep::Records
        );
        let times = if is_poll { 0..POLLS } else { 0..usize::MAX };
        for time in times {
            let case = format!("{step:?} number {time} is {wrong:?}");
            let compiled = std::panic::catch_unwind(|| compile(step, time, wrong));
            match compiled {
                Ok(Some(folder)) => same(&folder.result("run"), &reference),
                Ok(None) => break,
                Err(_) => panic!("{case}"),
            }
            happened.push(step);
        }
    }
    // All kinds but the look for lost tasks belong to every compile.
    for step in STEPS.iter().filter(|step| **step != CompileStep::Abandoned) {
        assert!(happened.contains(step), "{step:?} never happened");
    }
}

#[test]
fn any_step_may_be_lost() {
    every_time(Wrong::Lost);
}

#[test]
fn any_step_may_be_done_without_an_answer() {
    every_time(Wrong::Unanswered);
}

#[test]
fn any_step_may_be_done_twice() {
    every_time(Wrong::Repeated);
}

#[test]
fn process_may_die_before_any_step() {
    every_time(Wrong::DeadBefore);
}

#[test]
fn process_may_die_after_any_step() {
    every_time(Wrong::DeadAfter);
}
