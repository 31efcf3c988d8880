//! The gate against an LM with exact limits, on a paused clock.

mod endpoints;
mod fairness;
mod limited_lm;
mod outages;
mod pacing;
mod refusals;
mod saturation;
mod shared;
mod shared_capacity;
mod shared_learnt;
mod shared_state;
mod workers;

use super::{Accounts, GateError, GatedLm};
use crate::lm::testing::{self, NoAdapter};
use crate::lm::{AccountLimits, LmRequest, LmSettings, LmStatus, RequestContext};
use crate::memory::MemoryShare;
use crate::metrics::Metrics;
use crate::shutdown::Shutdown;
use crate::signature::Signature;
use crate::value::Record;
use limited_lm::{Behavior, LimitedLm, Seen};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A load of `questions` calls, at most `concurrency` of them in flight.
struct Load {
    behavior: Behavior,
    declared: Option<AccountLimits>,
    questions: u64,
    concurrency: usize,
    seed: u64,
    timeout_secs: Option<f64>,
    min_timeout_secs: Option<f64>,
}

/// The result of a load.
struct Ended {
    lm: Arc<LimitedLm>,
    accounts: Arc<Accounts>,
    failed: Vec<(u64, String)>,
    handed_back: u64,
    wall: Duration,
}

impl Load {
    fn new(behavior: Behavior) -> Load {
        Load {
            behavior,
            declared: None,
            questions: 2000,
            concurrency: 256,
            seed: 1,
            timeout_secs: None,
            min_timeout_secs: None,
        }
    }

    /// The LM behind its gate, and the permits.
    fn connect(&self, lm: &Arc<LimitedLm>, accounts: &Accounts) -> (Arc<GatedLm>, Arc<Semaphore>) {
        fastrand::seed(self.seed);
        let settings = self.settings();
        let gate = accounts.gate(&settings, self.declared);
        let metrics = settings.metrics(&Metrics::new());
        let gated = GatedLm::new(vec![(Arc::clone(lm) as _, gate)], &settings, metrics);
        (Arc::new(gated), Arc::new(Semaphore::new(self.concurrency)))
    }

    fn settings(&self) -> LmSettings {
        LmSettings {
            timeout_secs: self.timeout_secs,
            min_timeout_secs: self.min_timeout_secs,
            ..testing::settings("http://127.0.0.1:1/v1")
        }
    }

    /// The parts for tests that make their own calls.
    fn parts(self) -> (Arc<Accounts>, Arc<GatedLm>, Arc<Semaphore>) {
        let accounts = Arc::new(Accounts::default());
        let lm = Arc::new(LimitedLm::with_timeout(
            self.behavior.clone(),
            self.seed,
            self.settings().timeout(),
        ));
        let (gated, permits) = self.connect(&lm, &accounts);
        (accounts, gated, permits)
    }

    /// Makes all calls: the first one alone as a coordinator does, then the others at once.
    async fn run(self) -> Ended {
        let accounts = Arc::new(Accounts::default());
        let lm = Arc::new(LimitedLm::with_timeout(
            self.behavior.clone(),
            self.seed,
            self.settings().timeout(),
        ));
        let (gated, permits) = self.connect(&lm, &accounts);
        let Asked {
            failed,
            handed_back,
            wall,
        } = ask_all(&gated, &permits, self.questions).await;
        Ended {
            lm,
            accounts,
            failed,
            handed_back,
            wall,
        }
    }
}

/// The results of the calls.
struct Asked {
    failed: Vec<(u64, String)>,
    handed_back: u64,
    wall: Duration,
}

/// Makes all calls: the first one alone as a coordinator does, then the others at once.
async fn ask_all(gated: &Arc<GatedLm>, permits: &Arc<Semaphore>, questions: u64) -> Asked {
    let mut asked = Asked {
        failed: Vec::new(),
        handed_back: 0,
        wall: Duration::ZERO,
    };
    let started = Instant::now();
    asked.count(0, ask(gated, permits, 0).await);
    let mut calls = JoinSet::new();
    for question in 1..questions {
        let (gated, permits) = (Arc::clone(gated), Arc::clone(permits));
        calls.spawn(async move { (question, ask(&gated, &permits, question).await) });
    }
    while let Some(call) = calls.join_next().await {
        let (question, result) = call.unwrap();
        asked.count(question, result);
    }
    asked.wall = started.elapsed();
    asked
}

impl Asked {
    fn count(&mut self, question: u64, result: Result<(), GateError>) {
        match result {
            Ok(()) => {}
            Err(GateError::Failed(error)) => self.failed.push((question, limited_lm::message(&error))),
            Err(GateError::HandedBack) => self.handed_back += 1,
        }
    }
}

impl Ended {
    fn seen<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        self.lm.seen(read)
    }

    fn status(&self) -> LmStatus {
        self.accounts.statuses().remove(0)
    }

    /// Asserts that no call failed or was handed back, and that each question was answered once.
    fn assert_complete(&self, questions: u64) {
        assert_eq!(self.failed, []);
        assert_eq!(self.handed_back, 0);
        self.seen(|seen| {
            assert_eq!(seen.answered.len() as u64, questions);
            assert!(seen.answered.values().all(|times| *times == 1));
        });
    }
}

async fn ask(lm: &GatedLm, permits: &Semaphore, question: u64) -> Result<(), GateError> {
    ask_until(lm, permits, question, &Shutdown::new()).await
}

async fn ask_until(
    lm: &GatedLm,
    permits: &Semaphore,
    question: u64,
    shutdown: &Shutdown,
) -> Result<(), GateError> {
    let signature = Signature {
        instructions: String::new(),
        inputs: vec![],
        outputs: vec![],
    };
    let request = LmRequest {
        body: &format!("{question:<400}"),
        context: RequestContext {
            signature: &signature,
            adapter: &NoAdapter,
            example: &Record::new(),
        },
        memory: &MemoryShare::unlimited(),
    };
    lm.complete(request, permits, shutdown, None, &mut 0)
        .await
        .map(|_| ())
}

/// The number of times from the second `from` to the second `to`.
fn within(times: &[Duration], from: u64, to: u64) -> usize {
    let seconds = Duration::from_secs(from)..Duration::from_secs(to);
    times.iter().filter(|time| seconds.contains(*time)).count()
}
