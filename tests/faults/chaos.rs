//! A compile to which things happen.

use super::{log, table};
use crate::faults::audit::{Audit, Event, SYNC, audit};
use crate::faults::cluster::{CALLS_PER_WORKER, Cluster, Worker};
use crate::faults::fault::{Fault, KINDS, moments};
use crate::faults::settings::Settings;
use crate::faults::table::{Suffered, say};
use crate::support::{freeze, lines, same, thaw};
use crate::support::{rabbitmq, redis_server};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::thread::sleep;
use std::time::{Duration, Instant};

const WORKERS: usize = 3;

/// Questions in hand at once.
const IN_FLIGHT: usize = WORKERS * CALLS_PER_WORKER;

/// How long the LM takes for an answer at most: faults are to come while questions are on their way. How many questions there are
/// between two faults does not hang on it, see [`Chaos::let_ask`].
pub(crate) const LATENCY_MS: u64 = 150;

/// How long a worker sleeps: until its lease has run out and the broker has given its tasks to others.
const ASLEEP: Duration = Duration::from_secs(25);

/// The longest time in which nothing at all may happen.
const PATIENCE: Duration = Duration::from_secs(300);

/// How much time `appendfsync everysec` may lose.
const SYNCED_EVERY: Duration = Duration::from_secs(1);

/// The interval between two checks of the progress.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// A compile on a cluster, and what befell it.
pub(crate) struct Chaos {
    pub(crate) cluster: Cluster,
    pub(crate) events: Vec<Event>,
    random: fastrand::Rng,
    suffered: Vec<Suffered>,
    asleep: Option<Sleeper>,
    /// Processes that came just when a service was away, and were started again.
    came_too_early: usize,
    /// Traces in DIR when the coordinator was started last.
    traced_at_start: usize,
    began: Instant,
    /// How far things are, and since when.
    progress: (Progress, Instant),
}

struct Sleeper {
    worker: Worker,
    since: Instant,
    from: f64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Progress {
    /// Different questions that the LM was asked.
    pub(crate) asked: usize,
    /// Lines of traces.jsonl.
    pub(crate) traced: usize,
    /// The coordinator has ended with 0.
    pub(crate) done: bool,
}

#[test]
fn compile_through_faults_of_every_kind_has_the_same_bytes() {
    if !rabbitmq::installed() || !redis_server::is_installed() {
        return;
    }
    let settings = Settings::read();
    say(&format!("{settings:?}"));
    let began = Instant::now();
    let cluster = Cluster::start(settings.seed, "127.0.0.1", settings.examples, LATENCY_MS);
    let undisturbed = cluster.compile_undisturbed();
    let mut chaos = Chaos::start(cluster);
    for _ in 0..WORKERS {
        chaos.cluster.start_worker(None);
    }
    let mut random = chaos.random.clone();
    for moment in moments(settings, undisturbed, &mut random) {
        chaos.let_ask(moment.asked);
        let now = chaos.until("the next fault's moment", |now| now.asked >= moment.asked);
        if now.done || !chaos.suffer(moment.fault) {
            break;
        }
    }
    chaos.cluster.lm.release();
    chaos.until("the end", |now| now.done);
    chaos.dismiss();
    let audit = chaos.verdict(settings.examples);
    table::print(settings.seed, &chaos.suffered, &audit, began.elapsed());
    let kinds: BTreeSet<Fault> = chaos.suffered.iter().map(|suffered| suffered.fault).collect();
    assert!(
        kinds.len() >= settings.faults.min(KINDS),
        "seed {}: it ended before every kind of fault had come: {kinds:?}",
        settings.seed
    );
}

impl Chaos {
    /// The coordinator is started; there are no workers yet.
    pub(crate) fn start(mut cluster: Cluster) -> Chaos {
        cluster.start_coordinator();
        let progress = Progress {
            asked: 0,
            traced: 0,
            done: false,
        };
        Chaos {
            random: fastrand::Rng::with_seed(cluster.seed),
            cluster,
            events: Vec::new(),
            suffered: Vec::new(),
            asleep: None,
            came_too_early: 0,
            traced_at_start: 0,
            began: Instant::now(),
            progress: (progress, Instant::now()),
        }
    }

    /// The LM answers that many different questions, and those that may be in flight then. All others wait, however long the next fault
    /// takes.
    pub(crate) fn let_ask(&self, questions: usize) {
        self.cluster.lm.hold_after_questions(questions + IN_FLIGHT);
    }

    /// Waits until the progress is enough, or the run is done. Meanwhile no process may end by itself, and sleepers wake in time.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut enough: impl FnMut(Progress) -> bool) -> Progress {
        self.watch(what, |chaos| {
            let now = chaos.progress.0;
            if now.done || enough(now) {
                ControlFlow::Break(now)
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    #[track_caller]
    fn watch<T>(&mut self, what: &str, mut look: impl FnMut(&mut Chaos) -> ControlFlow<T>) -> T {
        // Each wait has the whole patience.
        self.progress.1 = Instant::now();
        loop {
            self.see();
            if let ControlFlow::Break(found) = look(self) {
                return found;
            }
            let (progress, since) = self.progress;
            if since.elapsed() > PATIENCE {
                self.cluster.fail(&format!(
                    "waited for {what}, but for {PATIENCE:?} nothing happened; {progress:?}, after {:?}",
                    self.suffered
                ));
            }
            sleep(LOOK_EVERY);
        }
    }

    fn see(&mut self) {
        if let Some(sleeper) = self.asleep.take_if(|sleeper| sleeper.since.elapsed() > ASLEEP) {
            self.events.push(Event::Away {
                worker: sleeper.worker.name.clone(),
                from: sleeper.from,
                to: log::now(),
            });
            thaw(sleeper.worker.process.pid());
            self.cluster.workers.push(sleeper.worker);
        }
        let mut ended = Vec::new();
        for (number, worker) in self.cluster.workers.iter_mut().enumerate() {
            ended.extend(worker.process.ended().map(|status| (number, status)));
        }
        for (number, status) in ended.into_iter().rev() {
            let worker = &self.cluster.workers[number];
            if !worker.process.came_too_early(status) {
                let name = worker.name.clone();
                self.cluster.fail(&format!("{name} ended by itself: {status}"));
            }
            self.came_too_early += 1;
            self.cluster.workers.remove(number);
            self.cluster.start_worker(None);
        }
        let coordinator = self.cluster.coordinator.as_mut().unwrap();
        let ended = coordinator.ended();
        if let Some(status) = ended.filter(|status| !status.success()) {
            if !coordinator.came_too_early(status) {
                self.cluster
                    .fail(&format!("the coordinator ended by itself: {status}"));
            }
            self.came_too_early += 1;
            self.cluster.start_coordinator();
        }
        let now = Progress {
            asked: self.cluster.lm.count().distinct,
            traced: self.cluster.folder.traced("run"),
            done: ended.is_some_and(|status| status.success()),
        };
        if now != self.progress.0 {
            self.progress = (now, Instant::now());
        }
    }

    /// Causes the fault, and waits until the run continues. Returns false if the run had ended.
    fn suffer(&mut self, fault: Fault) -> bool {
        if fault == Fault::CoordinatorKilled {
            // A coordinator that is killed before it has done anything would never come to anything.
            let before = self.traced_at_start;
            let now = self.until("something that the coordinator did", |now| now.traced > before);
            if now.done {
                return false;
            }
        }
        let began = Instant::now();
        let at = self.began.elapsed().as_secs_f64();
        let Progress { asked, traced, .. } = self.progress.0;
        say(&format!(
            "{at:>7.1} s {asked:>6} asked {traced:>6} traced  {}",
            fault.name()
        ));
        match fault {
            Fault::WorkerKilled => {
                self.one_of_the_workers().process.kill_9();
                self.cluster.start_worker(None);
            }
            Fault::WorkerDrained => {
                let worker = self.one_of_the_workers();
                worker.process.signal("TERM");
                self.drained(worker);
                self.cluster.start_worker(None);
            }
            Fault::WorkerAsleep => {
                if self.asleep.is_some() {
                    self.watch("a sleeper to wake", |chaos| match chaos.asleep {
                        None => ControlFlow::Break(()),
                        Some(_) => ControlFlow::Continue(()),
                    });
                }
                let worker = self.one_of_the_workers();
                let from = log::now();
                freeze(worker.process.pid());
                self.asleep = Some(Sleeper {
                    worker,
                    since: Instant::now(),
                    from,
                });
            }
            Fault::CoordinatorKilled => {
                self.cluster.coordinator.take().unwrap().kill_9();
                self.traced_at_start = self.cluster.folder.traced("run");
                self.cluster.start_coordinator();
            }
            Fault::BrokerKilled => {
                self.cluster.rabbitmq.kill_9();
                self.cluster.rabbitmq.start_again();
            }
            Fault::BrokerWiped => {
                self.cluster.rabbitmq.kill_9();
                self.cluster.rabbitmq.wipe();
                self.cluster.rabbitmq.start_again();
            }
            Fault::RedisKilled => {
                let from = log::now();
                self.cluster.redis.kill();
                self.cluster.redis.start_again();
                self.events.push(Event::StoreKilled {
                    kept: from - SYNC,
                    from,
                    to: log::now(),
                });
            }
            Fault::RedisLosesASecond => {
                let kept = log::now() - SYNC;
                let (written, since) = (self.cluster.redis.written(), Instant::now());
                let enough = |_: &mut Chaos| {
                    if since.elapsed() < SYNCED_EVERY {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(())
                    }
                };
                self.watch("the second that Redis is to lose", enough);
                let from = log::now();
                self.cluster.redis.kill();
                self.cluster.redis.lose_after(written);
                self.cluster.redis.start_again();
                self.events.push(Event::StoreKilled {
                    kept,
                    from,
                    to: log::now(),
                });
            }
        }
        self.see();
        let before = self.progress.0.asked;
        self.suffered.push(Suffered {
            fault,
            recovery: None,
        });
        self.let_ask(before + IN_FLIGHT);
        // More than what was in hand when it happened.
        let now = self.until(fault.name(), |now| now.asked > before + IN_FLIGHT);
        if !now.done
            && let Some(last) = self.suffered.last_mut()
        {
            last.recovery = Some(began.elapsed());
        }
        !now.done
    }

    fn one_of_the_workers(&mut self) -> Worker {
        let chosen = self.random.usize(..self.cluster.workers.len());
        self.cluster.workers.swap_remove(chosen)
    }

    fn drained(&mut self, mut worker: Worker) {
        let status = self.watch(&format!("{} to drain", worker.name), |_| {
            worker
                .process
                .ended()
                .map_or(ControlFlow::Continue(()), ControlFlow::Break)
        });
        if !status.success() {
            let name = &worker.name;
            let said = log::tail(worker.process.log());
            self.cluster
                .fail(&format!("{name} did not drain: {status}\n{said}"));
        }
    }

    /// Resumes suspended workers and drains all of them, which must end without an error.
    pub(crate) fn dismiss(&mut self) {
        self.watch("a sleeper to wake", |chaos| match chaos.asleep {
            None => ControlFlow::Break(()),
            Some(_) => ControlFlow::Continue(()),
        });
        while let Some(worker) = self.cluster.workers.pop() {
            worker.process.signal("TERM");
            self.drained(worker);
        }
    }

    /// The files are an undisturbed run's, every example is accounted for once, no answer was paid for again without need, and
    /// every training was started once.
    pub(crate) fn verdict(&self, examples: usize) -> Audit {
        let (folder, seed) = (&self.cluster.folder, self.cluster.seed);
        let result = |out: &str| -> BTreeMap<String, String> {
            let failures = folder.read(&format!("{out}/failures.jsonl"));
            let mut files = folder.result(out);
            files.insert("failures.jsonl".to_owned(), failures);
            files
        };
        say(&format!(
            "{:>7.1} s done; comparing",
            self.began.elapsed().as_secs_f64()
        ));
        let (ours, theirs) = (result("run"), result("undisturbed"));
        same(&ours, &theirs);
        let tasks = |name: &str| {
            lines(&ours[name])
                .into_iter()
                .map(|line| line["example"].as_u64().unwrap())
        };
        let mut accounted: Vec<u64> = tasks("traces.jsonl").chain(tasks("failures.jsonl")).collect();
        accounted.sort_unstable();
        assert!(
            accounted.iter().copied().eq(0..examples as u64),
            "seed {seed}: not every example is accounted for once: {accounted:?}"
        );
        let trainings = self.trainings("run");
        assert_eq!(trainings, self.trainings("undisturbed"), "seed {seed}");
        // Every answer is in the books once; calls in flight at a kill stand apart.
        let tally = |out: &str| {
            let mut tally = self.manifest(out)["tally"].clone();
            tally.as_object_mut().unwrap().remove("unsettled");
            tally
        };
        assert_eq!(tally("run"), tally("undisturbed"), "seed {seed}");
        let audit = audit(&self.cluster.lm, &self.cluster.logs(), &self.events);
        assert!(
            audit.wrong.is_empty(),
            "seed {seed}: {} questions were paid for again without need:\n{}",
            audit.wrong.len(),
            audit.wrong.join("\n")
        );
        Audit {
            files: ours.values().map(String::len).collect(),
            traces: tasks("traces.jsonl").count(),
            failures: tasks("failures.jsonl").count(),
            trainings: trainings.len(),
            came_too_early: self.came_too_early,
            ..audit
        }
    }

    fn manifest(&self, out: &str) -> serde_json::Value {
        let manifest = self.cluster.folder.read(&format!("{out}/run.json"));
        serde_json::from_str(&manifest).unwrap()
    }

    /// The provider's ids of all trainings.
    fn trainings(&self, out: &str) -> Vec<String> {
        let manifest = self.manifest(out);
        let shards = manifest["shards"].as_array().unwrap();
        shards
            .iter()
            .map(|shard| shard["training"].as_str().unwrap().to_owned())
            .collect()
    }
}
