//! The lines of `events.jsonl`.

use super::event_lm::EventLm;
use super::rates::Rates;
use crate::coordination::WorkerInfo;
use crate::lm::{ClosedAccount, ClosedCause};
use crate::metrics::Service;
use serde::{Serialize, Serializer};
use std::fmt;

/// An event of a run. The field `event` of its line is the variant's name in snake case.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A process has started or resumed the run.
    Started {
        /// The number of this process in the run, from 1.
        start: u32,
        /// The version of bsft.
        bsft: &'static str,
        host: String,
        pid: u32,
        /// The tasks of the run, and those of them with an outcome.
        tasks: usize,
        ended: usize,
    },
    /// The process has ended. A killed process leaves no such line.
    Stopped {
        exit: u8,
        /// Absent for exit code 0.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The run has entered another phase.
    Phase { phase: &'static str },
    /// The first heartbeat of a worker has arrived.
    WorkerJoined(EventWorker),
    /// The heartbeat of a worker has expired.
    WorkerGone(EventWorker),
    /// No worker gets an answer from the server.
    LmAway {
        #[serde(flatten)]
        lm: EventLm,
        /// The last error of a worker.
        error: Option<String>,
    },
    /// A server that was away answers.
    LmBack {
        #[serde(flatten)]
        lm: EventLm,
        /// The length of the outage.
        secs: u64,
    },
    /// Every worker with this account reports it as closed.
    AccountClosed {
        #[serde(flatten)]
        lm: EventLm,
        #[serde(flatten)]
        refusal: EventRefusal,
    },
    /// A closed account is accepted again.
    AccountOpen {
        #[serde(flatten)]
        lm: EventLm,
    },
    /// The limit that holds calls back is known, has changed by more than a tenth, or no longer applies (null).
    Limit {
        #[serde(flatten)]
        lm: EventLm,
        /// Requests per minute, over all workers.
        per_min: Option<u64>,
    },
    /// RabbitMQ or Redis does not answer.
    ServiceAway { service: NamedService },
    /// The service answers again.
    ServiceBack { service: NamedService, secs: u64 },
    /// A provider has accepted a training.
    TrainingStarted(EventTraining),
    /// A training has ended.
    TrainingEnded {
        #[serde(flatten)]
        training: EventTraining,
        /// `succeeded`, `failed` or `cancelled`.
        ending: &'static str,
        /// The name of the model, or the reason of the failure.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
    /// The rates of the run and its LMs.
    Rates(Rates),
}

/// A worker in an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventWorker {
    /// A random id, drawn when the worker starts.
    worker: String,
    host: String,
    pid: u32,
    lanes: Vec<String>,
    concurrency: usize,
}

/// Why an account is closed, with the server's message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventRefusal {
    cause: ClosedCause,
    status: u16,
    message: String,
}

/// A training in an event.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EventTraining {
    pub(super) lm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) predictor: Option<String>,
    pub(super) provider: String,
    /// The provider's id of the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) training: Option<String>,
}

/// A service, serialised by its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NamedService(pub(super) Service);

impl fmt::Display for NamedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Service::RabbitMq => "RabbitMQ",
            Service::Redis => "Redis",
        })
    }
}

impl Serialize for NamedService {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.name())
    }
}

impl From<&WorkerInfo> for EventWorker {
    fn from(worker: &WorkerInfo) -> EventWorker {
        EventWorker {
            worker: worker.process.id.clone(),
            host: worker.process.host.clone(),
            pid: worker.process.pid,
            lanes: worker.lanes.clone(),
            concurrency: worker.concurrency,
        }
    }
}

impl From<&ClosedAccount> for EventRefusal {
    fn from(account: &ClosedAccount) -> EventRefusal {
        EventRefusal {
            cause: account.cause,
            status: account.status,
            message: account.message.clone(),
        }
    }
}
